// Loss scaling, for products of factors in float16. state = (scale, steps since it changed,
// steps that were skipped).
//
// error_flag[2] is SKIP from the first gradient that is not finite to the end of the step, so that
// optimizers change nothing.

const Index SKIP = -1;

// Divide gradients (the second array of each chunk) by the scale, a power of two.
extern "C" __global__ void __launch_bounds__(512)
    unscale_chunks(const Index* chunks, const double* state, Index* error_flag) {
    const Index* chunk = chunks + blockIdx.x * (Index)5;
    T *g = (T*)chunk[1], factor = (T)(1 / state[0]);
    bool is_finite = true;
    for (Index i = threadIdx.x; i < chunk[4]; i += blockDim.x) {
        is_finite &= g[i] - g[i] == 0;
        g[i] *= factor;
    }
    bool is_skipped = __syncthreads_or(!is_finite);
    if (is_skipped && threadIdx.x == 0 && error_flag[2] == 0) error_flag[2] = SKIP;
}

// Halve the scale after a step that was skipped, double it after `interval` others. One thread. Steps
// after a wrong id, which change nothing, do not count.
extern "C" __global__ void update_loss_scale(double* state, Index* error_flag, Index interval) {
    if (error_flag[2] == SKIP) {
        error_flag[2] = 0;
        state[0] = state[0] > 1 ? state[0] / 2 : 1;
        state[1] = 0;
        state[2] += 1;
    } else if (error_flag[2] == 0 && ++state[1] == interval) {
        state[0] *= 2;
        state[1] = 0;
    }
}
