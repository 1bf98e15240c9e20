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
