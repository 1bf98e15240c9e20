// Sampling from softmax(logits / temperature) by inverting the cumulative distribution.

__device__ double warp_sum_double(double x) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}

// For each row of logits (rows, size), the first token whose cumulative weight exceeds u times the
// total weight, for u uniform in [0, 1). Sums are in double, as on the host.
extern "C" __global__ void sample_rows(const T* logits, const double* u, Index* tokens, Index rows,
                                       Index size, double temperature) {
    FOR_EACH_ROW(row, rows) {
        const T* in = logits + row * size;
        T largest = NEGATIVE_INFINITY;
        FOR_EACH_LANE(j, size) largest = in[j] > largest ? in[j] : largest;
        double shift = warp_max(largest), total = 0;
        FOR_EACH_LANE(j, size) total += exp((in[j] - shift) / temperature);
        double threshold = u[row] * warp_sum_double(total), before = 0;
        Index chosen = -1;
        for (Index start = 0; start < size && chosen < 0; start += 32) {
            Index j = start + threadIdx.x;
            double sum = j < size ? exp((in[j] - shift) / temperature) : 0.0;
            for (int step = 1; step < 32; step *= 2) {  // inclusive scan over the lanes
                double lower = __shfl_up_sync(ALL_LANES, sum, step);
                if (threadIdx.x >= step) sum += lower;
            }
            Bits above = __ballot_sync(ALL_LANES, j < size && before + sum > threshold);
            if (above) chosen = start + __ffs(above) - 1;
            before += __shfl_sync(ALL_LANES, sum, 31);
        }
        if (threadIdx.x == 0) tokens[row] = chosen < 0 ? 0 : chosen;  // NaN: token 0, as in NumPy
    }
}
