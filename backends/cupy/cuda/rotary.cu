// Rotary position embedding: rotates each pair (x[i], x[i + hs / 2]) by the angle of its position.

// x (B, nh, T, hs), a strided view with its strides over batch, heads and tokens in elements, -> y
// contiguous; cosine and sine (T, hs / 2). The gradient rotates back, with direction -1. The grid
// is (token blocks, nh, B), one warp per vector.
extern "C" __global__ void rotary(const T* x_view, Index x_batch, Index x_head, Index x_token,
                                  const T* cosine, const T* sine, T* y, Index batch, Index tokens,
                                  Index half, T direction) {
    Index t = blockIdx.x * (Index)blockDim.y + threadIdx.y;
    if (t >= tokens) return;
    for (Index b = blockIdx.z; b < batch; b += gridDim.z) {
        const T* in = x_view + b * x_batch + blockIdx.y * x_head + t * x_token;
        T* out = y + ((b * gridDim.y + blockIdx.y) * tokens + t) * 2 * half;
        FOR_EACH_LANE(j, half) {
            T c = cosine[t * half + j], s = sine[t * half + j] * direction;
            T first = in[j], second = in[j + half];
            out[j] = first * c - second * s;
            out[j + half] = second * c + first * s;
        }
    }
}
