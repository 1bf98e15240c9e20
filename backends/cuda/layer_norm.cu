// LayerNorm of each row of x (rows, size). What is saved is the mean and the scale of each row;
// the normalised values are computed from them again.

extern "C" __global__ void layer_norm(const T* x, const T* weight, const T* bias, T* y, T* mean,
                                      T* scale, Index rows, Index size, T eps) {
    FOR_EACH_ROW(row, rows) {
        const T* in = x + row * size;
        T total = 0, squares = 0;
        FOR_EACH_LANE(j, size) total += in[j];
        T average = warp_sum(total) / size;
        FOR_EACH_LANE(j, size) squares += (in[j] - average) * (in[j] - average);
        T inverse = (T)1 / sqrt(warp_sum(squares) / size + eps);
        FOR_EACH_LANE(j, size) {
            T value = (in[j] - average) * inverse * weight[j];
            y[row * size + j] = bias ? value + bias[j] : value;
        }
        if (threadIdx.x == 0) {
            mean[row] = average;
            scale[row] = inverse;
        }
    }
}

extern "C" __global__ void layer_norm_gradient(const T* g, const T* x, const T* weight,
                                               const T* mean, const T* scale, T* dx, Index rows,
                                               Index size) {
    FOR_EACH_ROW(row, rows) {
        Index at = row * size;
        T average = mean[row], inverse = scale[row], sum_d = 0, sum_dn = 0;
        FOR_EACH_LANE(j, size) {
            T d = g[at + j] * weight[j];
            sum_d += d;
            sum_dn += d * (x[at + j] - average) * inverse;
        }
        T mean_d = warp_sum(sum_d) / size, mean_dn = warp_sum(sum_dn) / size;
        FOR_EACH_LANE(j, size) {
            T normal = (x[at + j] - average) * inverse;
            dx[at + j] = (g[at + j] * weight[j] - mean_d - normal * mean_dn) * inverse;
        }
    }
}
