// The sum over the rows of a matrix: the gradient of a bias.

// x (rows, size) -> partial (parts, size), with the grid of `sum_rows`.
extern "C" __global__ void __launch_bounds__(1024)
    column_sums(const T* x, T* partial, Index rows, Index size) {
    if (size % VEC == 0 && aligned(x, partial))
        sum_rows<VEC>(x, partial, rows, size);
    else
        sum_rows<1>(x, partial, rows, size);
}
