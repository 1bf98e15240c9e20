// Attention in one kernel: y = dropout(softmax(q k^T scale)) v for each head, without the weights
// ever standing in memory. The gradients compute them anew from the logarithm of each row's sum.
//
// A block of (32, 4) takes a tile of one side, rows of 16 for each warp, and walks through the
// other side in tiles that stand in shared memory. Products are done by tensor cores, factors
// rounded to 10 bits of mantissa (TF32), sums in float. Every sum has one order, so the same input
// gives the same bits.
//
// This file is compiled by itself, for heads of HEAD numbers, a multiple of 16.
//
// Source: T. Dao, "FlashAttention-2" (2023), algorithms 1 and 2; here with two kernels for the
// gradients, one for each side, so that nothing is added atomically.

const int WARPS = 4, ROWS = 16 * WARPS;     // of a block's own tile
const int STEPS = HEAD / 8;                 // of eight numbers along a head
const int WIDE = HEAD > 64 ? 32 : 64;       // keys in a tile of the forward pass
const int NARROW = 32;                      // rows in a tile of the gradients' passes
const int PITCH = HEAD + 4;                 // of a tile's rows: no two lanes read from one bank
const float LOG2_E = 1.4426950408889634f;

// Where a head's vectors stand: `first` is the one at token 0.
struct Rows {
    const float* first;
    Index step;   // from token to token
    Index count;  // of tokens
};

__device__ Rows rows_of(const float* x, Index batch, Index head, Index token, Index count) {
    return {x + blockIdx.z * batch + blockIdx.y * head, token, count};
}

// A float as a factor of a product: rounded to nearest, ties away from zero.
__device__ Bits factor(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    Bits y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
#else
    return (__float_as_uint(x) + 0x1000u) & ~0x1fffu;
#endif
}

// c (16, 8) += a (16, 8) b (8, 8), each divided among the lanes of a warp. With g = lane / 4 and
// t = lane % 4 a lane has a[g][t], a[g + 8][t], a[g][t + 4], a[g + 8][t + 4]; b[t][g], b[t + 4][g];
// c[g][2t], c[g][2t + 1], c[g + 8][2t], c[g + 8][2t + 1].
__device__ void multiply_add(float* c, const Bits* a, const Bits* b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    // GPUs without such cores do not round products, so they never run this.
#elif defined(__CUDA_ARCH__)
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else  // for the CPU, in tests
    multiply_add_tf32(c, a, b);
#endif
}

// Rows from `start` on as factors in shared memory; zeros beyond the last.
template <int N>
__device__ void load_tile(Rows x, Index start, Bits (*tile)[PITCH]) {
    for (int i = threadIdx.y * 32 + threadIdx.x; i < N * HEAD / 4; i += 32 * WARPS) {
        int row = i / (HEAD / 4), column = i % (HEAD / 4) * 4;
        Pack<4> four = {};
        if (start + row < x.count) four = load<4>(x.first + (start + row) * x.step + column);
        for (int e = 0; e < 4; e++) four.at[e] = __uint_as_float(factor(four.at[e]));
        store<4>((T*)&tile[row][column], four);
    }
}

// Sixteen rows from `start` on, as the left factor of a product; zeros beyond the last.
__device__ void load_left(Rows x, Index start, Bits (*a)[4]) {
    Index row = start + threadIdx.x / 4;
    const float* upper = x.first + row * x.step + threadIdx.x % 4;
    const float* lower = upper + 8 * x.step;
    bool has_upper = row < x.count, has_lower = row + 8 < x.count;
#pragma unroll
    for (int k = 0; k < STEPS; k++) {
        a[k][0] = factor(has_upper ? upper[8 * k] : 0.0f);
        a[k][1] = factor(has_lower ? lower[8 * k] : 0.0f);
        a[k][2] = factor(has_upper ? upper[8 * k + 4] : 0.0f);
        a[k][3] = factor(has_lower ? lower[8 * k + 4] : 0.0f);
    }
}

// c (16, N) = a (16, HEAD) tile^T, for a tile of N rows.
template <int N>
__device__ void product_of_rows(const Bits (*a)[4], const Bits (*tile)[PITCH], float (*c)[4]) {
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < N / 8; n++) {
        for (int i = 0; i < 4; i++) c[n][i] = 0;
#pragma unroll
        for (int k = 0; k < STEPS; k++) {
            const Bits* row = &tile[8 * n + g][8 * k + t];
            Bits b[2] = {row[0], row[4]};
            multiply_add(c[n], a[k], b);
        }
    }
}

