// Root-mean-square norm of rows (N, C); see rms_norm.py. weight may be null.
#include "vector.h"

// Write 1 / root mean square (N) and y = x scale weight (N, C).
void rms_norm(const float *restrict x, const float *restrict SHARED weight, float *restrict scale,
              float *restrict y, int64_t N, int64_t C, float eps) {
    for (int64_t n = 0; n < N; n++) {
        const float *row = x + n * C;
        float *out = y + n * C, squares = 0.0f;
        #pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < C; i++) squares += row[i] * row[i];
        float factor = 1.0f / sqrtf(squares / C + eps);
        scale[n] = factor;
        if (weight)
            for (int64_t i = 0; i < C; i++) out[i] = row[i] * factor * weight[i];
        else
            for (int64_t i = 0; i < C; i++) out[i] = row[i] * factor;
    }
}

// dx = scale (d - n mean(d n)) with d = g weight and n = x scale; and gn = g n, whose sum over the
// rows is the gradient of the weight
void rms_norm_gradient(const float *restrict g, const float *restrict x,
                       const float *restrict scale, const float *restrict SHARED weight,
                       float *restrict dx, float *restrict gn, int64_t N, int64_t C) {
    for (int64_t n = 0; n < N; n++) {
        const float *given = g + n * C, *row = x + n * C;
        float *out = dx + n * C, *product = gn + n * C, factor = scale[n], projection = 0.0f;
        #pragma omp simd reduction(+ : projection)
        for (int64_t i = 0; i < C; i++) {
            product[i] = given[i] * row[i] * factor;
            projection += weight ? product[i] * weight[i] : product[i];
        }
        float slope = projection / C * factor * factor;
        if (weight)
            for (int64_t i = 0; i < C; i++)
                out[i] = given[i] * weight[i] * factor - row[i] * slope;
        else
            for (int64_t i = 0; i < C; i++) out[i] = given[i] * factor - row[i] * slope;
    }
}
