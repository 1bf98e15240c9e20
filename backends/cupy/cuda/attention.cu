// Scaled dot-product attention of each head, O = dropout(softmax(Q K^T scale)) V, without storing
// the matrix of weights.
//
// Source: T. Dao et al., "FlashAttention" (2022); T. Dao, "FlashAttention-2" (2023), algorithms 1
// and 2. Names are those of the papers:
//
//   S = Q K^T scale         scores; here in base 2 (times log2(e)), as exp2 is faster than exp
//   m, l                    maximum of a row of S and sum of its exp(S - m), over the tiles so far
//   alpha                   exp(m_old - m_new): rescales earlier sums when the maximum grows
//   acc                     the row of O before it is divided by l
//   lse = m + log l         saved for each row; the gradients recompute P = exp(S - lse) with it
//   dO, dP = dO V^T         gradients of the output and of the weights
//   delta                   sum(dO O) of a row, which is sum(dP P)
//   dS = P (dP - delta)     gradient of the scores
//
// Order of work: a block of (32, WARPS) owns a tile of BLOCK_M rows of one operand, 16 for each
// warp, in registers, and loops over tiles of the other operands, which it copies to shared memory.
//
//   attention               owns queries; for each tile of keys: S, m, alpha, P, acc += P V
//   attention_delta         delta, before the other two
//   attention_gradient_q    owns queries; for each tile of keys: P, dS, dQ += dS K
//   attention_gradient_kv   owns keys; for each tile of queries: P^T, dS^T, dV += P^T dO,
//                           dK += dS^T Q
//
// Algorithm 2 has one kernel for all gradients and adds to dQ atomically. Two kernels recompute P
// twice but need no atomics: every sum has one order, so equal inputs give equal bits.
//
// Products use tensor cores, with sums in float32. attention_tf32.cuh rounds factors to 10 bits of
// mantissa, attention_bf16.cuh to 7; both define mma, load_tile, load_left, matmul_transposed and
// matmul_add. Tiles in shared memory are aligned for loads and stores of 16 bytes.
//
// This file is compiled separately, once for each HEAD_DIM, a multiple of 16, kind of factors, and
// type Element of the arrays in memory, float or Bf16.