// c (16, HEAD) += w (16, N) tile, for a tile of N rows. The sum over rows may be in any order: so
// the left factor's columns t and t + 4 stand for rows 2t and 2t + 1, which this lane has in w.
template <int N>
__device__ void add_weighted_rows(const float (*w)[4], const Bits (*tile)[PITCH], float (*c)[4]) {
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int k = 0; k < N / 8; k++) {
        Bits a[4] = {factor(w[k][0]), factor(w[k][2]), factor(w[k][1]), factor(w[k][3])};
#pragma unroll
        for (int n = 0; n < STEPS; n++) {
            const Bits* column = &tile[8 * k + 2 * t][8 * n + g];
            Bits b[2] = {column[0], column[PITCH]};
            multiply_add(c[n], a, b);
        }
    }
}

// Sixteen rows of results, times a factor for the upper and the lower half; none beyond the last.
__device__ void store_rows(float* first, Index step, Index start, Index count,
                           const float (*c)[4], float upper, float lower) {
    Index row = start + threadIdx.x / 4;
    float* to = first + row * step + threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < STEPS; n++) {
        if (row < count) to[8 * n] = c[n][0] * upper, to[8 * n + 1] = c[n][1] * upper;
        if (row + 8 < count) {
            to[8 * step + 8 * n] = c[n][2] * lower;
            to[8 * step + 8 * n + 1] = c[n][3] * lower;
        }
    }
}

