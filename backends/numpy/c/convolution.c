// Convolutions by products with lifted images; see convolution.py.
#include <stdlib.h>

#include "sgemm.h"
#include "vector.h"

// The fields are in the order of `Window` in windows.py. S: stride, D: dilation.
typedef struct {
    int64_t H, W, KH, KW, SH, SW, top, left, DH, DW, OH, OW;
} Window;

// A lifted image (C, KW, SH, lines, OW): a copy for each column of the kernel, with the lines of
// each remainder of their number by SH together.
typedef struct {
    const Window *w;
    int64_t C, lines, stride;  // stride: elements from a column of the kernel to the next
    float *elements;           // null if there is no memory
} Lifted;

static Lifted new_lifted(const Window *w, int64_t C) {
    int64_t lines = w->OH + (w->KH - 1) * w->DH / w->SH;
    Lifted lifted = {w, C, lines, w->SH * lines * w->OW, NULL};
    lifted.elements = calloc(C * w->KW * lifted.stride, sizeof(float));  // zeros are the padding
    return lifted;
}

// The first element under a line of the kernel; those of its positions follow.
static float *under(const Lifted *lifted, int64_t line) {
    const Window *w = lifted->w;
    int64_t remainder = line * w->DH % w->SH, start = line * w->DH / w->SH;
    return lifted->elements + (remainder * lifted->lines + start) * w->OW;
}

// Copy an image x (C, H, W) to the lifted one, or add the lifted one to the image.
static inline void exchange(const Lifted *lifted, float *x, int adds) {
    const Window *w = lifted->w;
    for (int64_t row = 0; row < lifted->C * w->KW; row++) {
        float *channel = x + row / w->KW * w->H * w->W;
        int64_t offset = row % w->KW * w->DW - w->left;  // 0 <= j SW + offset < W
        int64_t start = offset < 0 ? (w->SW - 1 - offset) / w->SW : 0;
        int64_t stop = w->W > offset ? (w->W - 1 - offset) / w->SW + 1 : 0;
        stop = stop < w->OW ? stop : w->OW;
        for (int64_t line = 0; line < w->SH * lifted->lines; line++) {
            int64_t h = line % lifted->lines * w->SH + line / lifted->lines - w->top;
            if (h < 0 || h >= w->H) continue;
            float *of_lifted = lifted->elements + row * lifted->stride + line * w->OW;
            float *of_x = channel + h * w->W + offset;
            if (adds && w->SW == 1) {
                for (int64_t j = start; j < stop; j++) of_x[j] += of_lifted[j];
            } else if (adds) {
                for (int64_t j = start; j < stop; j++) of_x[j * w->SW] += of_lifted[j];
            } else if (w->SW == 1) {
                for (int64_t j = start; j < stop; j++) of_lifted[j] = of_x[j];
            } else {
                for (int64_t j = start; j < stop; j++) of_lifted[j] = of_x[j * w->SW];
            }
        }
    }
}

static void fill(float *x, int64_t n, float value) {
    for (int64_t i = 0; i < n; i++) x[i] = value;
}

// Images x (N, G C, H, W) in G groups, weight (KH, G, O, C KW), bias (G O) or null -> y (N, G O,
// OH, OW)
void convolve(void *SHARED sgemm, void *SHARED failed, const void *SHARED window, const float *x,
              const float *SHARED weight, const float *SHARED bias, float *y, int64_t N, int64_t G,
              int64_t C, int64_t O) {
    const Window *w = window;
    Lifted lifted = new_lifted(w, C);
    int64_t positions = w->OH * w->OW, size = C * w->KW;
    if (!is_allocated(lifted.elements, failed)) return;
    for (int64_t n = 0; n < N * G; n++) {
        float *out = y + n * O * positions;
        exchange(&lifted, (float *)x + n * C * w->H * w->W, 0);
        for (int64_t i = 0; i < w->KH; i++) {
            product(sgemm, PLAIN, PLAIN, O, positions, size, 1.0f,
                    weight + (i * G + n % G) * O * size, size, under(&lifted, i), lifted.stride,
                    i ? 1.0f : 0.0f, out, positions);
        }
        for (int64_t o = 0; bias && o < O; o++) {
            float shift = bias[n % G * O + o];
            for (int64_t i = 0; i < positions; i++) out[o * positions + i] += shift;
        }
    }
    free(lifted.elements);
}

// The gradient of the input: g (N, G O, OH, OW) -> dx (N, G C, H, W), plus a bias (G C) or null
void convolution_input_gradient(void *SHARED sgemm, void *SHARED failed, const void *SHARED window,
                                const float *g, const float *SHARED weight,
                                const float *SHARED bias, float *dx, int64_t N, int64_t G,
                                int64_t C, int64_t O) {
    const Window *w = window;
    Lifted lifted = new_lifted(w, C);
    int64_t positions = w->OH * w->OW, size = C * w->KW, pixels = w->H * w->W;
    if (!is_allocated(lifted.elements, failed)) return;
    for (int64_t n = 0; n < N * G; n++) {
        float *out = dx + n * C * pixels;
        if (n) memset(lifted.elements, 0, size * lifted.stride * sizeof(float));
        for (int64_t i = 0; i < w->KH; i++) {
            product(sgemm, TRANSPOSED, PLAIN, size, positions, O, 1.0f,
                    weight + (i * G + n % G) * O * size, size, g + n * O * positions, positions,
                    1.0f, under(&lifted, i), lifted.stride);
        }
        for (int64_t c = 0; c < C; c++) {
            fill(out + c * pixels, pixels, bias ? bias[n % G * C + c] : 0);
        }
        exchange(&lifted, out, 1);
    }
    free(lifted.elements);
}

// The gradient of the weight (KH, G, O, C KW) for the images of one part
void convolution_weight_gradient(void *SHARED sgemm, void *SHARED failed, const void *SHARED window,
                                 const float *x, const float *g, float *total, int64_t N, int64_t G,
                                 int64_t C, int64_t O) {
    const Window *w = window;
    Lifted lifted = new_lifted(w, C);
    int64_t positions = w->OH * w->OW, size = C * w->KW;
    if (!is_allocated(lifted.elements, failed)) return;
    fill(total, w->KH * G * O * size, 0);
    for (int64_t n = 0; n < N * G; n++) {
        exchange(&lifted, (float *)x + n * C * w->H * w->W, 0);
        for (int64_t i = 0; i < w->KH; i++) {
            product(sgemm, PLAIN, TRANSPOSED, O, size, positions, 1.0f, g + n * O * positions,
                    positions, under(&lifted, i), lifted.stride, 1.0f,
                    total + (i * G + n % G) * O * size, size);
        }
    }
    free(lifted.elements);
}
