// Sums over the rows of a matrix (rows, size), for the gradients of biases and of LayerNorm.
//
// A grid of (columns, parts): each block of (32, lanes) takes one part of the rows, of columns as
// many as 32 packs have, and leaves its sums in partial (parts, size). `column_sums` adds these up
// in turn. The order of summation depends on the shape only, so the same input gives the same bits.

const int ROWS_AT_ONCE = 4;  // that a thread asks for before it waits for the first

struct Plain {
    const T* g;
    template <int N>
    __device__ Pack<N> at(Index row, Index i) const { return load<N>(g + i); }
};

struct TimesNormal {
    const T *g, *x, *mean, *scale;
    template <int N>
    __device__ Pack<N> at(Index row, Index i) const {
        Pack<N> d = load<N>(g + i), v = load<N>(x + i);
        T average = mean[row], inverse = scale[row];
        for (int e = 0; e < N; e++) d.at[e] *= (v.at[e] - average) * inverse;
        return d;
    }
};

template <int N, typename Value>
__device__ void sum_columns(Value value, T* partial, Index rows, Index size) {
    __shared__ T room[32][32];  // lanes, columns
    Index step = (Index)gridDim.y * blockDim.y, width = 32 * N;
    for (Index start = blockIdx.x * width; start < size; start += gridDim.x * width) {
        Index column = start + threadIdx.x * N;
        Pack<N> total = {};
        Index first = blockIdx.y * (Index)blockDim.y + threadIdx.y;
        for (Index row = column < size ? first : rows; row < rows; row += ROWS_AT_ONCE * step) {
            Pack<N> more[ROWS_AT_ONCE];
#pragma unroll
            for (int k = 0; k < ROWS_AT_ONCE; k++) {  // no branch: loads would wait at it
                Index at = row + k * step < rows ? row + k * step : row;
                more[k] = value.template at<N>(at, at * size + column);
            }
#pragma unroll
            for (int k = 0; k < ROWS_AT_ONCE; k++)
                for (int e = 0; e < N; e++)
                    total.at[e] += row + k * step < rows ? more[k].at[e] : (T)0;
        }
        for (int e = 0; e < N; e++) {
            room[threadIdx.y][threadIdx.x] = total.at[e];
            __syncthreads();
            if (threadIdx.y == 0)
                for (int lane = 1; lane < blockDim.y; lane++)
                    total.at[e] += room[lane][threadIdx.x];
            __syncthreads();  // the room may be used again
        }
        if (threadIdx.y == 0 && column < size)
            store<N>(partial + blockIdx.y * size + column, total);
    }
}

extern "C" __global__ void column_sums(const T* g, T* partial, Index rows, Index size) {
    if (size % FULL == 0 && aligned(g, partial))
        sum_columns<FULL>(Plain{g}, partial, rows, size);
    else
        sum_columns<1>(Plain{g}, partial, rows, size);
}

extern "C" __global__ void layer_norm_weight_gradient(const T* g, const T* x, const T* mean,
                                                      const T* scale, T* partial, Index rows,
                                                      Index size) {
    TimesNormal value{g, x, mean, scale};
    if (size % FULL == 0 && aligned(g, x, partial))
        sum_columns<FULL>(value, partial, rows, size);
    else
        sum_columns<1>(value, partial, rows, size);
}

// y (rows, size) += bias (size,), a row for each warp.
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

extern "C" __global__ void add_bias(T* y, const T* bias, Index rows, Index size) {
    if (size % FULL == 0 && aligned(y, bias))
        add_to_rows<FULL>(y, bias, rows, size);
    else
        add_to_rows<1>(y, bias, rows, size);
}
