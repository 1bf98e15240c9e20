// Convolutions with a kernel of three lines by Winograd's F(4, 3); see winograd.py.
#include <stdlib.h>

#include "sgemm.h"
#include "vector.h"

enum { TERMS = 6, LINES = 4 };  // sums of a tile of six lines, for four lines of the output

// A block of images, and its sums (TERMS, C, columns + rest). A column is a position of the kernel
// on a line of all tiles; each line of x is stored `left` columns from the start of its tile.
typedef struct {
    int64_t C, H, W, O, OH, OW, KW, shift, top, left, tiles, width, columns, stride;
    float *sums, *others;
} Block;

static Block new_block(int64_t C, int64_t H, int64_t W, int64_t O, int64_t OH, int64_t OW,
                       int64_t KW, int64_t shift, int64_t top, int64_t left, int64_t width,
                       int64_t images) {
    int64_t tiles = (OH + LINES - 1) / LINES, columns = images * tiles * width;
    int64_t stride = columns + shift * (KW - 1);
    Block b = {C,    H,     W,     O,       OH,     OW,   KW,  shift, top,
               left, tiles, width, columns, stride, NULL, NULL};
    b.sums = calloc(TERMS * C * b.stride, sizeof(float));  // zeros are the padding
    b.others = calloc(TERMS * O * b.columns + (W > OW ? W : OW), sizeof(float));
    return b;
}

static void free_block(Block *b) {
    free(b->sums);
    free(b->others);
}

// sums = factors (6, 6) times the six lines of each tile of images x (count, C, H, W)
static void sum_lines(Block *b, const float *x, const float *factors, int64_t count) {
    const float *zeros = b->others + TERMS * b->O * b->columns;
    for (int64_t image = 0; image < count; image++) {
        for (int64_t c = 0; c < b->C; c++) {
            const float *channel = x + (image * b->C + c) * b->H * b->W;
            for (int64_t tile = 0; tile < b->tiles; tile++) {
                const float *line[TERMS];
                for (int64_t i = 0; i < TERMS; i++) {
                    int64_t h = tile * LINES - b->top + i;
                    line[i] = h >= 0 && h < b->H ? channel + h * b->W : zeros;
                }
                float *first = b->sums + c * b->stride + (image * b->tiles + tile) * b->width;
                for (int64_t k = 0; k < TERMS; k++) {
                    float *out = first + k * b->C * b->stride + b->left;
                    const float *f = factors + k * TERMS;
                    #pragma omp simd
                    for (int64_t w = 0; w < b->W; w++) {
                        out[w] = f[0] * line[0][w] + f[1] * line[1][w] + f[2] * line[2][w] +
                                 f[3] * line[3][w] + f[4] * line[4][w] + f[5] * line[5][w];
                    }
                }
            }
        }
    }
}

// y (count, O, OH, OW) = factors (4, 6) times the products (TERMS, O, columns), plus the bias;
// finite (count,) becomes 0 for an image with a result that is infinite or NaN.
static void sum_products(const Block *b, const float *factors, const float *bias, float *y,
                         float *finite, int64_t count) {
    for (int64_t image = 0; image < count; image++) {
        float check = 0.0f;
        for (int64_t o = 0; o < b->O; o++) {
            float shift = bias ? bias[o] : 0.0f;
            for (int64_t h = 0; h < b->OH; h++) {
                const float *f = factors + h % LINES * TERMS;
                const float *p = b->others + o * b->columns +
                                 (image * b->tiles + h / LINES) * b->width;
                int64_t next = b->O * b->columns;
                float *out = y + ((image * b->O + o) * b->OH + h) * b->OW;
                #pragma omp simd reduction(+ : check)
                for (int64_t w = 0; w < b->OW; w++) {
                    float value = f[0] * p[w] + f[1] * p[next + w] + f[2] * p[2 * next + w] +
                                  f[3] * p[3 * next + w] + f[4] * p[4 * next + w] +
                                  f[5] * p[5 * next + w] + shift;
                    out[w] = value;
                    check += 0.0f * value;  // NaN for infinity and NaN
                }
            }
        }
        finite[image] = check == 0.0f;
    }
}

