// Token embedding: rows of a table by their ids. The gradient is a segment sum.

// y (count, size) = weight[ids] for weight (rows, size). An id out of range gives a row of NaN and
// sets error_flag = (id, rows, 2), as in losses.cu.
extern "C" __global__ void embedding(const T* weight, const Index* ids, T* y, Index count,
                                     Index rows, Index size, Index* error_flag) {
    FOR_EACH_ROW(i, count) {
        Index id = ids[i];
        bool known = id >= 0 && id < rows;
        if (!known && threadIdx.x == 0)
            error_flag[0] = id, error_flag[1] = rows, error_flag[2] = 2;
        FOR_EACH_LANE(j, size) y[i * size + j] = known ? weight[id * size + j] : NOT_A_NUMBER;
    }
}

// dw (rows, size): row r is the sum of the rows of g (count, size) whose id is r. The grid is
// (rows, ceil(size / 32)), the block (32, 8): each block scans all ids for its own row, so the
// order of summation depends on the ids only.
extern "C" __global__ void embedding_gradient(const T* g, const Index* ids, T* dw, Index count,
                                              Index size) {
    __shared__ T scratch[8][32];
    Index id = blockIdx.x, column = blockIdx.y * (Index)32 + threadIdx.x;
    T total = 0;
    for (Index start = threadIdx.y * (Index)32; start < count; start += 8 * 32) {
        Index at = start + threadIdx.x;
        Bits matches = __ballot_sync(ALL_LANES, at < count && ids[at] == id);
        for (; matches; matches &= matches - 1) {
            Index i = start + __ffs(matches) - 1;
            if (column < size) total += g[i * size + column];
        }
    }
    scratch[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y == 0 && column < size) {
        for (int lane = 1; lane < 8; lane++) total += scratch[lane][threadIdx.x];
        dw[id * size + column] = total;
    }
}
