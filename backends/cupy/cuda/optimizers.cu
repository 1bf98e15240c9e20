// Multi-tensor updates: `chunks` (n, 5) lists, for each block, the addresses of the first element
// of its chunk in up to four arrays, and the number of elements of the chunk.
//
// An id out of range gives gradients of NaN, and the host reads of it only with the next result.
// Until then error_flag[2] is set, and nothing is updated: all weights stay as they were.

// The learning rate and the number of the step are on the device, so that each replay of a captured
// step reads new ones. Gradients are multiplied by `scale`, unless that is null: it clips them.
extern "C" __global__ void __launch_bounds__(512)
    adam_update(const Index* chunks, const double* lr, const double* step, double beta1,
                double beta2, T eps, double weight_decay, Index decoupled, const T* scale,
                const Index* error_flag) {
    if (error_flag[2]) return;
    __shared__ T decay, l2, step_size, root;
    if (threadIdx.x == 0) {  // in double: 1 - beta would lose digits
        double now = *lr, count = *step;
        decay = decoupled ? 1 - now * weight_decay : 1;
        l2 = decoupled ? 0 : weight_decay;
        step_size = now / (1 - pow(beta1, count));
        root = sqrt(1 - pow(beta2, count));
    }
    __syncthreads();
    T clip = scale ? *scale : (T)1;
    T old1 = beta1, new1 = 1 - beta1, old2 = beta2, new2 = 1 - beta2;
    const Index* chunk = chunks + blockIdx.x * (Index)5;
    T* p = (T*)chunk[0];
    const T* gradient = (const T*)chunk[1];
    T *m = (T*)chunk[2], *v = (T*)chunk[3];
    for (Index i = threadIdx.x; i < chunk[4]; i += blockDim.x) {
        T g = clip * gradient[i] + l2 * p[i];
        m[i] = old1 * m[i] + new1 * g;
        v[i] = old2 * v[i] + new2 * g * g;
        p[i] = decay * p[i] - step_size * m[i] / (sqrt(v[i]) / root + eps);
    }
}

// The sum of squares of each chunk of the gradients (the second array); blocks of (32, warps).
extern "C" __global__ void __launch_bounds__(512)
    square_sums(const Index* chunks, T* partial) {
    __shared__ T scratch[32];
    const Index* chunk = chunks + blockIdx.x * (Index)5;
    const T* g = (const T*)chunk[1];
    T total = 0;
    for (Index i = threadIdx.y * 32 + threadIdx.x; i < chunk[4]; i += 32 * blockDim.y)
        total += g[i] * g[i];
    total = block_sum(total, scratch);
    if (threadIdx.x == 0 && threadIdx.y == 0) partial[blockIdx.x] = total;
}

// result = (norm, factor that scales it down to max_norm, at most 1), by one block.
extern "C" __global__ void __launch_bounds__(1024)
    clip_factor(const T* partial, T* result, Index count, T max_norm) {
    __shared__ T scratch[32];
    T total = 0;
    for (Index i = threadIdx.y * 32 + threadIdx.x; i < count; i += 32 * blockDim.y)
        total += partial[i];
    total = block_sum(total, scratch);
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        T norm = sqrt(total), factor = max_norm / (norm + (T)1e-6);
        result[0] = norm;
        result[1] = factor >= 1 ? (T)1 : factor;  // NaN stays NaN
    }
}

extern "C" __global__ void __launch_bounds__(512)
    scale_chunks(const Index* chunks, const T* factor) {
    const Index* chunk = chunks + blockIdx.x * (Index)5;
    T *g = (T*)chunk[1], scale = *factor;
    for (Index i = threadIdx.x; i < chunk[4]; i += blockDim.x) g[i] *= scale;
}

// array = update, for rules without a kernel of their own.
extern "C" __global__ void write_update(T* array, const T* update, Index count,
                                        const Index* error_flag) {
    if (error_flag[2]) return;
    FOR_EACH(i, count) array[i] = update[i];
}
