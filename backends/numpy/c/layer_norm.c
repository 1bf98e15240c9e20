// Layer normalisation of rows (N, C); see layer_norm.py.
#include "vector.h"

// The mean of x - shift
static float mean_of(const float *x, float shift, int64_t C) {
    float sum = 0.0f;
    #pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < C; i++) sum += x[i] - shift;
    return sum / C;
}

// The sum of the squares of x - shift - mean
static float squares_of(const float *x, float shift, float mean, int64_t C) {
    float sum = 0.0f;
    #pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < C; i++) sum += (x[i] - shift - mean) * (x[i] - shift - mean);
    return sum;
}

// Write 1 / standard deviation (N), the normalised rows (N, C) and y = normal weight + bias (N, C).
// bias may be null; normal may be y. Where the mean is more than `large` standard deviations, its
// rounding matters: the first element is subtracted first, as `_normalise` does.
void layer_norm(const float *x, const float *SHARED weight, const float *SHARED bias, float *scale,
                float *normal, float *y, int64_t N, int64_t C, float eps, float large) {
    for (int64_t n = 0; n < N; n++) {
        const float *row = x + n * C;
        float *out = normal + n * C, *result = y + n * C;
        float shift = 0.0f, mean = mean_of(row, 0.0f, C), square = squares_of(row, 0.0f, mean, C);
        if (fabsf(mean) > large * sqrtf(square / C)) {
            shift = row[0], mean = mean_of(row, shift, C), square = squares_of(row, shift, mean, C);
        }
        float factor = scale[n] = 1.0f / sqrtf(square / C + eps);
        if (bias) {
            #pragma omp simd
            for (int64_t i = 0; i < C; i++) {
                float value = (row[i] - shift - mean) * factor;
                out[i] = value;
                result[i] = value * weight[i] + bias[i];
            }
        } else {
            #pragma omp simd
            for (int64_t i = 0; i < C; i++) {
                float value = (row[i] - shift - mean) * factor;
                out[i] = value;
                result[i] = value * weight[i];
            }
        }
    }
}

// dx = scale (d - mean(d) - n mean(d n)) with d = g weight and n = normal, times inverse if given
void layer_norm_gradient(const float *restrict g, const float *restrict normal,
                         const float *restrict scale, const float *restrict SHARED weight,
                         const float *restrict SHARED inverse, float *restrict dx, int64_t N,
                         int64_t C) {
    for (int64_t n = 0; n < N; n++) {
        const float *row = g + n * C, *given = normal + n * C;
        float *out = dx + n * C;
        float sum = 0.0f, projection = 0.0f;
        if (inverse) {
            #pragma omp simd reduction(+ : sum, projection)
            for (int64_t i = 0; i < C; i++) {
                float d = row[i] * weight[i];
                sum += d;
                projection += d * given[i] * inverse[i];
            }
        } else {
            #pragma omp simd reduction(+ : sum, projection)
            for (int64_t i = 0; i < C; i++) {
                float d = row[i] * weight[i];
                sum += d;
                projection += d * given[i];
            }
        }
        float average = sum / C, slope = projection / C, factor = scale[n];
        if (inverse) {
            #pragma omp simd
            for (int64_t i = 0; i < C; i++) {
                out[i] = factor * (row[i] * weight[i] - average - given[i] * inverse[i] * slope);
            }
        } else {
            #pragma omp simd
            for (int64_t i = 0; i < C; i++) {
                out[i] = factor * (row[i] * weight[i] - average - given[i] * slope);
            }
        }
    }
}

// products = the sum of g normal over the rows (C,)
void layer_norm_weight_gradient(const float *restrict SHARED g,
                                const float *restrict SHARED normal,
                                float *restrict SHARED products, int64_t N, int64_t C) {
    for (int64_t i = 0; i < C; i++) products[i] = 0.0f;
    for (int64_t n = 0; n < N; n++) {
        const float *row = g + n * C, *given = normal + n * C;
        for (int64_t i = 0; i < C; i++) products[i] += row[i] * given[i];
    }
}
