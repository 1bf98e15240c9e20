// Attention weights of a block of queries, stored as (keys, queries); see attention.py.
#include "vector.h"

#define LANES 64  // queries at a time, whose maxima and sums stay in registers or the first cache

// Replace each of `count` matrices w (S, n) by the softmax of w + bias over the keys. The bias
// (S - unmasked, n), 0 or -infinity, applies to the last keys; a query that sees none gets zeros.
void attention_softmax(float *restrict w, const float *restrict SHARED bias, int64_t count,
                       int64_t unmasked, int64_t S, int64_t n) {
    for (int64_t matrix = 0; matrix < count; matrix++) {
        for (int64_t first = 0; first < n; first += LANES) {
            int64_t lanes = n - first < LANES ? n - first : LANES;
            float *block = w + matrix * S * n + first;
            float largest[LANES], total[LANES];
            for (int64_t i = 0; i < lanes; i++) largest[i] = -INFINITY, total[i] = 0.0f;
            for (int64_t s = 0; s < S; s++) {
                float *row = block + s * n;
                if (s >= unmasked) {  // hides infinity and NaN too
                    const float *hidden = bias + (s - unmasked) * n + first;
                    for (int64_t i = 0; i < lanes; i++) row[i] = hidden[i] < 0 ? -INFINITY : row[i];
                }
                for (int64_t i = 0; i < lanes; i++) {
                    largest[i] = row[i] > largest[i] ? row[i] : largest[i];
                }
            }
            for (int64_t i = 0; i < lanes; i++) {
                largest[i] = largest[i] == -INFINITY ? 0.0f : largest[i];
            }
            for (int64_t s = 0; s < S; s++) {
                float *row = block + s * n;
                for (int64_t i = 0; i < lanes; i++) {
                    float value = exp_(row[i] - largest[i]);
                    row[i] = value;
                    total[i] += value;
                }
            }
            for (int64_t i = 0; i < lanes; i++) {
                total[i] = total[i] == 0.0f ? 1.0f : 1.0f / total[i];
            }
            for (int64_t s = 0; s < S; s++) {
                float *row = block + s * n;
                for (int64_t i = 0; i < lanes; i++) row[i] *= total[i];
            }
        }
    }
}

// d = (d - delta) w for `count` matrices d and w (S, n), with delta (n,) for each
void attention_score_gradient(float *restrict d, const float *restrict w,
                              const float *restrict delta, int64_t count, int64_t S, int64_t n) {
    for (int64_t matrix = 0; matrix < count; matrix++) {
        for (int64_t s = 0; s < S; s++) {
            int64_t start = (matrix * S + s) * n;
            #pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                d[start + i] = (d[start + i] - delta[matrix * n + i]) * w[start + i];
            }
        }
    }
}
