// Copies between the layouts of attention: heads side by side in each token's vector, and one
// matrix per head. A warp copies one vector of size = hs values. Parameters named *_view accept
// strided arrays; their strides over batch, heads and tokens follow, in elements.

// Gradients of q, k and v, each (B, nh, T, hs) or null for zeros, -> qkv (B, T, 3, nh, hs). The
// grid is (token blocks, 3 nh, B).
extern "C" __global__ void split_heads_gradient(
    const T* q_view, Index q_batch, Index q_head, Index q_token, const T* k_view, Index k_batch,
    Index k_head, Index k_token, const T* v_view, Index v_batch, Index v_head, Index v_token,
    T* qkv, Index batch, Index tokens, Index num_heads, Index size) {
    Index part = blockIdx.y / (unsigned)num_heads, h = blockIdx.y % (unsigned)num_heads;
    const T* from = part == 0 ? q_view : part == 1 ? k_view : v_view;
    Index batch_stride = part == 0 ? q_batch : part == 1 ? k_batch : v_batch;
    Index head_stride = part == 0 ? q_head : part == 1 ? k_head : v_head;
    Index token_stride = part == 0 ? q_token : part == 1 ? k_token : v_token;
    Index t = blockIdx.x * (Index)blockDim.y + threadIdx.y;
    if (t >= tokens) return;
    for (Index b = blockIdx.z; b < batch; b += gridDim.z) {
        T* to = qkv + ((b * tokens + t) * gridDim.y + blockIdx.y) * size;
        Index at = b * batch_stride + h * head_stride + t * token_stride;
        FOR_EACH_LANE(j, size) to[j] = from ? from[at + j] : (T)0;
    }
}

// x (B, nh, T, hs) -> y (B, T, nh, hs), one warp per vector.
extern "C" __global__ void merge_heads(const T* x, T* y, Index batch, Index heads, Index tokens,
                                       Index size) {
    FOR_EACH_ROW(row, batch * heads * tokens) {
        Index h = row % heads, t = row / heads % tokens, b = row / (heads * tokens);
        Index from = (b * heads + h) * tokens + t;
        FOR_EACH_LANE(e, size) y[row * size + e] = x[from * size + e];
    }
}
