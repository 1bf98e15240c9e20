// LayerNorm of each row of x (rows, size): y = (x - mean) rstd weight + bias, where rstd is the
// reciprocal of the standard deviation. mean and rstd (rows,) are saved; the gradients recompute
// the normalised values x_hat = (x - mean) rstd from them.
//
// The first element of a row is subtracted before the mean, which is exact for numbers close to each
// other: a mean that is large compared with the deviations costs no digits, and equal numbers give 0.
//
// A row of at most PACKS packs for each lane is loaded once and kept in registers; a longer one is
// read again for each sum. The variants for 8 packs are separate kernels (_wide), since a kernel
// allocates the registers of its widest path for every warp.

// Loop over the packs of a row that a lane keeps in registers: pack k starts at element j.
#define FOR_EACH_PACK(k, j, size)                     \
    _Pragma("unroll") for (int k = 0; k < PACKS; k++) \
        if (Index j = (k * 32 + (int)threadIdx.x) * VEC; j < (size))

template <int PACKS>
__device__ void norm_in_registers(const T* x, const T* weight, const T* bias, T* y, T* mean,
                                  T* rstd, Index rows, Index size, T eps) {
    FOR_EACH_ROW(row, rows) {
        Pack<VEC> in[PACKS];
        T first = x[row * size], total = 0, squares = 0;
        FOR_EACH_PACK(k, j, size) in[k] = load<VEC>(x + row * size + j);
        FOR_EACH_PACK(k, j, size)
            for (T& value : in[k].at) total += value -= first;
        T m = warp_sum(total) / size;  // of the differences from the first
        FOR_EACH_PACK(k, j, size)
            for (T value : in[k].at) squares += (value - m) * (value - m);
        T r = (T)1 / sqrt(warp_sum(squares) / size + eps);
        FOR_EACH_PACK(k, j, size) {
            Pack<VEC> w = load<VEC>(weight + j), b = {};
            if (bias) b = load<VEC>(bias + j);
            for (int e = 0; e < VEC; e++) w.at[e] = (in[k].at[e] - m) * r * w.at[e] + b.at[e];
            store<VEC>(y + row * size + j, w);
        }
        if (threadIdx.x == 0) mean[row] = first + m, rstd[row] = r;
    }
}

__device__ void norm_from_memory(const T* x, const T* weight, const T* bias, T* y, T* mean,
                                 T* rstd, Index rows, Index size, T eps) {
    FOR_EACH_ROW(row, rows) {
        const T* in = x + row * size;
        T first = in[0], total = 0, squares = 0;
        FOR_EACH_LANE(j, size) total += in[j] - first;
        T m = warp_sum(total) / size;  // of the differences from the first
        FOR_EACH_LANE(j, size) squares += (in[j] - first - m) * (in[j] - first - m);
        T r = (T)1 / sqrt(warp_sum(squares) / size + eps);
        FOR_EACH_LANE(j, size) {
            T value = (in[j] - first - m) * r * weight[j];
            y[row * size + j] = bias ? value + bias[j] : value;
        }
        if (threadIdx.x == 0) mean[row] = first + m, rstd[row] = r;
    }
}

template <int PACKS>
__device__ void norm(const T* x, const T* weight, const T* bias, T* y, T* mean, T* rstd,
                     Index rows, Index size, T eps) {
    if (size <= PACKS * 32 * VEC && size % VEC == 0 && aligned(x, weight, bias, y))
        norm_in_registers<PACKS>(x, weight, bias, y, mean, rstd, rows, size, eps);
    else
        norm_from_memory(x, weight, bias, y, mean, rstd, rows, size, eps);
}

extern "C" __global__ void layer_norm(const T* x, const T* weight, const T* bias, T* y, T* mean,
                                      T* rstd, Index rows, Index size, T eps) {
    norm<4>(x, weight, bias, y, mean, rstd, rows, size, eps);
}

extern "C" __global__ void layer_norm_wide(const T* x, const T* weight, const T* bias, T* y,
                                           T* mean, T* rstd, Index rows, Index size, T eps) {
    norm<8>(x, weight, bias, y, mean, rstd, rows, size, eps);
}

