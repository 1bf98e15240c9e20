// The step of a GPT for one new token of each of B texts: five kernels a block, and four more with
// `sample_rows`. What changes from token to token is on the device, so that one graph of these
// kernels can be launched again and again: state = (position of the token, tokens sampled so far).

// x (B, C) = tokens[ids] * scale + positions[position]; positions may be null.
extern "C" __global__ void decode_embedding(const T* tokens, const T* positions, const Index* ids,
                                            const Index* state, T* x, Index rows, Index size,
                                            T scale) {
    Index position = state[0];
    FOR_EACH(i, rows * size) {
        T value = tokens[ids[i / size] * size + i % size] * scale;
        x[i] = positions ? value + positions[position * size + i % size] : value;
    }
}

const int DECODE_TEXTS = 8;  // texts that a warp computes at once, so weights are loaded once
const int DECODE_PACKS = 4;  // packs of weights that a lane loads before it waits for the first

// The mean of each text's row of x, and the reciprocal of its standard deviation: one warp per row.
// Of an RMSNorm, which is not centred, 0 and the reciprocal of the root mean square.
__device__ void row_statistics(const T* x, Index size, int rows, T eps, bool centred, T* mean,
                               T* rstd) {
    if (threadIdx.y >= rows) return;
    const T* row = x + threadIdx.y * size;
    T first = centred ? row[0] : (T)0, total = 0, squares = 0;  // a large mean costs no digits
    if (centred) FOR_EACH_LANE(j, size) total += row[j] - first;
    T average = warp_sum(total) / size;
    FOR_EACH_LANE(j, size) {
        T centred = row[j] - first - average;
        squares += centred * centred;
    }
    squares = warp_sum(squares);
    if (threadIdx.x == 0) {
        mean[threadIdx.y] = first + average;
        rstd[threadIdx.y] = (T)1 / sqrt(squares / size + eps);
    }
}

__device__ T activated(T v, Index kind) {
    if (kind == 1) return v * gelu_cdf(v);
    if (kind == 3) return v * reciprocal((T)1 + exp(-v));
    return kind == 2 ? (v < 0 ? (T)0 : v * v) : v;
}

// One warp for each output of DECODE_TEXTS texts, with loads in packs of N.
template <int N>
__device__ void linear_rows(const T* x, const T* norm, const T* norm_bias, const T* weight,
                            const T* bias, const T* factor, const T* residual, T* y, Index rows,
                            Index in, Index out, T eps, Index centred, Index activation) {
    __shared__ T mean[DECODE_TEXTS], rstd[DECODE_TEXTS];
    Index first = blockIdx.y * (Index)DECODE_TEXTS, o = blockIdx.x * (Index)blockDim.y + threadIdx.y;
    int count = rows - first < DECODE_TEXTS ? (int)(rows - first) : DECODE_TEXTS;
    x += first * in;
    if (norm) row_statistics(x, in, count, eps, centred != 0, mean, rstd);
    __syncthreads();
    if (o >= out) return;
    T sum[DECODE_TEXTS] = {};
    const Index width = 32 * N;
    for (Index start = threadIdx.x * N; start < in; start += DECODE_PACKS * width) {
        Pack<N> w[DECODE_PACKS];
#pragma unroll
        for (int k = 0; k < DECODE_PACKS; k++) {  // no branch: loads would wait at it
            Index j = start + k * width;
            w[k] = load<N>(weight + o * in + (j < in ? j : start));
        }
#pragma unroll
        for (int k = 0; k < DECODE_PACKS; k++) {
            Index j = start + k * width;
            if (j >= in) continue;
            Pack<N> scale = {}, shift = {};
            if (norm) scale = load<N>(norm + j);
            if (norm && norm_bias) shift = load<N>(norm_bias + j);
#pragma unroll
            for (int r = 0; r < DECODE_TEXTS; r++) {
                if (r >= count) continue;
                Pack<N> v = load<N>(x + r * in + j);
                for (int e = 0; e < N; e++) {
                    if (norm) v.at[e] = (v.at[e] - mean[r]) * rstd[r] * scale.at[e] + shift.at[e];
                    sum[r] += w[k].at[e] * v.at[e];
                }
            }
        }
    }
#pragma unroll
    for (int r = 0; r < DECODE_TEXTS; r++) {
        if (r >= count) continue;
        T value = warp_sum(sum[r]);
        if (threadIdx.x == 0) {
            Index at = (first + r) * out + o;
            value = activated(bias ? value + bias[o] : value, activation);
            if (factor) value *= factor[at];
            y[at] = residual ? residual[at] + value : value;
        }
    }
}

// y (B, out) = residual + factor activation(norm(x) weight^T + bias) for x (B, in), weight (out, in);
// norm, its bias, bias, factor and residual may be null. The norm is a LayerNorm if it is centred, else
// an RMSNorm. Activation 1 is GELU, 2 squared ReLU, 3 SiLU, 0 none. The grid is (output blocks, text
// blocks), the block (32, DECODE_TEXTS).
extern "C" __global__ void decode_linear(const T* x, const T* norm, const T* norm_bias,
                                         const T* weight, const T* bias, const T* factor,
                                         const T* residual, T* y, Index rows, Index in, Index out,
                                         T eps, Index centred, Index activation) {
    if (in % VEC == 0 && aligned(x, norm, norm_bias, weight))
        linear_rows<VEC>(x, norm, norm_bias, weight, bias, factor, residual, y, rows, in, out, eps,
                         centred, activation);
    else
        linear_rows<1>(x, norm, norm_bias, weight, bias, factor, residual, y, rows, in, out, eps,
                       centred, activation);
}

