// LayerNorm of each row of x (rows, size): y = (x - mean) rstd weight + bias, where rstd is the
// reciprocal of the standard deviation. mean and rstd (rows,) are saved; the gradients recompute
// the normalised values x_hat = (x - mean) rstd from them.
//
// The first element of a row is subtracted before the mean, which is exact for numbers close to each
// other: a mean that is large compared with the deviations costs no digits, and equal numbers give 0.
//
// A row of at most PACKS packs for each lane is loaded once and kept in registers; layer_norm.cu reads
// a longer one again for each sum. A pack of type V holds what a lane loads at a time: a Pack<VEC>, or
// Eight in mixed precision, where results (Y) and their gradients (G) are bfloat16 in memory.

// Loop over the packs of a row that a lane keeps in registers: pack k starts at element j.
#define FOR_EACH_PACK(k, j, size)                     \
    _Pragma("unroll") for (int k = 0; k < PACKS; k++) \
        if (Index j = (k * 32 + (int)threadIdx.x) * width<V>; j < (size))

template <typename V>
const int width = sizeof(V) / sizeof(T);  // values in a pack

__device__ void load_to(Pack<VEC>& pack, const T* x) { pack = load<VEC>(x); }
__device__ void store_from(T* x, const Pack<VEC>& pack) { store<VEC>(x, pack); }

template <typename V, int PACKS, typename Y>
__device__ void norm_in_registers(const T* x, const T* weight, const T* bias, Y* y, T* mean,
                                  T* rstd, Index rows, Index size, T eps) {
    FOR_EACH_ROW(row, rows) {
        V in[PACKS];
        T first = x[row * size], total = 0, squares = 0;
        FOR_EACH_PACK(k, j, size) load_to(in[k], x + row * size + j);
        FOR_EACH_PACK(k, j, size)
            for (T& value : in[k].at) total += value -= first;
        T m = warp_sum(total) / size;  // of the differences from the first
        FOR_EACH_PACK(k, j, size)
            for (T value : in[k].at) squares += (value - m) * (value - m);
        T r = (T)1 / sqrt(warp_sum(squares) / size + eps);
        FOR_EACH_PACK(k, j, size) {
            V w, b = {};
            load_to(w, weight + j);
            if (bias) load_to(b, bias + j);
            for (int e = 0; e < width<V>; e++)
                w.at[e] = (in[k].at[e] - m) * r * w.at[e] + b.at[e];
            store_from(y + row * size + j, w);
        }
        if (threadIdx.x == 0) mean[row] = first + m, rstd[row] = r;
    }
}

// dx = (d - mean(d) - x_hat mean(d x_hat)) rstd for each row, where d = g weight; plus `skip`, the
// gradient of x from a connection that skips the norm, unless it is null. In the same pass a block
// sums the gradients of the weight, g x_hat, and of the bias, g, over its rows: row blockIdx.x of
// dweight and dbias, whose rows are `stride` apart. dbias is null where there is no bias.
template <typename V, int PACKS, typename G>
__device__ void norm_gradient_in_registers(const G* g, const T* x, const T* weight, const T* mean,
                                           const T* rstd, const T* skip, T* dx, T* dweight,
                                           T* dbias, Index stride, Index rows, Index size) {
    V sum_w[PACKS] = {}, sum_b[PACKS] = {};
    FOR_EACH_ROW(row, rows) {
        V d[PACKS], x_hat[PACKS];
        T m = mean[row], r = rstd[row], sum_d = 0, sum_dx = 0;
        FOR_EACH_PACK(k, j, size) {
            load_to(d[k], g + row * size + j);
            load_to(x_hat[k], x + row * size + j);
        }
        FOR_EACH_PACK(k, j, size) {
            V w;
            load_to(w, weight + j);
            for (int e = 0; e < width<V>; e++) {
                x_hat[k].at[e] = (x_hat[k].at[e] - m) * r;
                sum_w[k].at[e] += d[k].at[e] * x_hat[k].at[e];
                sum_b[k].at[e] += d[k].at[e];
                sum_d += d[k].at[e] *= w.at[e];
                sum_dx += d[k].at[e] * x_hat[k].at[e];
            }
        }
        T mean_d = warp_sum(sum_d) / size, mean_dx = warp_sum(sum_dx) / size;
        FOR_EACH_PACK(k, j, size) {
            V more = {};
            if (skip) load_to(more, skip + row * size + j);
            for (int e = 0; e < width<V>; e++)
                d[k].at[e] = (d[k].at[e] - mean_d - x_hat[k].at[e] * mean_dx) * r + more.at[e];
            store_from(dx + row * size + j, d[k]);
        }
    }
    Index part = blockIdx.x * stride;
#pragma unroll
    for (int k = 0; k < PACKS; k++) {
        Index j = (k * 32 + (int)threadIdx.x) * width<V>;
        store_sum_of_warps(sum_w[k], j < size ? dweight + part + j : nullptr);
        if (dbias) store_sum_of_warps(sum_b[k], j < size ? dbias + part + j : nullptr);
    }
}
