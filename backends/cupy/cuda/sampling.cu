// Sampling from softmax(logits / temperature), restricted by top_k and top_p, by inverting the
// cumulative distribution. One block of (32, warps) per row; sums are in double, as on the host.

typedef unsigned long long Order;  // compares as the values that it was computed from

// The elements of a row, distributed over the threads of a block.
#define FOR_EACH_THREAD(j, size)                                                     \
    for (Index j = threadIdx.y * 32 + threadIdx.x; j < (size); j += 32 * blockDim.y)

__device__ double warp_sum_double(double x) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}

// The sum over the block, the same bits in every thread. `scratch` has a value for each warp.
__device__ double block_total(double x, double* scratch) {
    x = warp_sum_double(x);
    __syncthreads();  // scratch may still be read
    if (threadIdx.x == 0) scratch[threadIdx.y] = x;
    __syncthreads();
    double total = 0;
    for (int warp = 0; warp < blockDim.y; warp++) total += scratch[warp];
    return total;
}

__device__ double block_max(double x, double* scratch) {
    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x == 0) scratch[threadIdx.y] = x;
    __syncthreads();
    double largest = scratch[0];
    for (int warp = 1; warp < blockDim.y; warp++)
        largest = scratch[warp] > largest ? scratch[warp] : largest;
    return largest;
}

// The weight of a token, up to a factor. The largest logit may be infinite, and others far below it.
// A temperature of 0 leaves the largest only; NaN stays NaN.
__device__ double weight_of(T logit, T largest, double temperature) {
    if (logit == largest) return 1.0;
    if (temperature == 0 && logit == logit) return 0.0;
    return exp(((double)logit - (double)largest) / temperature);
}

