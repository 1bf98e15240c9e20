// Reductions over a warp, over a block, and over the rows of a matrix.

__device__ T warp_sum(T x) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}

__device__ T warp_max(T x) {
    for (int step = 16; step > 0; step /= 2) {
        T other = __shfl_xor_sync(ALL_LANES, x, step);
        x = other > x ? other : x;
    }
    return x;
}

// The sum over a block of (32, warps), valid in its first warp; 0 in the others. `scratch` is
// shared memory with one value per warp.
__device__ T block_sum(T x, T* scratch) {
    x = warp_sum(x);
    if (threadIdx.x == 0) scratch[threadIdx.y] = x;
    __syncthreads();
    T total = threadIdx.y == 0 && threadIdx.x < blockDim.y ? scratch[threadIdx.x] : (T)0;
    __syncthreads();  // the caller may reuse scratch
    return threadIdx.y == 0 ? warp_sum(total) : (T)0;
}

const int ROWS_PER_THREAD = 4;  // rows that a thread loads before it waits for the first

// Sums over the rows of a matrix x (rows, size), loaded in packs of N.
//
// The grid is (column blocks, parts), the block (32, lanes). A block sums one part of the rows for
// 32 packs of columns and writes to partial (parts, size); `column_sums` then adds up the parts.
// The order of summation depends on the shape only, so equal inputs give equal bits.
template <int N>
__device__ void sum_rows(const T* x, T* partial, Index rows, Index size) {
    __shared__ T scratch[32][32];  // (lanes, columns)
    Index step = (Index)gridDim.y * blockDim.y, width = 32 * N;
    for (Index start = blockIdx.x * width; start < size; start += gridDim.x * width) {
        Index column = start + threadIdx.x * N;
        Pack<N> total = {};
        Index first = blockIdx.y * (Index)blockDim.y + threadIdx.y;
        for (Index row = column < size ? first : rows; row < rows; row += ROWS_PER_THREAD * step) {
            Pack<N> more[ROWS_PER_THREAD];
#pragma unroll
            for (int k = 0; k < ROWS_PER_THREAD; k++) {  // no branch: loads would wait at it
                Index at = row + k * step < rows ? row + k * step : row;
                more[k] = load<N>(x + at * size + column);
            }
#pragma unroll
            for (int k = 0; k < ROWS_PER_THREAD; k++)
                for (int e = 0; e < N; e++)
                    total.at[e] += row + k * step < rows ? more[k].at[e] : (T)0;
        }
        for (int e = 0; e < N; e++) {
            scratch[threadIdx.y][threadIdx.x] = total.at[e];
            __syncthreads();
            if (threadIdx.y == 0)
                for (int lane = 1; lane < blockDim.y; lane++)
                    total.at[e] += scratch[lane][threadIdx.x];
            __syncthreads();  // before scratch is written again
        }
        if (threadIdx.y == 0 && column < size)
            store<N>(partial + blockIdx.y * size + column, total);
    }
}

// Write the sum of `value` over the warps of a block (32, at most 8), for each lane, to `place`,
// unless that is null. All threads of the block call it.
template <int N>
__device__ void store_sum_of_warps(Pack<N> value, T* place) {
    __shared__ Pack<N> scratch[8][32];
    scratch[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    if (threadIdx.y == 0) {
        for (int warp = 1; warp < blockDim.y; warp++)
            for (int e = 0; e < N; e++) value.at[e] += scratch[warp][threadIdx.x].at[e];
        if (place) store<N>(place, value);
    }
    __syncthreads();  // before scratch is written again
}
