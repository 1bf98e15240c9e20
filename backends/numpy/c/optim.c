// Updates of parameters; see optim.py.
#include "vector.h"

// Some elements of a parameter, its gradient and its moments: addresses, and their number
typedef struct {
    int64_t p, g, m, v, size;
} Part;

// Adam with moments m and v; the corrections of both are in step_size and eps.
static void update(float *restrict p, const float *restrict g, float *restrict m,
                   float *restrict v, int64_t size, float beta1, float beta2, float rest1,
                   float rest2, float decay, float l2, float step_size, float eps) {
    for (int64_t i = 0; i < size; i++) {
        float decayed = p[i] * decay;
        float slope = l2 == 0.0f ? g[i] : g[i] + l2 * decayed;  // 0 times infinity is NaN
        float mean = beta1 * m[i] + rest1 * slope;
        float square = beta2 * v[i] + rest2 * (slope * slope);
        m[i] = mean;
        v[i] = square;
        p[i] = decayed - step_size * (mean / (sqrtf(square) + eps));
    }
}

// Update n parts.
void adam(const void *parts, int64_t n, float beta1, float beta2, float rest1, float rest2,
          float decay, float l2, float step_size, float eps) {
    for (const Part *t = parts; t < (const Part *)parts + n; t++) {
        update((float *)(intptr_t)t->p, (const float *)(intptr_t)t->g, (float *)(intptr_t)t->m,
               (float *)(intptr_t)t->v, t->size, beta1, beta2, rest1, rest2, decay, l2, step_size,
               eps);
    }
}