// The sum and the maximum over the four lanes that share a row.
__device__ float row_sum(float x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

__device__ float row_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

const int SIDE = 32;                        // of the squares that a mask is looked at in
const Bits SOME_SEEN = 1, SOME_HIDDEN = 2;  // what a square may hold

// Which weights a head has, and which of them dropout hides.
struct Mask {
    const Bool* seen;     // (queries, keys), true where a query sees a key; null: it sees all
    const Bits* squares;  // what `attention_squares` makes of it
    int queries, keys;
    Bits low, high, threshold;
    float scale;  // of the weights that are kept
    Bits first;   // number of the head's first weight, modulo 2^32; there are no more in all

    __device__ bool sees(int t, int s) const {
        return t < queries && s < keys && (!seen || seen[(Index)t * keys + s]);
    }

    // What stands in the tile of R queries and C keys from (t, s) on, both multiples of SIDE.
    template <int R, int C>
    __device__ Bits content(int t, int s) const {
        Bits content = t + R <= queries && s + C <= keys ? 0 : SOME_HIDDEN;
        if (!seen) return content | SOME_SEEN;
#pragma unroll
        for (int r = t / SIDE; r < (t + R) / SIDE; r++)
#pragma unroll
            for (int c = s / SIDE; c < (s + C) / SIDE; c++)
                if (r * SIDE < queries && c * SIDE < keys)
                    content |= squares[r * ((keys + SIDE - 1) / SIDE) + c];
        return content;
    }

    // For each of a lane's elements of a product (16, N), bit 4n + i for c[n][i], whether a query
    // sees a key; the lane's first row and the product's first column are queries and keys, or
    // FLIPPED, keys and queries.
    template <int N, bool FLIPPED>
    __device__ Bits visible(int row, int column) const {
        Bits bits = 0;
#pragma unroll
        for (int n = 0; n < N / 8; n++)
            for (int i = 0; i < 4; i++) {
                int r = row + i / 2 * 8, c = column + 8 * n + threadIdx.x % 4 * 2 + i % 2;
                bits |= (Bits)(FLIPPED ? sees(c, r) : sees(r, c)) << (4 * n + i);
            }
        return bits;
    }

    __device__ float dropped(float weight, int t, int s) const {
        if (threshold == 0) return weight;
        Bits number = first + (Bits)t * (Bits)keys + (Bits)s;
        return bits_at(number, low, high) < threshold ? 0.0f : weight * scale;
    }
};

__device__ Mask mask_of(const Bool* seen, const Bits* squares, Index queries, Index keys, Bits low,
                        Bits high, const Bits* live, Bits threshold, float scale) {
    if (live) low = live[0], high = live[1];  // the seed of this repetition of a recorded step
    Bits head = blockIdx.z * gridDim.y + blockIdx.y;
    Bits first = head * (Bits)queries * (Bits)keys;
    return {seen, squares, (int)queries, (int)keys, low, high, threshold, scale, first};
}

// squares (ceil(T / SIDE), ceil(S / SIDE)): what stands in each square of a mask. A block of
// (32, 4) for each.
extern "C" __global__ void attention_squares(const Bool* seen, Bits* squares, Index queries,
                                             Index keys) {
    Index s = blockIdx.x * (Index)SIDE + threadIdx.x;
    bool sees = false, hides = false;
    for (int r = threadIdx.y; r < SIDE; r += WARPS) {
        Index t = blockIdx.y * (Index)SIDE + r;
        bool here = t < queries && s < keys && seen[t * keys + s];
        sees |= here, hides |= !here;
    }
    Bits content = __syncthreads_or(sees) ? SOME_SEEN : 0;
    if (__syncthreads_or(hides)) content |= SOME_HIDDEN;
    if (threadIdx.x == 0 && threadIdx.y == 0)
        squares[blockIdx.y * (Index)gridDim.x + blockIdx.x] = content;
}

// A grid of (tiles of queries, heads, batch). y (B, T, nh, HEAD); log_sums (B, nh, T) are of the
// scores in powers of two.
extern "C" __global__ void attention(
    const T* q_view, Index q_batch, Index q_head, Index q_token, const T* k_view,
    Index k_batch, Index k_head, Index k_token, const T* v_view, Index v_batch, Index v_head,
    Index v_token, T* y, T* log_sums, Index queries, Index keys, T scale,
    const Bool* seen, const Bits* squares, Bits low, Bits high, const Bits* live, Bits threshold,
    T kept) {
    __shared__ Bits k_tile[WIDE][PITCH], v_tile[WIDE][PITCH];
    Rows q = rows_of(q_view, q_batch, q_head, q_token, queries);
    Rows k = rows_of(k_view, k_batch, k_head, k_token, keys);
    Rows v = rows_of(v_view, v_batch, v_head, v_token, keys);
    Mask mask = mask_of(seen, squares, queries, keys, low, high, live, threshold, kept);
    int tile = gridDim.x - 1 - blockIdx.x;  // under a causal mask those that see most come first
    int start = tile * ROWS + threadIdx.y * 16, row = start + threadIdx.x / 4;
    Bits left[STEPS][4];
    load_left(q, start, left);
    float found[STEPS][4] = {}, top[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, total[2] = {};
    for (int key = 0; key < keys; key += WIDE) {
        Bits content = mask.content<ROWS, WIDE>(tile * ROWS, key), visible = ~0u;
        if (!(content & SOME_SEEN)) continue;
        __syncthreads();  // from here on the tiles may be written to
        if (content & SOME_HIDDEN) visible = mask.visible<WIDE, false>(row, key);
        load_tile<WIDE>(k, key, k_tile);
        load_tile<WIDE>(v, key, v_tile);
        __syncthreads();
        float weights[WIDE / 8][4];
        product_of_rows<WIDE>(left, k_tile, weights);
        float high_now[2] = {top[0], top[1]};
#pragma unroll
        for (int n = 0; n < WIDE / 8; n++)
            for (int i = 0; i < 4; i++) {
                bool sees = visible >> (4 * n + i) & 1;
                weights[n][i] = sees ? weights[n][i] * (scale * LOG2_E) : NEGATIVE_INFINITY;
                high_now[i / 2] = fmaxf(high_now[i / 2], weights[n][i]);
            }
        float shift[2], fade[2];  // what is subtracted now, and what earlier sums are worth
        for (int half = 0; half < 2; half++) {
            high_now[half] = row_max(high_now[half]);
            shift[half] = high_now[half] == NEGATIVE_INFINITY ? 0.0f : high_now[half];
            fade[half] = exp2f(top[half] - shift[half]);
            top[half] = high_now[half];
            total[half] *= fade[half];
        }
#pragma unroll
        for (int n = 0; n < STEPS; n++)
            for (int i = 0; i < 4; i++) found[n][i] *= fade[i / 2];
#pragma unroll
        for (int n = 0; n < WIDE / 8; n++)
            for (int i = 0; i < 4; i++) {
                int s = key + 8 * n + threadIdx.x % 4 * 2 + i % 2;
                float weight = exp2f(weights[n][i] - shift[i / 2]);
                total[i / 2] += weight;
                weights[n][i] = mask.dropped(weight, row + i / 2 * 8, s);
            }
        add_weighted_rows<WIDE>(weights, v_tile, found);
    }
    float share[2];
    for (int half = 0; half < 2; half++) {
        total[half] = row_sum(total[half]);
        share[half] = total[half] == 0 ? 0.0f : 1 / total[half];
        Index t = row + 8 * half, head = blockIdx.z * (Index)gridDim.y + blockIdx.y;
        if (t < queries && threadIdx.x % 4 == 0)
            log_sums[head * queries + t] = top[half] + log2f(total[half]);
    }
    Index step = gridDim.y * (Index)HEAD;
    float* to = y + blockIdx.z * queries * step + blockIdx.y * (Index)HEAD;
    store_rows(to, step, start, queries, found, share[0], share[1]);
}

// along (B, nh, T): the product of each row of y (B, T, nh, HEAD) with its gradient. A grid of
// (ceil(T / 4), heads, batch).
extern "C" __global__ void attention_along(const T* g_view, Index g_batch, Index g_head,
                                           Index g_token, const T* y, T* along,
                                           Index queries) {
    Index t = blockIdx.x * (Index)WARPS + threadIdx.y;
    if (t >= queries) return;
    const float* g = g_view + blockIdx.z * g_batch + blockIdx.y * g_head + t * g_token;
    const float* row = y + ((blockIdx.z * queries + t) * gridDim.y + blockIdx.y) * HEAD;
    float total = 0;
    for (int j = threadIdx.x; j < HEAD; j += 32) total += g[j] * row[j];
    total = warp_sum(total);
    Index head = blockIdx.z * (Index)gridDim.y + blockIdx.y;
    if (threadIdx.x == 0) along[head * queries + t] = total;
}

// The gradient of the queries, into d (B, T, ?, HEAD) at q_at. The grid is that of `attention`.
extern "C" __global__ void attention_gradient_of_queries(
    const T* q_view, Index q_batch, Index q_head, Index q_token, const T* k_view,
    Index k_batch, Index k_head, Index k_token, const T* v_view, Index v_batch, Index v_head,
    Index v_token, const T* g_view, Index g_batch, Index g_head, Index g_token,
    const T* log_sums, const T* along, T* d, Index d_token, Index d_at, Index queries,
    Index keys, T scale, const Bool* seen, const Bits* squares, Bits low, Bits high,
    const Bits* live, Bits threshold, T kept) {
    __shared__ Bits k_tile[NARROW][PITCH], v_tile[NARROW][PITCH];
    Rows q = rows_of(q_view, q_batch, q_head, q_token, queries);
    Rows k = rows_of(k_view, k_batch, k_head, k_token, keys);
    Rows v = rows_of(v_view, v_batch, v_head, v_token, keys);
    Rows g = rows_of(g_view, g_batch, g_head, g_token, queries);
    Mask mask = mask_of(seen, squares, queries, keys, low, high, live, threshold, kept);
    int tile = gridDim.x - 1 - blockIdx.x;
    int start = tile * ROWS + threadIdx.y * 16, row = start + threadIdx.x / 4;
    Index head = (blockIdx.z * (Index)gridDim.y + blockIdx.y) * queries;
    Bits left[STEPS][4], change[STEPS][4];
    load_left(q, start, left);
    load_left(g, start, change);
    float sums[2], inner[2];
    for (int half = 0; half < 2; half++) {
        bool exists = row + 8 * half < queries;
        sums[half] = exists ? log_sums[head + row + 8 * half] : 0.0f;
        inner[half] = exists ? along[head + row + 8 * half] : 0.0f;
    }
    float found[STEPS][4] = {};
    for (int key = 0; key < keys; key += NARROW) {
        Bits content = mask.content<ROWS, NARROW>(tile * ROWS, key), visible = ~0u;
        if (!(content & SOME_SEEN)) continue;
        __syncthreads();  // from here on the tiles may be written to
        if (content & SOME_HIDDEN) visible = mask.visible<NARROW, false>(row, key);
        load_tile<NARROW>(k, key, k_tile);
        load_tile<NARROW>(v, key, v_tile);
        __syncthreads();
        float weights[NARROW / 8][4], slopes[NARROW / 8][4];
        product_of_rows<NARROW>(left, k_tile, weights);
        product_of_rows<NARROW>(change, v_tile, slopes);
#pragma unroll
        for (int n = 0; n < NARROW / 8; n++)
            for (int i = 0; i < 4; i++) {
                int t = row + i / 2 * 8, s = key + 8 * n + threadIdx.x % 4 * 2 + i % 2;
                bool sees = visible >> (4 * n + i) & 1;
                float weight = exp2f(weights[n][i] * (scale * LOG2_E) - sums[i / 2]);
                float slope = mask.dropped(slopes[n][i], t, s) - inner[i / 2];
                slopes[n][i] = sees ? weight * slope : 0.0f;
            }
        add_weighted_rows<NARROW>(slopes, k_tile, found);
    }
    float* to = d + blockIdx.z * queries * d_token + d_at + blockIdx.y * (Index)HEAD;
    store_rows(to, d_token, start, queries, found, scale, scale);
}

// The gradients of keys and values, into d (B, S, ?, HEAD) at k_at and v_at. A grid of (tiles of
// keys, heads, batch); here keys are rows, and queries columns.
extern "C" __global__ void attention_gradient_of_keys(
    const T* q_view, Index q_batch, Index q_head, Index q_token, const T* k_view,
    Index k_batch, Index k_head, Index k_token, const T* v_view, Index v_batch, Index v_head,
    Index v_token, const T* g_view, Index g_batch, Index g_head, Index g_token,
    const T* log_sums, const T* along, T* d, Index d_token, Index k_at, Index v_at,
    Index queries, Index keys, T scale, const Bool* seen, const Bits* squares, Bits low, Bits high,
    const Bits* live, Bits threshold, T kept) {
    __shared__ Bits q_tile[NARROW][PITCH], g_tile[NARROW][PITCH];
    __shared__ float sums[NARROW], inner[NARROW];
    Rows q = rows_of(q_view, q_batch, q_head, q_token, queries);
    Rows k = rows_of(k_view, k_batch, k_head, k_token, keys);
    Rows v = rows_of(v_view, v_batch, v_head, v_token, keys);
    Rows g = rows_of(g_view, g_batch, g_head, g_token, queries);
    Mask mask = mask_of(seen, squares, queries, keys, low, high, live, threshold, kept);
    int start = blockIdx.x * ROWS + threadIdx.y * 16, row = start + threadIdx.x / 4;
    Index head = (blockIdx.z * (Index)gridDim.y + blockIdx.y) * queries;
    Bits left[STEPS][4], value[STEPS][4];
    load_left(k, start, left);
    load_left(v, start, value);
    float found_k[STEPS][4] = {}, found_v[STEPS][4] = {};
    for (int query = 0; query < queries; query += NARROW) {
        Bits content = mask.content<NARROW, ROWS>(query, blockIdx.x * ROWS), visible = ~0u;
        if (!(content & SOME_SEEN)) continue;
        __syncthreads();  // from here on the tiles may be written to
        if (content & SOME_HIDDEN) visible = mask.visible<NARROW, true>(row, query);
        load_tile<NARROW>(q, query, q_tile);
        load_tile<NARROW>(g, query, g_tile);
        if (threadIdx.y == 0) {
            int t = query + threadIdx.x;
            sums[threadIdx.x] = t < queries ? log_sums[head + t] : 0.0f;
            inner[threadIdx.x] = t < queries ? along[head + t] : 0.0f;
        }
        __syncthreads();
        float weights[NARROW / 8][4], slopes[NARROW / 8][4];
        product_of_rows<NARROW>(left, q_tile, weights);
        product_of_rows<NARROW>(value, g_tile, slopes);
#pragma unroll
        for (int n = 0; n < NARROW / 8; n++)
            for (int i = 0; i < 4; i++) {
                int column = 8 * n + threadIdx.x % 4 * 2 + i % 2;
                int t = query + column, s = row + i / 2 * 8;
                bool sees = visible >> (4 * n + i) & 1;
                float weight = exp2f(weights[n][i] * (scale * LOG2_E) - sums[column]);
                float slope = mask.dropped(slopes[n][i], t, s) - inner[column];
                slopes[n][i] = sees ? weight * slope : 0.0f;
                weights[n][i] = sees ? mask.dropped(weight, t, s) : 0.0f;
            }
        add_weighted_rows<NARROW>(weights, g_tile, found_v);
        add_weighted_rows<NARROW>(slopes, q_tile, found_k);
    }
    float* to = d + blockIdx.z * keys * d_token + blockIdx.y * (Index)HEAD;
    store_rows(to + k_at, d_token, start, keys, found_k, scale, scale);
    store_rows(to + v_at, d_token, start, keys, found_v, 1.0f, 1.0f);
}