// dx = (d - mean(d) - x_hat mean(d x_hat)) rstd for each row, where d = g weight.
template <int PACKS>
__device__ void norm_gradient_in_registers(const T* g, const T* x, const T* weight, const T* mean,
                                           const T* rstd, T* dx, Index rows, Index size) {
    FOR_EACH_ROW(row, rows) {
        Pack<VEC> d[PACKS], x_hat[PACKS];
        T m = mean[row], r = rstd[row], sum_d = 0, sum_dx = 0;
        FOR_EACH_PACK(k, j, size) {
            d[k] = load<VEC>(g + row * size + j);
            x_hat[k] = load<VEC>(x + row * size + j);
        }
        FOR_EACH_PACK(k, j, size) {
            Pack<VEC> w = load<VEC>(weight + j);
            for (int e = 0; e < VEC; e++) {
                sum_d += d[k].at[e] *= w.at[e];
                x_hat[k].at[e] = (x_hat[k].at[e] - m) * r;
                sum_dx += d[k].at[e] * x_hat[k].at[e];
            }
        }
        T mean_d = warp_sum(sum_d) / size, mean_dx = warp_sum(sum_dx) / size;
        FOR_EACH_PACK(k, j, size) {
            for (int e = 0; e < VEC; e++)
                d[k].at[e] = (d[k].at[e] - mean_d - x_hat[k].at[e] * mean_dx) * r;
            store<VEC>(dx + row * size + j, d[k]);
        }
    }
}

__device__ void norm_gradient_from_memory(const T* g, const T* x, const T* weight, const T* mean,
                                          const T* rstd, T* dx, Index rows, Index size) {
    FOR_EACH_ROW(row, rows) {
        Index at = row * size;
        T m = mean[row], r = rstd[row], sum_d = 0, sum_dx = 0;
        FOR_EACH_LANE(j, size) {
            T d = g[at + j] * weight[j];
            sum_d += d;
            sum_dx += d * (x[at + j] - m) * r;
        }
        T mean_d = warp_sum(sum_d) / size, mean_dx = warp_sum(sum_dx) / size;
        FOR_EACH_LANE(j, size) {
            T x_hat = (x[at + j] - m) * r;
            dx[at + j] = (g[at + j] * weight[j] - mean_d - x_hat * mean_dx) * r;
        }
    }
}

template <int PACKS>
__device__ void norm_gradient(const T* g, const T* x, const T* weight, const T* mean,
                              const T* rstd, T* dx, Index rows, Index size) {
    if (size <= PACKS * 32 * VEC && size % VEC == 0 && aligned(g, x, weight, dx))
        norm_gradient_in_registers<PACKS>(g, x, weight, mean, rstd, dx, rows, size);
    else
        norm_gradient_from_memory(g, x, weight, mean, rstd, dx, rows, size);
}

extern "C" __global__ void layer_norm_gradient(const T* g, const T* x, const T* weight,
                                               const T* mean, const T* rstd, T* dx, Index rows,
                                               Index size) {
    norm_gradient<4>(g, x, weight, mean, rstd, dx, rows, size);
}

extern "C" __global__ void layer_norm_gradient_wide(const T* g, const T* x, const T* weight,
                                                    const T* mean, const T* rstd, T* dx,
                                                    Index rows, Index size) {
    norm_gradient<8>(g, x, weight, mean, rstd, dx, rows, size);
}

// The gradient of the weight, the sum of g x_hat over the rows. The gradient of the bias is the sum
// of g, by `column_sums`.
struct WeightGradient {
    const T *g, *x, *mean, *rstd;
    template <int N>
    __device__ Pack<N> at(Index row, Index i) const {
        Pack<N> d = load<N>(g + i), v = load<N>(x + i);
        T m = mean[row], r = rstd[row];
        for (int e = 0; e < N; e++) d.at[e] *= (v.at[e] - m) * r;
        return d;
    }
};

// partial (parts, size), with the grid of `sum_rows`.
extern "C" __global__ void layer_norm_weight_gradient(const T* g, const T* x, const T* mean,
                                                      const T* rstd, T* partial, Index rows,
                                                      Index size) {
    WeightGradient value{g, x, mean, rstd};
    if (size % VEC == 0 && aligned(g, x, partial))
        sum_rows<VEC>(value, partial, rows, size);
    else
        sum_rows<1>(value, partial, rows, size);
}
