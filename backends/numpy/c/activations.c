// Activations of n numbers; see activations.py.
#include "vector.h"

#define GELU_A 0.044715f
#define GELU_C 0.79788456f  // sqrt(2 / pi)

// y = x s, where s = (1 + tanh u) / 2 = 1 / (1 + e^-2u) and u = c (x + a x^3)
void gelu(const float *restrict x, float *restrict y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float u = x[i] * (GELU_C + GELU_A * GELU_C * x[i] * x[i]);
        y[i] = x[i] * (1.0f / (1.0f + exp_(-2.0f * u)));
    }
}

// dx = g (s + 2 x u' s (1 - s)), with s recovered as y / x
void gelu_gradient(const float *restrict g, const float *restrict x, const float *restrict y,
                   float *restrict dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float square = x[i] * x[i];
        float s = y[i] / x[i];
        s = square == 0.0f ? 0.5f : s;
        float slope = 2.0f * GELU_C + 6.0f * GELU_A * GELU_C * square;
        // (1 - s) s first: slope overflows for large x, where it is 0
        dx[i] = ((1.0f - s) * s * x[i] * slope + s) * g[i];
    }
}

// max(x, 0), and NaN where x is
void relu(const float *restrict x, float *restrict y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = x[i] <= 0.0f ? 0.0f : x[i];
}

void relu_gradient(const float *restrict g, const float *restrict y, float *restrict dx,
                   int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = y[i] != 0.0f ? g[i] : 0.0f;
}

// Rows (N, C); a row of only -infinity becomes zeros.
void softmax(const float *restrict x, float *restrict y, int64_t N, int64_t C) {
    for (int64_t n = 0; n < N; n++) {
        const float *row = x + n * C;
        float *out = y + n * C, largest = -INFINITY, total = 0.0f;
        #pragma omp simd reduction(max : largest)
        for (int64_t i = 0; i < C; i++) largest = row[i] > largest ? row[i] : largest;
        largest = largest == -INFINITY ? 0.0f : largest;
        #pragma omp simd reduction(+ : total)
        for (int64_t i = 0; i < C; i++) {
            float value = exp_(row[i] - largest);
            out[i] = value;
            total += value;
        }
        float factor = total == 0.0f ? 1.0f : 1.0f / total;
        #pragma omp simd
        for (int64_t i = 0; i < C; i++) out[i] *= factor;
    }
}

// dx = y (g - sum(g y))
void softmax_gradient(const float *restrict g, const float *restrict y, float *restrict dx,
                      int64_t N, int64_t C) {
    for (int64_t n = 0; n < N; n++) {
        const float *given = g + n * C, *row = y + n * C;
        float *out = dx + n * C, total = 0.0f;
        #pragma omp simd reduction(+ : total)
        for (int64_t i = 0; i < C; i++) total += given[i] * row[i];
        #pragma omp simd
        for (int64_t i = 0; i < C; i++) out[i] = (given[i] - total) * row[i];
    }
}

// 1/2 + x P(x^2) / Q(x^2), the normal distribution function; see smooth_activations.py.
static inline float normal_cdf(float x, const float *p, const float *q) {
    const float limit = 5.656854f;  // 4 sqrt(2)
    float near = x < -limit ? -limit : x;
    near = near > limit ? limit : near;
    float square = near * near, top = p[5], bottom = q[5];
    for (int i = 4; i >= 0; i--) {
        top = top * square + p[i];
        bottom = bottom * square + q[i];
    }
    float value = near * top / bottom + 0.5f;
    value = value < 0.0f ? 0.0f : value;
    value = value > 1.0f ? 1.0f : value;
    return x <= -limit ? 0.0f : value;  // rounding leaves 3e-8, which a large x would multiply
}

// y = x cdf, with the coefficients p and q of `normal_cdf`
void gelu_erf(const float *restrict x, const float *restrict SHARED p,
              const float *restrict SHARED q, float *restrict y, float *restrict cdf, int64_t n) {
    float top[6], bottom[6];
    for (int i = 0; i < 6; i++) top[i] = p[i], bottom[i] = q[i];
    for (int64_t i = 0; i < n; i++) {
        cdf[i] = normal_cdf(x[i], top, bottom);
        y[i] = x[i] * cdf[i];
    }
}

// dx = g (cdf + x phi), with phi the normal density
void gelu_erf_gradient(const float *restrict g, const float *restrict x, const float *restrict cdf,
                       float *restrict dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float density = 0.3989422804f * exp_(-0.5f * x[i] * x[i]);
        dx[i] = g[i] * (cdf[i] + x[i] * density);
    }
}

// y = x s, with s = 1 / (1 + e^-x)
void silu(const float *restrict x, float *restrict y, float *restrict s, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        s[i] = 1.0f / (1.0f + exp_(-x[i]));
        y[i] = x[i] * s[i];
    }
}

// dx = g s (1 + x (1 - s))
void silu_gradient(const float *restrict g, const float *restrict x, const float *restrict s,
                   float *restrict dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = g[i] * s[i] * (1.0f + x[i] * (1.0f - s[i]));
}

// y = a s x, with s = 1 / (1 + e^-a)
void swiglu(const float *restrict a, const float *restrict x, float *restrict y, float *restrict s,
            int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        s[i] = 1.0f / (1.0f + exp_(-a[i]));
        y[i] = a[i] * s[i] * x[i];
    }
}

// da = g x s (1 + a (1 - s)), dx = g a s
void swiglu_gradient(const float *restrict g, const float *restrict a, const float *restrict x,
                     const float *restrict s, float *restrict da, float *restrict dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        da[i] = g[i] * x[i] * s[i] * (1.0f + a[i] * (1.0f - s[i]));
        dx[i] = g[i] * a[i] * s[i];
    }
}
