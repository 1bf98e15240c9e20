// Attention's heads: between vectors side by side for each token and matrices for each head.
// A warp moves one vector of hs numbers. Arrays that are views are told their strides between
// batches, heads and tokens.

// From three arrays (B, nh, T, hs), of which those that are null count as zeros, to qkv
// (B, T, 3, nh, hs). A grid of (tokens, 3 nh, B).
extern "C" __global__ void split_heads_gradient(
    const T* q_view, Index q_batch, Index q_head, Index q_token, const T* k_view, Index k_batch,
    Index k_head, Index k_token, const T* v_view, Index v_batch, Index v_head, Index v_token,
    T* qkv, Index batch, Index tokens, Index num_heads, Index size) {
    Index part = blockIdx.y / (unsigned)num_heads, h = blockIdx.y % (unsigned)num_heads;
    const T* from = part == 0 ? q_view : part == 1 ? k_view : v_view;
    Index by_batch = part == 0 ? q_batch : part == 1 ? k_batch : v_batch;
    Index by_head = part == 0 ? q_head : part == 1 ? k_head : v_head;
    Index by_token = part == 0 ? q_token : part == 1 ? k_token : v_token;
    Index t = blockIdx.x * (Index)blockDim.y + threadIdx.y;
    if (t >= tokens) return;
    for (Index b = blockIdx.z; b < batch; b += gridDim.z) {
        T* to = qkv + ((b * tokens + t) * gridDim.y + blockIdx.y) * size;
        Index at = b * by_batch + h * by_head + t * by_token;
        FOR_EACH_LANE(j, size) to[j] = from ? from[at + j] : (T)0;
    }
}

// x (A, N, M, size) -> y (A, M, N, size): merge_heads.
extern "C" __global__ void swap_middle(const T* x, T* y, Index stacks, Index n, Index m,
                                       Index size) {
    FOR_EACH_ROW(row, stacks * n * m) {
        Index i = row % n, j = row / n % m, stack = row / (n * m);
        Index from = (stack * n + i) * m + j;
        FOR_EACH_LANE(e, size) y[row * size + e] = x[from * size + e];
    }
}

// Each pair (x[i], x[i + hs / 2]) of x (B, nh, T, hs) turned by the angle of its position, into y,
// which is contiguous; the gradient turns back, with direction -1. A grid of (tokens, nh, B).
extern "C" __global__ void rotary(const T* x_view, Index by_batch, Index by_head, Index by_token,
                                  const T* cosine, const T* sine, T* y, Index batch, Index tokens,
                                  Index half, T direction) {
    Index t = blockIdx.x * (Index)blockDim.y + threadIdx.y;
    if (t >= tokens) return;
    for (Index b = blockIdx.z; b < batch; b += gridDim.z) {
        const T* in = x_view + b * by_batch + blockIdx.y * by_head + t * by_token;
        T* out = y + ((b * gridDim.y + blockIdx.y) * tokens + t) * 2 * half;
        FOR_EACH_LANE(j, half) {
            T c = cosine[t * half + j], s = sine[t * half + j] * direction;
            T first = in[j], second = in[j + half];
            out[j] = first * c - second * s;
            out[j + half] = second * c + first * s;
        }
    }
}
