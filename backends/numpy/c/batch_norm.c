// Batch and group normalisation of lines (N, size); see batch_norm.py.
#include "vector.h"

// The mean and the sum of squares of each line
void line_moments(const float *restrict lines, float *restrict mean, float *restrict squares,
                  int64_t N, int64_t size) {
    for (int64_t n = 0; n < N; n++) {
        const float *line = lines + n * size;
        float sum = 0.0f, square = 0.0f;
        #pragma omp simd reduction(+ : sum, square)
        for (int64_t i = 0; i < size; i++) {
            sum += line[i];
            square += line[i] * line[i];
        }
        mean[n] = sum / (float)size;
        squares[n] = square;
    }
}

// y = (x - centre) factor + shift; all but the lines are one number for each line
void line_transform(const float *restrict lines, const float *restrict centre,
                    const float *restrict factor, const float *restrict shift, float *restrict y,
                    int64_t N, int64_t size) {
    for (int64_t n = 0; n < N; n++) {
        const float *line = lines + n * size;
        float *out = y + n * size, middle = centre ? centre[n] : 0.0f;
        #pragma omp simd
        for (int64_t i = 0; i < size; i++) out[i] = (line[i] - middle) * factor[n] + shift[n];
    }
}

// The sums of g and of g (x - centre) for each line
void line_gradient_sums(const float *restrict g, const float *restrict lines,
                        const float *restrict centre, float *restrict sums,
                        float *restrict products, int64_t N, int64_t size) {
    for (int64_t n = 0; n < N; n++) {
        const float *line = lines + n * size, *given = g + n * size;
        float middle = centre ? centre[n] : 0.0f, sum = 0.0f, product = 0.0f;
        #pragma omp simd reduction(+ : sum, product)
        for (int64_t i = 0; i < size; i++) {
            sum += given[i];
            product += given[i] * (line[i] - middle);
        }
        sums[n] = sum;
        products[n] = product;
    }
}

// dx = factor g + slope (x - centre) + shift
void line_gradient(const float *restrict g, const float *restrict lines,
                   const float *restrict centre, const float *restrict slope,
                   const float *restrict shift, const float *restrict factor, float *restrict dx,
                   int64_t N, int64_t size) {
    for (int64_t n = 0; n < N; n++) {
        const float *line = lines + n * size, *given = g + n * size;
        float *out = dx + n * size, middle = centre ? centre[n] : 0.0f;
        #pragma omp simd
        for (int64_t i = 0; i < size; i++) {
            out[i] = factor[n] * given[i] + slope[n] * (line[i] - middle) + shift[n];
        }
    }
}
