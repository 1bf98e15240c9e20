// LayerNorm of each row of x (rows, size). What is saved is the mean and the scale of each row;
// the normalised values are computed from them again.
//
// A row of whole packs, at most PACKS for a lane, stays in the registers of its warp; any other is
// read anew for each sum. The kernels with room for 8 packs have names of their own, as all warps
// of a kernel pay for the registers of its widest row.

// The packs of a row that one lane holds: number k begins at element j.
#define FOR_EACH_HELD(k, j, size)                     \
    _Pragma("unroll") for (int k = 0; k < PACKS; k++) \
        if (Index j = (k * 32 + (int)threadIdx.x) * FULL; j < (size))

template <int PACKS>
__device__ void norm_held(const T* x, const T* weight, const T* bias, T* y, T* mean, T* scale,
                          Index rows, Index size, T eps) {
    FOR_EACH_ROW(row, rows) {
        Pack<FULL> in[PACKS];
        T total = 0, squares = 0;
        FOR_EACH_HELD(k, j, size) in[k] = load<FULL>(x + row * size + j);
        FOR_EACH_HELD(k, j, size)
            for (T value : in[k].at) total += value;
        T average = warp_sum(total) / size;
        FOR_EACH_HELD(k, j, size)
            for (T value : in[k].at) squares += (value - average) * (value - average);
        T inverse = (T)1 / sqrt(warp_sum(squares) / size + eps);
        FOR_EACH_HELD(k, j, size) {
            Pack<FULL> w = load<FULL>(weight + j), b = {};
            if (bias) b = load<FULL>(bias + j);
            for (int e = 0; e < FULL; e++)
                w.at[e] = (in[k].at[e] - average) * inverse * w.at[e] + b.at[e];
            store<FULL>(y + row * size + j, w);
        }
        if (threadIdx.x == 0) mean[row] = average, scale[row] = inverse;
    }
}

__device__ void norm_any(const T* x, const T* weight, const T* bias, T* y, T* mean, T* scale,
                         Index rows, Index size, T eps) {
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
        if (threadIdx.x == 0) mean[row] = average, scale[row] = inverse;
    }
}

template <int PACKS>
__device__ void norm(const T* x, const T* weight, const T* bias, T* y, T* mean, T* scale,
                     Index rows, Index size, T eps) {
    if (size <= PACKS * 32 * FULL && size % FULL == 0 && aligned(x, weight, bias, y))
        norm_held<PACKS>(x, weight, bias, y, mean, scale, rows, size, eps);
    else
        norm_any(x, weight, bias, y, mean, scale, rows, size, eps);
}

extern "C" __global__ void layer_norm(const T* x, const T* weight, const T* bias, T* y, T* mean,
                                      T* scale, Index rows, Index size, T eps) {
    norm<4>(x, weight, bias, y, mean, scale, rows, size, eps);
}

extern "C" __global__ void layer_norm_wide(const T* x, const T* weight, const T* bias, T* y,
                                           T* mean, T* scale, Index rows, Index size, T eps) {
    norm<8>(x, weight, bias, y, mean, scale, rows, size, eps);
}

template <int PACKS>
__device__ void norm_gradient_held(const T* g, const T* x, const T* weight, const T* mean,
                                   const T* scale, T* dx, Index rows, Index size) {
    FOR_EACH_ROW(row, rows) {
        Pack<FULL> d[PACKS], normal[PACKS];  // d: g * weight
        T average = mean[row], inverse = scale[row], sum_d = 0, sum_dn = 0;
        FOR_EACH_HELD(k, j, size) {
            d[k] = load<FULL>(g + row * size + j);
            normal[k] = load<FULL>(x + row * size + j);
        }
        FOR_EACH_HELD(k, j, size) {
            Pack<FULL> w = load<FULL>(weight + j);
            for (int e = 0; e < FULL; e++) {
                sum_d += d[k].at[e] *= w.at[e];
                normal[k].at[e] = (normal[k].at[e] - average) * inverse;
                sum_dn += d[k].at[e] * normal[k].at[e];
            }
        }
        T mean_d = warp_sum(sum_d) / size, mean_dn = warp_sum(sum_dn) / size;
        FOR_EACH_HELD(k, j, size) {
            for (int e = 0; e < FULL; e++)
                d[k].at[e] = (d[k].at[e] - mean_d - normal[k].at[e] * mean_dn) * inverse;
            store<FULL>(dx + row * size + j, d[k]);
        }
    }
}

__device__ void norm_gradient_any(const T* g, const T* x, const T* weight, const T* mean,
                                  const T* scale, T* dx, Index rows, Index size) {
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

template <int PACKS>
__device__ void norm_gradient(const T* g, const T* x, const T* weight, const T* mean,
                              const T* scale, T* dx, Index rows, Index size) {
    if (size <= PACKS * 32 * FULL && size % FULL == 0 && aligned(g, x, weight, dx))
        norm_gradient_held<PACKS>(g, x, weight, mean, scale, dx, rows, size);
    else
        norm_gradient_any(g, x, weight, mean, scale, dx, rows, size);
}

extern "C" __global__ void layer_norm_gradient(const T* g, const T* x, const T* weight,
                                               const T* mean, const T* scale, T* dx, Index rows,
                                               Index size) {
    norm_gradient<4>(g, x, weight, mean, scale, dx, rows, size);
}

extern "C" __global__ void layer_norm_gradient_wide(const T* g, const T* x, const T* weight,
                                                    const T* mean, const T* scale, T* dx,
                                                    Index rows, Index size) {
    norm_gradient<8>(g, x, weight, mean, scale, dx, rows, size);
}