const int DECODE_WARPS = 8, DECODE_KEYS = 4;  // keys that a warp loads before it waits for the first
const int DECODE_PARTS = 4;                   // a lane has these elements of a head: hs <= 128

// Element e of a head's vector, rotated by the angle of its position; cosine may be null.
__device__ T rotated(const T* in, Index e, Index half, const T* cosine, const T* sine) {
    if (!cosine) return in[e];
    Index pair = e < half ? e : e - half;
    T c = cosine[pair], s = sine[pair];
    return e < half ? in[e] * c - in[e + half] * s : in[e] * c + in[e - half] * s;
}

// Attention of one token of each text to all tokens so far: qkv (B, nh + 2 nkv, hs) -> y (B, nh, hs).
// keys and values (B, nkv, limit, hs) receive those of the token, at state's position; each serves
// nh / nkv heads of queries. cosine and sine (limit, hs / 2) may be null. The grid is (nh, B), the
// block (32, DECODE_WARPS): each warp has every eighth group of DECODE_KEYS keys, with a running
// maximum and sum of its scores; the first warp begins with the key of the token itself, which other
// blocks may not have written yet.
extern "C" __global__ void decode_attention(const T* qkv, T* keys, T* values, const T* cosine,
                                            const T* sine, const Index* state, T* y, Index kv_heads,
                                            Index limit, Index size) {
    __shared__ T tops[DECODE_WARPS], totals[DECODE_WARPS];
    __shared__ T sums[DECODE_WARPS][32 * DECODE_PARTS];
    Index position = state[0], half = size / 2, heads = gridDim.x, group = heads / kv_heads;
    Index head = blockIdx.x / group;  // of keys and values
    const T* q = qkv + (blockIdx.y * (heads + 2 * kv_heads) + blockIdx.x) * size;
    const T* k = q + (heads - (Index)blockIdx.x + head) * size;
    const T* v = k + kv_heads * size;
    keys += (blockIdx.y * kv_heads + head) * limit * size;
    values += (blockIdx.y * kv_heads + head) * limit * size;
    if (cosine) cosine += position * half, sine += position * half;
    bool writes = threadIdx.y == 0 && blockIdx.x % group == 0;
    T query[DECODE_PARTS], sum[DECODE_PARTS] = {};
    T scale = (T)1 / sqrt((T)size), top = 0;
#pragma unroll
    for (int i = 0; i < DECODE_PARTS; i++) {
        Index e = threadIdx.x + 32 * i;
        query[i] = e < size ? rotated(q, e, half, cosine, sine) * scale : (T)0;
        if (e >= size) continue;
        T key = rotated(k, e, half, cosine, sine);
        top += query[i] * key, sum[i] = v[e];
        if (writes) keys[position * size + e] = key, values[position * size + e] = v[e];
    }
    top = warp_sum(top);
    bool begins = threadIdx.y == 0 && top != NEGATIVE_INFINITY;
    T total = begins ? (T)1 : (T)0;
    top = begins ? top : NEGATIVE_INFINITY;
#pragma unroll
    for (int i = 0; i < DECODE_PARTS; i++) sum[i] = begins ? sum[i] : (T)0;
    for (Index s = threadIdx.y * DECODE_KEYS; s < position; s += DECODE_WARPS * DECODE_KEYS) {
        T score[DECODE_KEYS], value[DECODE_KEYS][DECODE_PARTS];
#pragma unroll
        for (int n = 0; n < DECODE_KEYS; n++) {
            Index at = (s + n < position ? s + n : position - 1) * size;  // a load without a branch
            score[n] = 0;
#pragma unroll
            for (int i = 0; i < DECODE_PARTS; i++) {
                Index e = threadIdx.x + 32 * i;
                score[n] += e < size ? query[i] * keys[at + e] : (T)0;
                value[n][i] = e < size ? values[at + e] : (T)0;
            }
        }
        T higher = top;
#pragma unroll
        for (int n = 0; n < DECODE_KEYS; n++) {
            score[n] = s + n < position ? warp_sum(score[n]) : NEGATIVE_INFINITY;
            higher = score[n] > higher ? score[n] : higher;
        }
        T fade = top == higher ? (T)1 : exp(top - higher);
        top = higher, total *= fade;
#pragma unroll
        for (int i = 0; i < DECODE_PARTS; i++) sum[i] *= fade;
#pragma unroll
        for (int n = 0; n < DECODE_KEYS; n++) {
            T weight = score[n] == NEGATIVE_INFINITY ? (T)0 : exp(score[n] - top);
            total += weight;
#pragma unroll
            for (int i = 0; i < DECODE_PARTS; i++) sum[i] += weight * value[n][i];
        }
    }
    if (threadIdx.x == 0) tops[threadIdx.y] = top, totals[threadIdx.y] = total;
#pragma unroll
    for (int i = 0; i < DECODE_PARTS; i++) sums[threadIdx.y][threadIdx.x + 32 * i] = sum[i];
    __syncthreads();
    for (Index e = threadIdx.y * 32 + threadIdx.x; e < size; e += 32 * DECODE_WARPS) {
        T highest = NEGATIVE_INFINITY, all = 0, value = 0;
        for (int w = 0; w < DECODE_WARPS; w++) highest = tops[w] > highest ? tops[w] : highest;
        for (int w = 0; w < DECODE_WARPS; w++) {
            T share = totals[w] != 0 ? exp(tops[w] - highest) : (T)0;
            all += share * totals[w], value += share * sums[w][e];
        }
        y[(blockIdx.y * heads + blockIdx.x) * size + e] = value / all;
    }
}

// The next step is one position and one token further. One thread.
extern "C" __global__ void decode_advance(Index* state) {
    state[0]++;
    state[1]++;
}
