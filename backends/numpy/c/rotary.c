// Rotary position embedding; see rotary.py.
#include "vector.h"

// Rotate the pairs (x[i], x[i + half]) of each head by the angles of its position: positions of
// x (B, heads, whole, 2 half) -> y, with cos and sin (T, half). The strides of x are in elements.
void rotary(const void *x, const void *cosines, const void *sines, void *y, int64_t T, int64_t B,
            int64_t heads, int64_t whole, int64_t half, int64_t stride_b, int64_t stride_h,
            int64_t stride_t) {
    for (int64_t t = 0; t < T; t++) {
        const float *restrict c = (const float *)cosines + t * half;
        const float *restrict s = (const float *)sines + t * half;
        for (int64_t b = 0; b < B; b++) {
            for (int64_t h = 0; h < heads; h++) {
                const float *first = (const float *)x + b * stride_b + h * stride_h + t * stride_t;
                const float *second = first + half;
                float *restrict out = (float *)y + ((b * heads + h) * whole + t) * 2 * half;
                #pragma omp simd
                for (int64_t i = 0; i < half; i++) {
                    out[i] = first[i] * c[i] - second[i] * s[i];
                    out[half + i] = second[i] * c[i] + first[i] * s[i];
                }
            }
        }
    }
}
