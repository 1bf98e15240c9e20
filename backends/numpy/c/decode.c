// One token of one text through a GPT or Llama, computed by several threads; see compiled_decode.py,
// which declares the same structures.
#include <sched.h>
#include <stdatomic.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "vector.h"

typedef struct {
    const float *weight, *bias;  // bias may be null
    float eps;
    int32_t centred;  // 1 for LayerNorm, 0 for RMSNorm
} Norm;

typedef struct {
    const float *weight;      // (rows, columns), or null if there is
    const int8_t *quantized;  // (rows, columns), times
    const float *scale;       // (rows,)
    const float *bias;        // (rows,), or null
    int64_t rows, columns;
} Linear;

typedef struct {
    Norm norm1, norm2;
    Linear qkv, proj, gate, fc, out;  // gate has no rows if the MLP has none
} Block;

typedef struct {
    const Block *blocks;
    const float *cosine, *sine;  // (positions, hs / 2), or null
    Norm norm;
    Linear head;
    int64_t num_blocks, num_heads, num_kv_heads, head_dim, hidden_dim, activation;
} Model;

typedef struct {
    atomic_llong arrived, rounds, aborted;
} Barrier;

// The threads, of which this is one.
typedef struct {
    Barrier *barrier;
    int64_t number, count;
} Thread;

#define SPINS 2000  // of a waiting thread, before it offers its core to others

enum { GELU, SQUARED_RELU, SILU };

// Wait until all threads are here, or Python has raised an exception in one. The wait is mostly
// shorter than it takes to wake a thread that sleeps; if it is not, another thread needs this core.
static void wait_for_all(Thread t) {
    if (t.count == 1) return;
    long long round = atomic_load(&t.barrier->rounds);
    if (atomic_fetch_add(&t.barrier->arrived, 1) + 1 == t.count) {
        atomic_store(&t.barrier->arrived, 0);
        atomic_fetch_add(&t.barrier->rounds, 1);
        return;
    }
    for (int64_t spins = 0; atomic_load(&t.barrier->rounds) == round; spins++) {
        if (spins < SPINS) continue;
        if (atomic_load(&t.barrier->aborted)) return;
        sched_yield();
    }
}

static int64_t first_of(int64_t n, Thread t) { return n * t.number / t.count; }
static int64_t end_of(int64_t n, Thread t) { return n * (t.number + 1) / t.count; }

static void normalize(const Norm *norm, const float *restrict x, float *restrict y, int64_t n) {
    float total = 0.0f, squares = 0.0f, first = norm->centred ? x[0] : 0.0f;
    if (norm->centred) {  // minus an element first, so that a large mean costs no digits
        #pragma omp simd reduction(+ : total)
        for (int64_t i = 0; i < n; i++) total += x[i] - first;
    }
    float mean = first + total / n;
    #pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    float scale = 1.0f / sqrtf(squares / n + norm->eps);
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * scale * norm->weight[i];
    if (norm->bias)
        for (int64_t i = 0; i < n; i++) y[i] += norm->bias[i];
}

static float dot(const float *restrict w, const float *restrict x, int64_t n) {
    float sum = 0.0f;
    #pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += w[i] * x[i];
    return sum;
}

#ifdef __AVX512F__
// GCC 12 converts int8 to float in more steps, and the loop below takes twice as long.
static float dot_int8(const int8_t *restrict w, const float *restrict x, int64_t n) {
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                     _mm512_setzero_ps()};
    int64_t i = 0;
    for (; i + 64 <= n; i += 64)
        for (int k = 0; k < 4; k++) {
            __m512i wide = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(w + i + 16 * k)));
            __m512 factor = _mm512_loadu_ps(x + i + 16 * k);
            sum[k] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(wide), factor, sum[k]);
        }
    float total = _mm512_reduce_add_ps(sum[0] + sum[1] + (sum[2] + sum[3]));
    for (; i < n; i++) total += w[i] * x[i];
    return total;
}
#else
static float dot_int8(const int8_t *restrict w, const float *restrict x, int64_t n) {
    float sum = 0.0f;
    #pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (float)w[i] * x[i];
    return sum;
}
#endif

// This thread's rows of y = W x + b, or y += W x + b.
static void multiply(const Linear *layer, const float *x, float *y, int add, Thread t) {
    int64_t n = layer->columns, end = end_of(layer->rows, t);
    for (int64_t row = first_of(layer->rows, t); row < end; row++) {
        float value = layer->weight ? dot(layer->weight + row * n, x, n)
                                    : dot_int8(layer->quantized + row * n, x, n) * layer->scale[row];
        if (layer->bias) value += layer->bias[row];
        y[row] = add ? y[row] + value : value;
    }
}

static void activate(float *x, int64_t n, int64_t kind) {
    if (kind == GELU)
        for (int64_t i = 0; i < n; i++)
            x[i] /= 1.0f + exp_(x[i] * (-1.59576912f - 0.0713548163f * x[i] * x[i]));
    else if (kind == SILU)
        for (int64_t i = 0; i < n; i++) x[i] /= 1.0f + exp_(-x[i]);
    else
        for (int64_t i = 0; i < n; i++) x[i] = x[i] < 0.0f ? 0.0f : x[i] * x[i];
}