// Convolve images x (N, C, H, W) with a kernel (TERMS, KW, O, C) of sums -> y (N, O, OH, OW), in
// blocks of images. width is the number of columns of a tile.
void winograd_convolve(void *SHARED sgemm, void *SHARED failed, const float *x,
                       const float *SHARED kernel, const float *SHARED bias,
                       const float *SHARED image_sums, const float *SHARED output_sums, float *y,
                       float *finite, int64_t N, int64_t images, int64_t C, int64_t H, int64_t W,
                       int64_t O, int64_t OH, int64_t OW, int64_t KW, int64_t shift, int64_t top,
                       int64_t left, int64_t width) {
    Block b = new_block(C, H, W, O, OH, OW, KW, shift, top, left, width, images);
    int is_ready = is_allocated(b.sums, failed) && is_allocated(b.others, failed);
    for (int64_t n = 0; n < N && is_ready; n += images) {
        int64_t count = N - n < images ? N - n : images;
        sum_lines(&b, x + n * C * H * W, image_sums, count);
        for (int64_t k = 0; k < TERMS; k++) {
            for (int64_t j = 0; j < KW; j++) {
                product(sgemm, PLAIN, PLAIN, O, count * b.tiles * width, C, 1.0f,
                        kernel + (k * KW + j) * O * C, C, b.sums + k * C * b.stride + j * shift,
                        b.stride, j ? 1.0f : 0.0f, b.others + k * O * b.columns, b.columns);
            }
        }
        sum_products(&b, output_sums, bias, y + n * O * OH * OW, finite + n, count);
    }
    free_block(&b);
}

// others (TERMS, O, columns) = the transpose of factors (4, 6) times the lines of g (count, O, OH,
// OW)
static void sum_gradients(Block *b, const float *g, const float *factors, int64_t count) {
    const float *zeros = b->others + TERMS * b->O * b->columns;
    for (int64_t image = 0; image < count; image++) {
        for (int64_t o = 0; o < b->O; o++) {
            const float *channel = g + (image * b->O + o) * b->OH * b->OW;
            for (int64_t tile = 0; tile < b->tiles; tile++) {
                const float *line[LINES];
                for (int64_t i = 0; i < LINES; i++) {
                    int64_t h = tile * LINES + i;
                    line[i] = h < b->OH ? channel + h * b->OW : zeros;
                }
                float *first = b->others + o * b->columns + (image * b->tiles + tile) * b->width;
                for (int64_t k = 0; k < TERMS; k++) {
                    float *out = first + k * b->O * b->columns;
                    const float *f = factors + k;
                    #pragma omp simd
                    for (int64_t w = 0; w < b->OW; w++) {
                        out[w] = f[0] * line[0][w] + f[TERMS] * line[1][w] +
                                 f[2 * TERMS] * line[2][w] + f[3 * TERMS] * line[3][w];
                    }
                }
            }
        }
    }
}

// Write the gradient of the kernel's sums, (TERMS, KW, C, O), for the images of one part.
void winograd_weight_gradient(void *SHARED sgemm, void *SHARED failed, const float *x,
                              const float *g, const float *SHARED image_sums,
                              const float *SHARED output_sums, float *total, int64_t N,
                              int64_t images, int64_t C, int64_t H, int64_t W, int64_t O,
                              int64_t OH, int64_t OW, int64_t KW, int64_t shift, int64_t top,
                              int64_t left, int64_t width) {
    Block b = new_block(C, H, W, O, OH, OW, KW, shift, top, left, width, images);
    int is_ready = is_allocated(b.sums, failed) && is_allocated(b.others, failed);
    for (int64_t i = 0; i < TERMS * KW * C * O; i++) total[i] = 0.0f;
    for (int64_t n = 0; n < N && is_ready; n += images) {
        int64_t count = N - n < images ? N - n : images;
        sum_lines(&b, x + n * C * H * W, image_sums, count);
        sum_gradients(&b, g + n * O * OH * OW, output_sums, count);
        for (int64_t k = 0; k < TERMS; k++) {
            for (int64_t j = 0; j < KW; j++) {
                product(sgemm, PLAIN, TRANSPOSED, C, O, count * b.tiles * width, 1.0f,
                        b.sums + k * C * b.stride + j * shift, b.stride,
                        b.others + k * O * b.columns, b.columns, 1.0f, total + (k * KW + j) * C * O,
                        O);
            }
        }
    }
    free_block(&b);
}
