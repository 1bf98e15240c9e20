// Attention weights of a block of queries, stored as (keys, queries); see attention.py.
#include <stdlib.h>

#include "sgemm.h"
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

// A block of queries (see `Block` in attention.py), and where its weights are kept, or null.
typedef struct {
    const float *bias;
    float *saved;
    int64_t start, length, unmasked, end;
} Block;

// Strides are in elements: of the batch, of the heads, of the positions.
typedef struct {
    int64_t batch, heads, T, S, hs, hv, blocks, q[3], k[3], v[3], g[3], dq[3], dk[3], dv[3];
} Sizes;

// The first element of a head
static inline float *of_head(const void *x, const int64_t *strides, int64_t b, int64_t h) {
    return (float *)x + b * strides[0] + h * strides[1];
}

// w (end, length) = the weights of a block of queries, which are those of the whole head
static void block_weights(float *w, const Block *block, const Sizes *z, void *sgemm,
                          const float *queries, const float *keys, float scale) {
    product(sgemm, PLAIN, TRANSPOSED, block->end, block->length, z->hs, scale, keys, z->k[2],
            queries + block->start * z->q[2], z->q[2], 0.0f, w, block->length);
    attention_softmax(w, block->bias, 1, block->unmasked, block->end, block->length);
}

// The attention of blocks of heads: q (B, heads, T, hs), k (B, heads, S, hs), v (B, heads, S, hv)
// -> y (B, T, heads, hv). `numbers` are those of the pairs of block and head, heads first.
void attention(void *SHARED sgemm, void *SHARED failed, const void *SHARED sizes,
               const void *SHARED blocks, const void *SHARED q, const void *SHARED k,
               const void *SHARED v, void *SHARED y, const float *numbers, int64_t n,
               float scale) {
    const Sizes *z = sizes;
    for (int64_t i = 0; i < n; i++) {
        int64_t number = (int64_t)numbers[i], heads = z->batch * z->heads, head = number % heads;
        int64_t b = head / z->heads, h = head % z->heads;
        const Block *block = (const Block *)blocks + number / heads;
        int64_t length = block->length, end = block->end;
        float *out = (float *)y + ((b * z->T + block->start) * z->heads + h) * z->hv;
        float *own = NULL, *w = block->saved + head * end * length;
        if (!block->saved) w = own = malloc((size_t)(end * length) * sizeof(float));
        if (!is_allocated(w, failed)) return;
        block_weights(w, block, z, sgemm, of_head(q, z->q, b, h), of_head(k, z->k, b, h), scale);
        product(sgemm, TRANSPOSED, PLAIN, length, z->hv, end, 1.0f, w, length,
                of_head(v, z->v, b, h), z->v[2], 0.0f, out, z->heads * z->hv);
        free(own);
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

// The gradients of one block. d (end + 1, length) and own (end, length) are memory for what is
// computed in between.
static void block_gradient(const Block *block, const Sizes *z, void *sgemm, float scale,
                           const float *queries, const float *keys, const float *values,
                           const float *y, const float *g, float *dq, float *dk, float *dv,
                           int64_t head, float *d, float *own) {
    int64_t length = block->length, end = block->end, hs = z->hs, hv = z->hv;
    float *w = block->saved ? block->saved + head * end * length : own;
    if (!block->saved) block_weights(w, block, z, sgemm, queries, keys, scale);
    float *delta = d + end * length;  // (length,)
    const float *given = g + block->start * z->g[2], *rows = queries + block->start * z->q[2];
    for (int64_t i = 0; i < length; i++) {
        const float *row = given + i * z->g[2], *out = y + (block->start + i) * z->heads * hv;
        float sum = 0.0f;
        #pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < hv; j++) sum += row[j] * out[j];
        delta[i] = scale * sum;
    }
    product(sgemm, PLAIN, TRANSPOSED, end, length, hv, scale, values, z->v[2], given, z->g[2], 0.0f,
            d, length);
    attention_score_gradient(d, w, delta, 1, end, length);
    product(sgemm, TRANSPOSED, PLAIN, length, hs, end, 1.0f, d, length, keys, z->k[2], 0.0f,
            dq + block->start * z->dq[2], z->dq[2]);
    product(sgemm, PLAIN, PLAIN, end, hs, length, 1.0f, d, length, rows, z->q[2], 1.0f, dk,
            z->dk[2]);
    product(sgemm, PLAIN, PLAIN, end, hv, length, 1.0f, w, length, given, z->g[2], 1.0f, dv,
            z->dv[2]);
}

// dq (B, heads, T, hs), and what is added to dk (B, heads, S, hs) and dv (B, heads, S, hv), from
// y (B, T, heads, hv) and its gradient g (B, heads, T, hv). `numbers` are those of the heads.
void attention_gradient(void *SHARED sgemm, void *SHARED failed, const void *SHARED sizes,
                        const void *SHARED blocks, const void *SHARED q, const void *SHARED k,
                        const void *SHARED v, const void *SHARED y, const void *SHARED g,
                        void *SHARED dq, void *SHARED dk, void *SHARED dv, const float *numbers,
                        int64_t n, float scale) {
    const Sizes *z = sizes;
    int64_t largest = 0;
    for (const Block *p = blocks; p < (const Block *)blocks + z->blocks; p++) {
        int64_t size = (p->end + 1) * p->length;
        largest = size > largest ? size : largest;
    }
    float *memory = malloc((size_t)(2 * largest) * sizeof(float));
    if (!is_allocated(memory, failed)) return;
    for (int64_t i = 0; i < n; i++) {
        int64_t head = (int64_t)numbers[i], b = head / z->heads, h = head % z->heads;
        for (const Block *p = blocks; p < (const Block *)blocks + z->blocks; p++) {
            block_gradient(p, z, sgemm, scale, of_head(q, z->q, b, h), of_head(k, z->k, b, h),
                           of_head(v, z->v, b, h),
                           (const float *)y + (b * z->T * z->heads + h) * z->hv,
                           of_head(g, z->g, b, h), of_head(dq, z->dq, b, h),
                           of_head(dk, z->dk, b, h), of_head(dv, z->dv, b, h), head, memory,
                           memory + largest);
        }
    }
    free(memory);
}
