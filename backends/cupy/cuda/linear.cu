// The bias of a linear layer. The layer's product is computed by cuBLAS, the gradient of the bias
// by `column_sums`.

template <int N>
__device__ void add_to_rows(T* y, const T* bias, Index rows, Index size) {
    FOR_EACH_ROW(row, rows) {
        for (Index j = threadIdx.x * N; j < size; j += 32 * N) {
            Pack<N> sum = load<N>(y + row * size + j), more = load<N>(bias + j);
            for (int e = 0; e < N; e++) sum.at[e] += more.at[e];
            store<N>(y + row * size + j, sum);
        }
    }
}

// y (rows, size) += bias (size,) in place, one warp per row.
extern "C" __global__ void add_bias(T* y, const T* bias, Index rows, Index size) {
    if (size % VEC == 0 && aligned(y, bias))
        add_to_rows<VEC>(y, bias, rows, size);
    else
        add_to_rows<1>(y, bias, rows, size);
}