// The order of numbers, and of their bits: that of a negative number is inverted.
__device__ Order order_of(float x) {
    Bits bits = __float_as_uint(x == 0 ? 0.0f : x);  // 0 and -0 are equal
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ Order order_of(double x) {
    Order bits = (Order)__double_as_longlong(x == 0 ? 0.0 : x);
    return bits >> 63 ? ~bits : bits | 0x8000000000000000ull;
}

// The highest order such that the elements at or above it sum up to `goal` or more: a binary search,
// bit by bit. order(j) has so many bits, and amount(j) is at least 0.
template <typename OrderOf, typename Amount>
__device__ Order highest_order(Index size, int bits, double goal, double* scratch, OrderOf order,
                               Amount amount) {
    Order found = 0;
    for (int bit = bits - 1; bit >= 0; bit--) {
        Order candidate = found | (Order)1 << bit;
        double sum = 0;
        FOR_EACH_THREAD(j, size) sum += order(j) >= candidate ? amount(j) : 0.0;
        if (block_total(sum, scratch) >= goal) found = candidate;
    }
    return found;
}

const int LOGIT_BITS = 8 * sizeof(T);

// Set the weights of all logits below the k-th largest to 0.
__device__ void keep_top_k(const T* logits, double* weights, Index size, Index k, double* scratch) {
    auto order = [&](Index j) { return order_of(logits[j]); };
    Order kth = highest_order(size, LOGIT_BITS, (double)k, scratch, order,
                              [](Index) { return 1.0; });
    FOR_EACH_THREAD(j, size) if (order(j) < kth) weights[j] = 0;
}

// Set all weights to 0 except the largest, whose fraction of the sum reaches p. Of equal ones, the
// first are kept.
__device__ void keep_top_p(const T* logits, double* weights, Index size, double p,
                           double* scratch) {
    auto order = [&](Index j) { return order_of(logits[j]); };
    auto from_the_end = [&](Index j) { return (Order)(size - 1 - j); };
    double sum = 0;
    FOR_EACH_THREAD(j, size) sum += weights[j];
    double goal = p * block_total(sum, scratch);
    Order last = highest_order(size, LOGIT_BITS, goal, scratch, order,
                               [&](Index j) { return weights[j]; });
    double above = 0;
    FOR_EACH_THREAD(j, size) above += order(j) > last ? weights[j] : 0.0;
    goal -= block_total(above, scratch);
    int bits = 1;
    while (size >> bits) bits++;
    Order end = highest_order(size, bits, goal, scratch, from_the_end,
                              [&](Index j) { return order(j) == last ? weights[j] : 0.0; });
    FOR_EACH_THREAD(j, size)
        if (order(j) < last || (order(j) == last && from_the_end(j) < end)) weights[j] = 0;
}

// By one warp: the first of the tokens from `start` to `end` with which `before` plus the sum of
// weights exceeds the threshold, or -1. `total` is the sum of all weights before it, where the last
// one that is not 0 has been added in the same order as in the comparison.
__device__ Index first_above(const double* weights, Index start, Index end, double before,
                             double threshold, double* total) {
    *total = 0;
    for (; start < end; start += 32) {
        Index j = start + threadIdx.x;
        double sum = j < end ? weights[j] : 0.0;
        Bits present = __ballot_sync(ALL_LANES, sum > 0);
        if (!present) continue;
        for (int step = 1; step < 32; step *= 2) {  // inclusive scan over the lanes
            double lower = __shfl_up_sync(ALL_LANES, sum, step);
            if (threadIdx.x >= step) sum += lower;
        }
        bool is_present = present >> threadIdx.x & 1;
        Bits above =
            __ballot_sync(ALL_LANES, is_present && before + (*total + sum) > threshold);
        if (above) return start + __ffs(above) - 1;
        *total += __shfl_sync(ALL_LANES, sum, 31 - __clz(present));
    }
    return -1;
}

// For each row of logits (rows, size), the first token whose cumulative weight exceeds u times the
// total weight, for u uniform in [0, 1); -1 if a logit is NaN or all are -inf.
//
// uniforms is null for a temperature of 0; top_k 0 and top_p 1 exclude no token. With a `state`
// (position, step), uniforms and tokens are rows of (steps, rows), and the row `step` is used; the
// tokens are also written to ids, as the input of the next step.
// One block on a processor is enough: with more, registers would be spilled.
extern "C" __global__ void __launch_bounds__(512, 1)
    sample_rows(const T* logits, const double* uniforms, const Index* state, double* weights,
                Index* tokens, Index* ids, Index rows, Index size, double temperature, Index top_k,
                double top_p) {
    __shared__ double scratch[32];
    Index row = blockIdx.x, place = row + (state ? state[1] * rows : 0);
    logits += row * size, weights += row * size;
    T largest = NEGATIVE_INFINITY;
    FOR_EACH_THREAD(j, size) largest = logits[j] > largest ? logits[j] : largest;
    largest = (T)block_max(largest, scratch);
    double sum = 0;
    FOR_EACH_THREAD(j, size) sum += weights[j] = weight_of(logits[j], largest, temperature);
    double total = block_total(sum, scratch);
    if (!(largest > NEGATIVE_INFINITY && total == total)) {
        if (threadIdx.y == 0 && threadIdx.x == 0) {
            tokens[place] = -1;
            if (ids) ids[row] = 0;  // an id that can be read; the host will raise
        }
        return;
    }
    if (top_k > 0 && top_k < size) keep_top_k(logits, weights, size, top_k, scratch);
    if (top_p < 1) keep_top_p(logits, weights, size, top_p, scratch);
    __syncthreads();
    // Each warp sums up a range of tokens; the one whose range has the token scans it. Sums are added
    // in the same order both times, so that one exceeds any threshold below the total.
    Index range = (size + blockDim.y - 1) / blockDim.y, start = threadIdx.y * range;
    Index end = start + range < size ? start + range : size;
    double before = 0, infinity = -(double)NEGATIVE_INFINITY;
    first_above(weights, start, end, before, infinity, &sum);
    if (threadIdx.x == 0) scratch[threadIdx.y] = sum;
    __syncthreads();
    if (threadIdx.y != 0) return;
    total = 0;
    for (int warp = 0; warp < blockDim.y; warp++) total += scratch[warp];
    double threshold = uniforms ? uniforms[place] * total : 0.0;
    Index warp = 0;
    while (warp < blockDim.y - 1 && before + scratch[warp] <= threshold) before += scratch[warp++];
    start = warp * range, end = start + range < size ? start + range : size;
    Index found = first_above(weights, start, end, before, threshold, &sum);
    if (threadIdx.x == 0) tokens[place] = found;
    if (threadIdx.x == 0 && ids) ids[row] = found;
}
