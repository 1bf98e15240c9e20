// Rows of a table by their ids, and the sums that are their gradient.

// An id out of range gives a row that is no number, and is noted as in cross_entropy.cu.
extern "C" __global__ void embedding(const T* weight, const Index* ids, T* y, Index count,
                                     Index rows, Index size, Index* wrong) {
    FOR_EACH_ROW(i, count) {
        Index id = ids[i];
        bool known = id >= 0 && id < rows;
        if (!known && threadIdx.x == 0) wrong[0] = id, wrong[1] = rows, wrong[2] = 2;
        FOR_EACH_LANE(j, size) y[i * size + j] = known ? weight[id * size + j] : NOT_A_NUMBER;
    }
}

// A grid of (rows, ceil(size / 32)): each block of (32, 8) looks through all ids for its own and
// adds up what stands there, in an order that depends on the ids only.
extern "C" __global__ void embedding_gradient(const T* g, const Index* ids, T* dw, Index count,
                                              Index size) {
    __shared__ T room[8][32];
    Index id = blockIdx.x, column = blockIdx.y * (Index)32 + threadIdx.x;
    T total = 0;
    for (Index start = threadIdx.y * (Index)32; start < count; start += 8 * 32) {
        Index at = start + threadIdx.x;
        Bits found = __ballot_sync(ALL_LANES, at < count && ids[at] == id);
        for (; found; found &= found - 1) {
            Index i = start + __ffs(found) - 1;
            if (column < size) total += g[i * size + column];
        }
    }
    room[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y == 0 && column < size) {
        for (int lane = 1; lane < 8; lane++) total += room[lane][threadIdx.x];
        dw[id * size + column] = total;
    }
}

// For a large table: each row of g is added where its id says. dw starts as zeros, and the order
// of additions, so the last bits of the sums, differ from run to run.
extern "C" __global__ void embedding_gradient_atomic(const T* g, const Index* ids, T* dw,
                                                     Index count, Index rows, Index size) {
    FOR_EACH_ROW(i, count) {
        Index id = ids[i];
        if (id < 0 || id >= rows) continue;
        FOR_EACH_LANE(j, size) atomicAdd(&dw[id * size + j], g[i * size + j]);
    }
}
