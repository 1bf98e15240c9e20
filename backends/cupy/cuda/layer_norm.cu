// LayerNorm of each row, with the kernels of layer_norm.cuh for rows that fit into registers. The
// variants for 8 packs are separate kernels (_wide), since a kernel allocates the registers of its
// widest path for every warp.

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
        norm_in_registers<Pack<VEC>, PACKS>(x, weight, bias, y, mean, rstd, rows, size, eps);
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

// As `norm_gradient_in_registers`; dweight and dbias (blocks, size) are added up by
// `layer_norm_sums`.
__device__ void norm_gradient_from_memory(const T* g, const T* x, const T* weight, const T* mean,
                                          const T* rstd, const T* skip, T* dx, T* dweight,
                                          T* dbias, Index rows, Index size) {
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
            T x_hat = (x[at + j] - m) * r, d = g[at + j] * weight[j];
            dx[at + j] = (d - mean_d - x_hat * mean_dx) * r + (skip ? skip[at + j] : (T)0);
        }
    }
    for (Index start = 0; start < size; start += 32) {  // the same rows again, 32 columns at a time
        Index j = start + threadIdx.x, part = blockIdx.x * size + j;
        Pack<1> sum_w = {}, sum_b = {};
        FOR_EACH_ROW(row, j < size ? rows : 0) {
            sum_w.at[0] += g[row * size + j] * (x[row * size + j] - mean[row]) * rstd[row];
            sum_b.at[0] += g[row * size + j];
        }
        store_sum_of_warps(sum_w, j < size ? dweight + part : nullptr);
        if (dbias) store_sum_of_warps(sum_b, j < size ? dbias + part : nullptr);
    }
}

template <int PACKS>
__device__ void norm_gradient(const T* g, const T* x, const T* weight, const T* mean,
                              const T* rstd, const T* skip, T* dx, T* dweight, T* dbias,
                              Index rows, Index size) {
    bool fits = size <= PACKS * 32 * VEC && size % VEC == 0;
    if (fits && aligned(g, x, weight, skip, dx, dweight, dbias))
        norm_gradient_in_registers<Pack<VEC>, PACKS>(g, x, weight, mean, rstd, skip, dx, dweight,
                                                     dbias, size, rows, size);
    else
        norm_gradient_from_memory(g, x, weight, mean, rstd, skip, dx, dweight, dbias, rows, size);
}

extern "C" __global__ void layer_norm_gradient(const T* g, const T* x, const T* weight,
                                               const T* mean, const T* rstd, const T* skip,
                                               T* dx, T* dweight, T* dbias, Index rows,
                                               Index size) {
    norm_gradient<4>(g, x, weight, mean, rstd, skip, dx, dweight, dbias, rows, size);
}

extern "C" __global__ void layer_norm_gradient_wide(const T* g, const T* x, const T* weight,
                                                    const T* mean, const T* rstd,
                                                    const T* skip, T* dx, T* dweight, T* dbias,
                                                    Index rows, Index size) {
    norm_gradient<8>(g, x, weight, mean, rstd, skip, dx, dweight, dbias, rows, size);
}

// Add up the sums of all blocks, partial (1 or 2, parts, size), to dweight and dbias (size,). The
// grid is (column blocks, 1, 1 or 2), otherwise as for `column_sums`.
extern "C" __global__ void __launch_bounds__(1024)
    layer_norm_sums(const T* partial, T* dweight, T* dbias, Index parts, Index size) {
    const T* x = partial + blockIdx.z * parts * size;
    T* y = blockIdx.z == 0 ? dweight : dbias;
    if (size % VEC == 0 && aligned(x, y))
        sum_rows<VEC>(x, y, parts, size);
    else
        sum_rows<1>(x, y, parts, size);
}
