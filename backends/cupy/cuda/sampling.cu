// Sampling from softmax(logits / temperature) by inverting the cumulative distribution.

__device__ double warp_sum_double(double x) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}

// The weight of a token, up to a factor. The largest logit may be infinite, and others far below it.
__device__ double weight_of(T logit, T largest, double temperature) {
    return logit == largest ? 1.0 : exp(((double)logit - (double)largest) / temperature);
}

// For each row of logits (rows, size), the first token whose cumulative weight exceeds u times the
// total weight, for u uniform in [0, 1); -1 if a logit is NaN or all are -inf. Sums are in double,
// as on the host.
extern "C" __global__ void sample_rows(const T* logits, const double* u, Index* tokens, Index rows,
                                       Index size, double temperature) {
    FOR_EACH_ROW(row, rows) {
        const T* in = logits + row * size;
        T largest = NEGATIVE_INFINITY;
        FOR_EACH_LANE(j, size) largest = in[j] > largest ? in[j] : largest;
        largest = warp_max(largest);
        double total = 0, before = 0;
        FOR_EACH_LANE(j, size) total += weight_of(in[j], largest, temperature);
        total = warp_sum_double(total);
        bool valid = largest > NEGATIVE_INFINITY && total == total;
        double threshold = u[row] * total;
        Index chosen = -1;
        for (Index start = 0; start < size && chosen < 0; start += 32) {
            Index j = start + threadIdx.x;
            double sum = j < size ? weight_of(in[j], largest, temperature) : 0.0;
            for (int step = 1; step < 32; step *= 2) {  // inclusive scan over the lanes
                double lower = __shfl_up_sync(ALL_LANES, sum, step);
                if (threadIdx.x >= step) sum += lower;
            }
            Bits above = __ballot_sync(ALL_LANES, j < size && before + sum > threshold);
            if (above) chosen = start + __ffs(above) - 1;
            before += __shfl_sync(ALL_LANES, sum, 31);
        }
        // If rounding left all sums below the threshold, the most likely token.
        for (Index start = 0; start < size && chosen < 0; start += 32) {
            Index j = start + threadIdx.x;
            Bits found = __ballot_sync(ALL_LANES, j < size && in[j] == largest);
            if (found) chosen = start + __ffs(found) - 1;
        }
        if (threadIdx.x == 0) tokens[row] = valid ? chosen : -1;
    }
}
