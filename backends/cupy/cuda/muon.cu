// Muon without its matrix products, for a stack of matrices of one shape. As in optimizers.cu,
// nothing is updated while error_flag is set, and gradients are multiplied by `scale`.

// Chunks of gradient, momentum and direction, as in optimizers.cu: updates the momentum in place
// and computes the direction.
extern "C" __global__ void __launch_bounds__(512)
    muon_direction(const Index* chunks, T old_part, T new_part, Index nesterov, const T* scale,
                   const Index* error_flag) {
    if (error_flag[2]) return;
    T clip = scale ? *scale : (T)1;
    const Index* chunk = chunks + blockIdx.x * (Index)5;
    const T* g = (const T*)chunk[0];
    T *m = (T*)chunk[1], *direction = (T*)chunk[2];
    for (Index i = threadIdx.x; i < chunk[4]; i += blockDim.x) {
        T fresh = new_part * (clip * g[i]);
        m[i] = old_part * m[i] + fresh;
        direction[i] = nesterov ? fresh + old_part * m[i] : m[i];
    }
}

// Chunks of parameter and orthogonal direction: weight decay, then the step.
extern "C" __global__ void __launch_bounds__(512)
    muon_step(const Index* chunks, const double* lr, double factor, double weight_decay,
              const Index* error_flag) {
    if (error_flag[2]) return;
    const Index* chunk = chunks + blockIdx.x * (Index)5;
    T* p = (T*)chunk[0];
    const T* direction = (const T*)chunk[1];
    T decay = 1 - *lr * weight_decay, step_size = *lr * factor;
    for (Index i = threadIdx.x; i < chunk[4]; i += blockDim.x)
        p[i] = decay * p[i] - step_size * direction[i];
}

// The sum of squares of a part of each matrix; the grid is (parts, stack).
extern "C" __global__ void matrix_squares(const T* x, T* partial, Index size) {
    __shared__ T scratch[32];
    const T* matrix = x + blockIdx.y * size;
    T total = 0;
    Index start = (blockIdx.x * (Index)blockDim.y + threadIdx.y) * 32 + threadIdx.x;
    for (Index i = start; i < size; i += (Index)gridDim.x * blockDim.y * 32)
        total += matrix[i] * matrix[i];
    total = block_sum(total, scratch);
    if (threadIdx.x == 0 && threadIdx.y == 0)
        partial[blockIdx.y * (Index)gridDim.x + blockIdx.x] = total;
}

// Divide each matrix by its Frobenius norm; the same grid.
extern "C" __global__ void divide_by_norm(T* x, const T* partial, Index size) {
    T total = 0;
    for (Index part = 0; part < gridDim.x; part++)
        total += partial[blockIdx.y * (Index)gridDim.x + part];
    T scale = (T)1 / (sqrt(total) + (T)1e-7);
    T* matrix = x + blockIdx.y * size;
    Index start = (blockIdx.x * (Index)blockDim.y + threadIdx.y) * 32 + threadIdx.x;
    for (Index i = start; i < size; i += (Index)gridDim.x * blockDim.y * 32) matrix[i] *= scale;
}

// square = quadratic square + linear a + constant I, for stacks of matrices (n, n); on entry,
// `square` holds a a.
extern "C" __global__ void muon_polynomial(const T* a, T* square, Index count, Index n,
                                           T constant, T linear, T quadratic) {
    FOR_EACH(i, count) {
        Index at = i % (n * n);
        T diagonal = at / n == at % n ? constant : (T)0;
        square[i] = quadratic * square[i] + linear * a[i] + diagonal;
    }
}
