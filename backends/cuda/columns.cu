// Sums over the rows of a matrix (rows, size), for the gradients of biases and of LayerNorm.
//
// A grid of (ceil(size / 32), parts): each block of (32, 8) takes 32 columns of one part of the
// rows and leaves its sums in partial (parts, size); `sum_parts` adds these up. The order of
// summation depends on the shape only, so the same input gives the same bits.

const int ROW_LANES = 8;

struct Plain {
    const T* g;
    __device__ T operator()(Index row, Index at) const { return g[at]; }
};

struct TimesNormal {
    const T *g, *x, *mean, *scale;
    __device__ T operator()(Index row, Index at) const {
        return g[at] * (x[at] - mean[row]) * scale[row];
    }
};

template <typename Value>
__device__ void sum_columns(Value value, T* partial, Index rows, Index size) {
    __shared__ T room[ROW_LANES][33];  // 33: no two lanes of a warp read from the same bank
    Index column = blockIdx.x * (Index)32 + threadIdx.x;
    T total = 0;
    if (column < size) {
        Index step = (Index)gridDim.y * ROW_LANES;
        for (Index row = blockIdx.y * (Index)ROW_LANES + threadIdx.y; row < rows; row += step)
            total += value(row, row * size + column);
    }
    room[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y == 0 && column < size) {
        for (int lane = 1; lane < ROW_LANES; lane++) total += room[lane][threadIdx.x];
        partial[blockIdx.y * size + column] = total;
    }
    __syncthreads();  // the room may be used again
}

extern "C" __global__ void column_sums(const T* g, T* partial, Index rows, Index size) {
    sum_columns(Plain{g}, partial, rows, size);
}

extern "C" __global__ void layer_norm_weight_gradient(const T* g, const T* x, const T* mean,
                                                      const T* scale, T* partial, Index rows,
                                                      Index size) {
    sum_columns(TimesNormal{g, x, mean, scale}, partial, rows, size);
}

extern "C" __global__ void sum_parts(const T* partial, T* y, Index parts, Index size) {
    FOR_EACH(j, size) {
        T total = 0;
        for (Index part = 0; part < parts; part++) total += partial[part * size + j];
        y[j] = total;
    }
}

extern "C" __global__ void add_bias(T* y, const T* bias, Index count, Index size) {
    FOR_EACH(i, count) y[i] += bias[i % size];
}
