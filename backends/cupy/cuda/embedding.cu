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

// Sets error_flag = (id, limit, 3) where one of the ids (count) is outside of [least, limit).
extern "C" __global__ void check_ids(const Index* ids, Index count, Index least, Index limit,
                                     Index* error_flag) {
    FOR_EACH(i, count)
        if (ids[i] < least || ids[i] >= limit)
            error_flag[0] = ids[i], error_flag[1] = limit, error_flag[2] = 3;
}

// The gradient of a small table: partial (parts, rows, size), where row r of part p is the sum of the
// rows of g (count, size) whose id is r, among the `part` ids from p * part on.
//
// The grid is (rows, ceil(size / 128), parts), the block (32, 8): each block scans its part of the
// ids for its own row. Parts bound how long it waits for rows of g where one id is frequent, as the
// space is in text. The order of summation depends on the ids and the shape only.
extern "C" __global__ void embedding_gradient(const T* g, const Index* ids, T* partial, Index count,
                                              Index size, Index part) {
    const int COLUMNS = 4;  // of a lane, loaded before it waits for the first
    __shared__ T scratch[8][COLUMNS][32];
    Index id = blockIdx.x, column = blockIdx.y * (Index)(32 * COLUMNS) + threadIdx.x;
    Index first = blockIdx.z * part, end = first + part < count ? first + part : count;
    T total[COLUMNS] = {};
    for (Index start = first + threadIdx.y * 32; start < end; start += 8 * 32) {
        Index at = start + threadIdx.x;
        Bits matches = __ballot_sync(ALL_LANES, at < end && ids[at] == id);
        for (; matches; matches &= matches - 1) {
            const T* row = g + (start + __ffs(matches) - 1) * size;
#pragma unroll
            for (int k = 0; k < COLUMNS; k++)
                if (column + 32 * k < size) total[k] += row[column + 32 * k];
        }
    }
    for (int k = 0; k < COLUMNS; k++) scratch[threadIdx.y][k][threadIdx.x] = total[k];
    __syncthreads();
    int k = threadIdx.y;  // the first warps add up 32 columns each
    if (k >= COLUMNS || column + 32 * k >= size) return;
    T sum = 0;
    for (int warp = 0; warp < 8; warp++) sum += scratch[warp][k][threadIdx.x];
    partial[(blockIdx.z * (Index)gridDim.x + id) * size + column + 32 * k] = sum;
}