// Store 16 rows from row `start`, the upper and lower halves scaled separately; none past the end.
__device__ void store_rows(Element* first, Index stride, Index start, Index length,
                           const float (*c)[4], float upper, float lower) {
    Index row = start + threadIdx.x / 4;
    Element* to = first + row * stride + threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < D_TILES; n++) {
        if (row < length) store_pair(to + 8 * n, c[n][0] * upper, c[n][1] * upper);
        if (row + 8 < length)
            store_pair(to + 8 * stride + 8 * n, c[n][2] * lower, c[n][3] * lower);
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

const int MASK_TILE = 32;                      // side of the mask tiles that are summarised
const Bits SOME_VISIBLE = 1, SOME_MASKED = 2;  // flags of a mask tile

// The attention mask and the dropout mask of one head.
struct Masks {
    const Bool* mask;        // (queries, keys), true where a query may attend to a key; or null
    const Bits* mask_tiles;  // flags of each mask tile, by `attention_mask_tiles`
    int queries, keys;
    Seed seed;
    Bits threshold;
    float scale;  // of the weights that are kept
    Bits first;   // index of the head's first weight, modulo 2^32; there are at most 2^32 in all

    __device__ bool visible(int t, int s) const {
        return t < queries && s < keys && (!mask || mask[(Index)t * keys + s]);
    }

    // Flags of the tile of M queries and N keys that starts at (t, s), all multiples of MASK_TILE.
    template <int M, int N>
    __device__ Bits tile_flags(int t, int s) const {
        Bits flags = t + M <= queries && s + N <= keys ? 0 : SOME_MASKED;
        if (!mask) return flags | SOME_VISIBLE;
#pragma unroll
        for (int r = t / MASK_TILE; r < (t + M) / MASK_TILE; r++)
#pragma unroll
            for (int c = s / MASK_TILE; c < (s + N) / MASK_TILE; c++)
                if (r * MASK_TILE < queries && c * MASK_TILE < keys)
                    flags |= mask_tiles[r * ((keys + MASK_TILE - 1) / MASK_TILE) + c];
        return flags;
    }

    // Bit 4n + i is set if element c[n][i] of a lane's part of a product (16, N) is visible. `row`
    // is the lane's first row and `column` the product's first column; they are a query and a key,
    // or with TRANSPOSED a key and a query.
    template <int N, bool TRANSPOSED>
    __device__ Bits visible_bits(int row, int column) const {
        Bits bits = 0;
#pragma unroll
        for (int n = 0; n < N / 8; n++)
            for (int i = 0; i < 4; i++) {
                int r = row + i / 2 * 8, c = column + 8 * n + threadIdx.x % 4 * 2 + i % 2;
                bits |= (Bits)(TRANSPOSED ? visible(c, r) : visible(r, c)) << (4 * n + i);
            }
        return bits;
    }

    // A weight after dropout, or a gradient of it.
    __device__ float dropout(float weight, int t, int s) const {
        if (threshold == 0) return weight;
        Bits number = first + (Bits)t * (Bits)keys + (Bits)s;
        return seed.bits_at(number) < threshold ? 0.0f : weight * scale;
    }
};

__device__ Masks make_masks(const Bool* mask, const Bits* mask_tiles, Index queries, Index keys,
                            Seed seed, Bits threshold, float scale) {
    Bits head = blockIdx.z * gridDim.y + blockIdx.y;
    Bits first = head * (Bits)queries * (Bits)keys;
    return {mask, mask_tiles, (int)queries, (int)keys, seed, threshold, scale, first};
}

// mask (T, S) -> mask_tiles (ceil(T / MASK_TILE), ceil(S / MASK_TILE)): flags of each tile. A block
// of (32, WARPS) for each tile.
extern "C" __global__ void attention_mask_tiles(const Bool* mask, Bits* mask_tiles, Index queries,
                                                Index keys) {
    Index s = blockIdx.x * (Index)MASK_TILE + threadIdx.x;
    bool some_visible = false, some_masked = false;
    for (int r = threadIdx.y; r < MASK_TILE; r += WARPS) {
        Index t = blockIdx.y * (Index)MASK_TILE + r;
        bool visible = t < queries && s < keys && mask[t * keys + s];
        some_visible |= visible, some_masked |= !visible;
    }
    Bits flags = __syncthreads_or(some_visible) ? SOME_VISIBLE : 0;
    if (__syncthreads_or(some_masked)) flags |= SOME_MASKED;
    if (threadIdx.x == 0 && threadIdx.y == 0)
        mask_tiles[blockIdx.y * (Index)gridDim.x + blockIdx.x] = flags;
}

// q (B, nh, T, HEAD_DIM), k and v (B, nh, S, HEAD_DIM), strided views with their strides over
// batch, heads and tokens in elements -> y (B, T, nh, HEAD_DIM) and lse (B, nh, T) in base 2. The
// grid is (tiles of queries, nh, B).
extern "C" __global__ void attention(
    const Element* q_view, Index q_batch, Index q_head, Index q_token, const Element* k_view,
    Index k_batch, Index k_head, Index k_token, const Element* v_view, Index v_batch, Index v_head,
    Index v_token, Element* y, T* lse, Index queries, Index keys, T scale,
    const Bool* mask, const Bits* mask_tiles, const Index* seed_key,
    Index seed_offset, Index seed_first, Bits threshold, T keep_scale) {
    alignas(16) __shared__ Bits k_tile[BLOCK_N_FWD][PITCH], v_tile[BLOCK_N_FWD][PITCH];
    HeadView Q = head_view(q_view, q_batch, q_head, q_token, queries);
    HeadView K = head_view(k_view, k_batch, k_head, k_token, keys);
    HeadView V = head_view(v_view, v_batch, v_head, v_token, keys);
    Seed seed(seed_key, seed_offset, seed_first);
    Masks masks = make_masks(mask, mask_tiles, queries, keys, seed, threshold, keep_scale);
    int tile = gridDim.x - 1 - blockIdx.x;  // under a causal mask, start with the longest rows
    int start = tile * BLOCK_M + threadIdx.y * 16, row = start + threadIdx.x / 4;
    Bits q_left[K_STEPS][4];
    load_left(Q, start, q_left);
    float acc[D_TILES][4] = {}, m[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, l[2] = {};
    for (int key = 0; key < keys; key += BLOCK_N_FWD) {
        Bits flags = masks.tile_flags<BLOCK_M, BLOCK_N_FWD>(tile * BLOCK_M, key), visible = ~0u;
        if (!(flags & SOME_VISIBLE)) continue;
        __syncthreads();  // all warps have read the previous tiles
        if (flags & SOME_MASKED) visible = masks.visible_bits<BLOCK_N_FWD, false>(row, key);
        load_tile<BLOCK_N_FWD>(K, key, k_tile);
        load_tile<BLOCK_N_FWD>(V, key, v_tile);
        __syncthreads();
        float P[BLOCK_N_FWD / 8][4];  // S, then P
        matmul_transposed<BLOCK_N_FWD>(q_left, k_tile, P);
        float m_new[2] = {m[0], m[1]};
#pragma unroll
        for (int n = 0; n < BLOCK_N_FWD / 8; n++)
            for (int i = 0; i < 4; i++) {
                bool is_visible = visible >> (4 * n + i) & 1;
                P[n][i] = is_visible ? P[n][i] * (scale * LOG2_E) : NEGATIVE_INFINITY;
                m_new[i / 2] = fmaxf(m_new[i / 2], P[n][i]);
            }
        float shift[2], alpha[2];  // shift is m_new, or 0 for a row that is fully masked so far
        for (int half = 0; half < 2; half++) {
            m_new[half] = row_max(m_new[half]);
            shift[half] = m_new[half] == NEGATIVE_INFINITY ? 0.0f : m_new[half];
            alpha[half] = exp2f(m[half] - shift[half]);
            m[half] = m_new[half];
            l[half] *= alpha[half];
        }
#pragma unroll
        for (int n = 0; n < D_TILES; n++)
            for (int i = 0; i < 4; i++) acc[n][i] *= alpha[i / 2];
#pragma unroll
        for (int n = 0; n < BLOCK_N_FWD / 8; n++)
            for (int i = 0; i < 4; i++) {
                int s = key + 8 * n + threadIdx.x % 4 * 2 + i % 2;
                float weight = exp2f(P[n][i] - shift[i / 2]);
                l[i / 2] += weight;
                P[n][i] = masks.dropout(weight, row + i / 2 * 8, s);
            }
        matmul_add<BLOCK_N_FWD>(P, v_tile, acc);
    }
    float inverse[2];
    for (int half = 0; half < 2; half++) {
        l[half] = row_sum(l[half]);
        inverse[half] = l[half] == 0 ? 0.0f : 1 / l[half];
        Index t = row + 8 * half, head = blockIdx.z * (Index)gridDim.y + blockIdx.y;
        if (t < queries && threadIdx.x % 4 == 0)
            lse[head * queries + t] = m[half] + log2f(l[half]);
    }
    Index stride = gridDim.y * (Index)HEAD_DIM;
    Element* to = y + blockIdx.z * queries * stride + blockIdx.y * (Index)HEAD_DIM;
    store_rows(to, stride, start, queries, acc, inverse[0], inverse[1]);
}

// delta (B, nh, T) = sum(dO O) over each row of y (B, T, nh, HEAD_DIM) and of its gradient
// (B, nh, T, HEAD_DIM). The grid is (ceil(T / WARPS), nh, B), one warp per row.
extern "C" __global__ void attention_delta(const Element* dO_view, Index dO_batch, Index dO_head,
                                           Index dO_token, const Element* y, T* delta,
                                           Index queries) {
    Index t = blockIdx.x * (Index)WARPS + threadIdx.y;
    if (t >= queries) return;
    const Element* dO = dO_view + blockIdx.z * dO_batch + blockIdx.y * dO_head + t * dO_token;
    const Element* O = y + ((blockIdx.z * queries + t) * gridDim.y + blockIdx.y) * HEAD_DIM;
    float dot = 0;
    for (int j = threadIdx.x; j < HEAD_DIM; j += 32) dot += to_float(dO[j]) * to_float(O[j]);
    dot = warp_sum(dot);
    Index head = blockIdx.z * (Index)gridDim.y + blockIdx.y;
    if (threadIdx.x == 0) delta[head * queries + t] = dot;
}

// The gradient of q, written to d (B, T, ?, HEAD_DIM) at offset d_at with token stride d_token, so
// that it may be a part of the gradient of one projection. The grid is that of `attention`.
extern "C" __global__ void attention_gradient_q(
    const Element* q_view, Index q_batch, Index q_head, Index q_token, const Element* k_view,
    Index k_batch, Index k_head, Index k_token, const Element* v_view, Index v_batch, Index v_head,
    Index v_token, const Element* dO_view, Index dO_batch, Index dO_head, Index dO_token,
    const T* lse, const T* delta, Element* d, Index d_token, Index d_at, Index queries,
    Index keys, T scale, const Bool* mask, const Bits* mask_tiles, const Index* seed_key,
    Index seed_offset, Index seed_first, Bits threshold, T keep_scale) {
    alignas(16) __shared__ Bits k_tile[BLOCK_N_BWD][PITCH], v_tile[BLOCK_N_BWD][PITCH];
    HeadView Q = head_view(q_view, q_batch, q_head, q_token, queries);
    HeadView K = head_view(k_view, k_batch, k_head, k_token, keys);
    HeadView V = head_view(v_view, v_batch, v_head, v_token, keys);
    HeadView dO = head_view(dO_view, dO_batch, dO_head, dO_token, queries);
    Seed seed(seed_key, seed_offset, seed_first);
    Masks masks = make_masks(mask, mask_tiles, queries, keys, seed, threshold, keep_scale);
    int tile = gridDim.x - 1 - blockIdx.x;
    int start = tile * BLOCK_M + threadIdx.y * 16, row = start + threadIdx.x / 4;
    Index head = (blockIdx.z * (Index)gridDim.y + blockIdx.y) * queries;
    Bits q_left[K_STEPS][4], dO_left[K_STEPS][4];
    load_left(Q, start, q_left);
    load_left(dO, start, dO_left);
    float row_lse[2], row_delta[2];
    for (int half = 0; half < 2; half++) {
        bool exists = row + 8 * half < queries;
        row_lse[half] = exists ? lse[head + row + 8 * half] : 0.0f;
        row_delta[half] = exists ? delta[head + row + 8 * half] : 0.0f;
    }
    float dQ[D_TILES][4] = {};
    for (int key = 0; key < keys; key += BLOCK_N_BWD) {
        Bits flags = masks.tile_flags<BLOCK_M, BLOCK_N_BWD>(tile * BLOCK_M, key), visible = ~0u;
        if (!(flags & SOME_VISIBLE)) continue;
        __syncthreads();  // all warps have read the previous tiles
        if (flags & SOME_MASKED) visible = masks.visible_bits<BLOCK_N_BWD, false>(row, key);
        load_tile<BLOCK_N_BWD>(K, key, k_tile);
        load_tile<BLOCK_N_BWD>(V, key, v_tile);
        __syncthreads();
        float S[BLOCK_N_BWD / 8][4], dS[BLOCK_N_BWD / 8][4];  // dS: dP, then dS
        matmul_transposed<BLOCK_N_BWD>(q_left, k_tile, S);
        matmul_transposed<BLOCK_N_BWD>(dO_left, v_tile, dS);
#pragma unroll
        for (int n = 0; n < BLOCK_N_BWD / 8; n++)
            for (int i = 0; i < 4; i++) {
                int t = row + i / 2 * 8, s = key + 8 * n + threadIdx.x % 4 * 2 + i % 2;
                bool is_visible = visible >> (4 * n + i) & 1;
                float P = exp2f(S[n][i] * (scale * LOG2_E) - row_lse[i / 2]);
                float difference = masks.dropout(dS[n][i], t, s) - row_delta[i / 2];
                dS[n][i] = is_visible ? P * difference : 0.0f;
            }
        matmul_add<BLOCK_N_BWD>(dS, k_tile, dQ);
    }
    Element* to = d + blockIdx.z * queries * d_token + d_at + blockIdx.y * (Index)HEAD_DIM;
    store_rows(to, d_token, start, queries, dQ, scale, scale);
}

// The gradients of k and v, written to d (B, S, ?, HEAD_DIM) at offsets k_at and v_at. The grid is
// (tiles of keys, nh, B); rows of S and dS are keys here, and columns are queries.
extern "C" __global__ void attention_gradient_kv(
    const Element* q_view, Index q_batch, Index q_head, Index q_token, const Element* k_view,
    Index k_batch, Index k_head, Index k_token, const Element* v_view, Index v_batch, Index v_head,
    Index v_token, const Element* dO_view, Index dO_batch, Index dO_head, Index dO_token,
    const T* lse, const T* delta, Element* d, Index d_token, Index k_at, Index v_at,
    Index queries, Index keys, T scale, const Bool* mask, const Bits* mask_tiles,
    const Index* seed_key, Index seed_offset, Index seed_first, Bits threshold, T keep_scale) {
    alignas(16) __shared__ Bits q_tile[BLOCK_N_BWD][PITCH], dO_tile[BLOCK_N_BWD][PITCH];
    __shared__ float column_lse[BLOCK_N_BWD], column_delta[BLOCK_N_BWD];
    HeadView Q = head_view(q_view, q_batch, q_head, q_token, queries);
    HeadView K = head_view(k_view, k_batch, k_head, k_token, keys);
    HeadView V = head_view(v_view, v_batch, v_head, v_token, keys);
    HeadView dO = head_view(dO_view, dO_batch, dO_head, dO_token, queries);
    Seed seed(seed_key, seed_offset, seed_first);
    Masks masks = make_masks(mask, mask_tiles, queries, keys, seed, threshold, keep_scale);
    int start = blockIdx.x * BLOCK_M + threadIdx.y * 16, row = start + threadIdx.x / 4;
    Index head = (blockIdx.z * (Index)gridDim.y + blockIdx.y) * queries;
    Bits k_left[K_STEPS][4], v_left[K_STEPS][4];
    load_left(K, start, k_left);
    load_left(V, start, v_left);
    float dK[D_TILES][4] = {}, dV[D_TILES][4] = {};
    for (int query = 0; query < queries; query += BLOCK_N_BWD) {
        Bits flags = masks.tile_flags<BLOCK_N_BWD, BLOCK_M>(query, blockIdx.x * BLOCK_M);
        Bits visible = ~0u;
        if (!(flags & SOME_VISIBLE)) continue;
        __syncthreads();  // all warps have read the previous tiles
        if (flags & SOME_MASKED) visible = masks.visible_bits<BLOCK_N_BWD, true>(row, query);
        load_tile<BLOCK_N_BWD>(Q, query, q_tile);
        load_tile<BLOCK_N_BWD>(dO, query, dO_tile);
        if (threadIdx.y == 0) {
            int t = query + threadIdx.x;
            column_lse[threadIdx.x] = t < queries ? lse[head + t] : 0.0f;
            column_delta[threadIdx.x] = t < queries ? delta[head + t] : 0.0f;
        }
        __syncthreads();
        float P[BLOCK_N_BWD / 8][4], dS[BLOCK_N_BWD / 8][4];  // S^T, then P^T; dP^T, then dS^T
        matmul_transposed<BLOCK_N_BWD>(k_left, q_tile, P);
        matmul_transposed<BLOCK_N_BWD>(v_left, dO_tile, dS);
#pragma unroll
        for (int n = 0; n < BLOCK_N_BWD / 8; n++)
            for (int i = 0; i < 4; i++) {
                int column = 8 * n + threadIdx.x % 4 * 2 + i % 2;
                int t = query + column, s = row + i / 2 * 8;
                bool is_visible = visible >> (4 * n + i) & 1;
                float weight = exp2f(P[n][i] * (scale * LOG2_E) - column_lse[column]);
                float difference = masks.dropout(dS[n][i], t, s) - column_delta[column];
                dS[n][i] = is_visible ? weight * difference : 0.0f;
                P[n][i] = is_visible ? masks.dropout(weight, t, s) : 0.0f;
            }
        matmul_add<BLOCK_N_BWD>(P, dO_tile, dV);
        matmul_add<BLOCK_N_BWD>(dS, q_tile, dK);
    }
    Element* to = d + blockIdx.z * keys * d_token + blockIdx.y * (Index)HEAD_DIM;
    store_rows(to + k_at, d_token, start, keys, dK, scale, scale);
    store_rows(to + v_at, d_token, start, keys, dV, 1.0f, 1.0f);
}