// y = x with each pair (x[i], x[i + n / 2]) rotated by its angle, times scale.
static void rotate(const Model *m, const float *x, float *y, int64_t position, float scale) {
    int64_t half = m->head_dim / 2;
    for (int64_t i = 0; i < m->head_dim; i++) y[i] = x[i] * scale;
    if (!m->cosine) return;
    const float *c = m->cosine + position * half, *s = m->sine + position * half;
    for (int64_t i = 0; i < half; i++) {
        float first = y[i], second = y[i + half];
        y[i] = first * c[i] - second * s[i];
        y[i + half] = second * c[i] + first * s[i];
    }
}

// Softmax of the scores of q (hs,) with keys (S, hs), times the values (S, hs).
static void attend(const float *restrict q, const float *restrict keys,
                   const float *restrict values, float *restrict weights, float *restrict y,
                   int64_t S, int64_t hs) {
    float largest = -INFINITY, total = 0.0f;
    for (int64_t s = 0; s < S; s++) {
        weights[s] = dot(q, keys + s * hs, hs);
        largest = weights[s] > largest ? weights[s] : largest;
    }
    #pragma omp simd reduction(+ : total)
    for (int64_t s = 0; s < S; s++) {
        float value = exp_(weights[s] - largest);
        weights[s] = value;
        total += value;
    }
    for (int64_t i = 0; i < hs; i++) y[i] = 0.0f;
    for (int64_t s = 0; s < S; s++) {
        float weight = weights[s];
        for (int64_t i = 0; i < hs; i++) y[i] += weight * values[s * hs + i];
    }
    for (int64_t i = 0; i < hs; i++) y[i] /= total;
}

// y (nh, hs) = attention of the queries in qkv (nh + 2 nkv, hs) to all tokens up to `position`.
// keys and values (nkv, limit, hs) receive those of the token.
static void attention(const Model *m, const float *qkv, float *keys, float *values, float *y,
                      float *own, int64_t position, int64_t limit, Thread t) {
    int64_t hs = m->head_dim, nkv = m->num_kv_heads, groups = m->num_heads / nkv;
    for (int64_t head = first_of(nkv, t); head < end_of(nkv, t); head++) {
        int64_t at = (head * limit + position) * hs;
        rotate(m, qkv + (m->num_heads + head) * hs, keys + at, position, 1.0f);
        memcpy(values + at, qkv + (m->num_heads + nkv + head) * hs, hs * sizeof(float));
    }
    wait_for_all(t);
    for (int64_t head = first_of(m->num_heads, t); head < end_of(m->num_heads, t); head++) {
        int64_t at = head / groups * limit * hs;
        rotate(m, qkv + head * hs, own, position, 1.0f / sqrtf(hs));
        attend(own, keys + at, values + at, own + hs, y + head * hs, position + 1, hs);
    }
    wait_for_all(t);
}

// x (C,), the vector of the token at `position`, through all blocks to the logits (V,).
//
// caches: the keys and the values (nkv, limit, hs) of each block. shared: qkv, y, hidden and the
// gate, one after the other; own: C + hs + limit numbers of this thread.
void decode_step(const Model *m, float *const *caches, int64_t limit, int64_t position, float *x,
                 float *shared, float *own, float *logits, Barrier *barrier, int64_t thread,
                 int64_t threads) {
    Thread t = {barrier, thread, threads};
    int64_t C = m->head.columns, width = m->num_heads * m->head_dim;
    float *qkv = shared, *y = qkv + width + 2 * m->num_kv_heads * m->head_dim;
    float *hidden = y + width, *gate = hidden + m->hidden_dim, *normal = own, *scores = own + C;
    for (int64_t i = 0; i < m->num_blocks; i++) {
        const Block *block = m->blocks + i;
        normalize(&block->norm1, x, normal, C);
        multiply(&block->qkv, normal, qkv, 0, t);
        wait_for_all(t);
        attention(m, qkv, caches[2 * i], caches[2 * i + 1], y, scores, position, limit, t);
        multiply(&block->proj, y, x, 1, t);
        wait_for_all(t);
        normalize(&block->norm2, x, normal, C);
        multiply(&block->fc, normal, hidden, 0, t);
        int64_t first = first_of(m->hidden_dim, t), count = end_of(m->hidden_dim, t) - first;
        if (block->gate.rows) {
            multiply(&block->gate, normal, gate, 0, t);
            activate(gate + first, count, m->activation);
            for (int64_t j = first; j < first + count; j++) hidden[j] *= gate[j];
        } else {
            activate(hidden + first, count, m->activation);
        }
        wait_for_all(t);
        multiply(&block->out, hidden, x, 1, t);
        wait_for_all(t);
    }
    normalize(&m->norm, x, normal, C);
    multiply(&m->head, normal, logits, 0, t);
}
