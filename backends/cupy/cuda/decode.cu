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
__device__ void row_statistics(const T* x, Index size, int rows, T eps, T* mean, T* rstd) {
    if (threadIdx.y >= rows) return;
    const T* row = x + threadIdx.y * size;
    T first = row[0], total = 0, squares = 0;  // before the mean: a large mean costs no digits
    FOR_EACH_LANE(j, size) total += row[j] - first;
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
    return kind == 2 ? (v < 0 ? (T)0 : v * v) : v;
}

// One warp for each output of DECODE_TEXTS texts, with loads in packs of N.
template <int N>
__device__ void linear_rows(const T* x, const T* norm, const T* norm_bias, const T* weight,
                            const T* bias, const T* residual, T* y, Index rows, Index in, Index out,
                            T eps, Index activation) {
    __shared__ T mean[DECODE_TEXTS], rstd[DECODE_TEXTS];
    Index first = blockIdx.y * (Index)DECODE_TEXTS, o = blockIdx.x * (Index)blockDim.y + threadIdx.y;
    int count = rows - first < DECODE_TEXTS ? (int)(rows - first) : DECODE_TEXTS;
    x += first * in;
    if (norm) row_statistics(x, in, count, eps, mean, rstd);
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
            y[at] = residual ? residual[at] + value : value;
        }
    }
}

// y (B, out) = residual + activation(norm(x) weight^T + bias) for x (B, in), weight (out, in); norm,
// its bias, bias and residual may be null. Activation 1 is GELU, 2 squared ReLU, 0 none. The grid is
// (output blocks, text blocks), the block (32, DECODE_TEXTS).
extern "C" __global__ void decode_linear(const T* x, const T* norm, const T* norm_bias,
                                         const T* weight, const T* bias, const T* residual, T* y,
                                         Index rows, Index in, Index out, T eps,
                                         Index activation) {
    if (in % VEC == 0 && aligned(x, norm, norm_bias, weight))
        linear_rows<VEC>(x, norm, norm_bias, weight, bias, residual, y, rows, in, out, eps,
                         activation);
    else
        linear_rows<1>(x, norm, norm_bias, weight, bias, residual, y, rows, in, out, eps,
                       activation);
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

// Attention of one token of each text to all tokens so far: qkv (B, 3, nh, hs) -> y (B, nh, hs).
// keys and values (B, nh, limit, hs) receive those of the token, at state's position; cosine and
// sine (limit, hs / 2) may be null. The grid is (nh, B), the block (32, DECODE_WARPS): each warp has
// every eighth group of DECODE_KEYS keys, with a running maximum and sum of its scores.
extern "C" __global__ void decode_attention(const T* qkv, T* keys, T* values, const T* cosine,
                                            const T* sine, const Index* state, T* y, Index limit,
                                            Index size) {
    __shared__ T tops[DECODE_WARPS], totals[DECODE_WARPS];
    __shared__ T sums[DECODE_WARPS][32 * DECODE_PARTS];
    Index position = state[0], half = size / 2, heads = gridDim.x;
    const T* q = qkv + (blockIdx.y * 3 * heads + blockIdx.x) * size;
    const T *k = q + heads * size, *v = k + heads * size;
    keys += (blockIdx.y * heads + blockIdx.x) * limit * size;
    values += (blockIdx.y * heads + blockIdx.x) * limit * size;
    if (cosine) cosine += position * half, sine += position * half;
    if (threadIdx.y == 0)
        FOR_EACH_LANE(e, size) {
            keys[position * size + e] = rotated(k, e, half, cosine, sine);
            values[position * size + e] = v[e];
        }
    T query[DECODE_PARTS], sum[DECODE_PARTS] = {};
    T scale = (T)1 / sqrt((T)size);
#pragma unroll
    for (int i = 0; i < DECODE_PARTS; i++) {
        Index e = threadIdx.x + 32 * i;
        query[i] = e < size ? rotated(q, e, half, cosine, sine) * scale : (T)0;
    }
    __syncthreads();  // the new key and value can be read
    T top = NEGATIVE_INFINITY, total = 0;
    for (Index s = threadIdx.y * DECODE_KEYS; s <= position; s += DECODE_WARPS * DECODE_KEYS) {
        T score[DECODE_KEYS], value[DECODE_KEYS][DECODE_PARTS];
#pragma unroll
        for (int n = 0; n < DECODE_KEYS; n++) {
            Index at = (s + n <= position ? s + n : position) * size;  // a load without a branch
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
            score[n] = s + n <= position ? warp_sum(score[n]) : NEGATIVE_INFINITY;
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
