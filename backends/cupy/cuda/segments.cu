// Segment sums for large tables: a stable sort of the ids, then a sum over each run of equal ids. Equal
// inputs give equal bits, which atomic additions would not.
//
// The sort is a radix sort, least significant digit first: each pass counts the digits of each tile
// of ids (count_digits), computes where the ids with each digit go (digit_offsets), and moves them
// (move_by_digit). What is sorted is `order`, the positions of the ids; null stands for 0, 1, 2, ...

const int DIGIT_BITS = 8, DIGITS = 1 << DIGIT_BITS;

// Ids out of the range [0, rows) are sorted as the id `rows`, behind all others.
__device__ Bits digit_of(Index id, Index rows, Index shift) {
    if (id < 0 || id > rows) id = rows;
    return (Bits)(id >> shift) & (DIGITS - 1);
}

// The lanes of the warp that are `active` and have the same digit as this lane.
__device__ Bits lanes_with_digit(Bits digit, bool active) {
    Bits lanes = __ballot_sync(ALL_LANES, active);
    for (int bit = 0; bit < DIGIT_BITS; bit++) {
        bool set = digit >> bit & 1;
        Bits others = __ballot_sync(ALL_LANES, set);
        lanes &= set ? others : ~others;
    }
    return lanes;
}

// For each tile of `tile` ids, how often each digit occurs: counts (tiles, DIGITS). One warp per
// tile.
extern "C" __global__ void count_digits(const Index* ids, const Index* order, Index* counts,
                                        Index count, Index tile, Index rows, Index shift) {
    __shared__ Index found[DIGITS];
    for (int digit = threadIdx.x; digit < DIGITS; digit += 32) found[digit] = 0;
    __syncthreads();
    Index first = blockIdx.x * tile, end = first + tile < count ? first + tile : count;
    for (Index start = first; start < end; start += 32) {
        Index at = start + threadIdx.x;
        bool active = at < end;
        Bits digit = active ? digit_of(ids[order ? order[at] : at], rows, shift) : 0;
        Bits lanes = lanes_with_digit(digit, active);
        if (active && __ffs(lanes) - 1 == (int)threadIdx.x) found[digit] += __popc(lanes);
        __syncthreads();
    }
    for (int digit = threadIdx.x; digit < DIGITS; digit += 32)
        counts[blockIdx.x * (Index)DIGITS + digit] = found[digit];
}

// Replace counts (tiles, DIGITS) by the number of ids that go before the first of each tile and
// digit: those with a smaller digit, and those with the same digit in earlier tiles. One block with
// a thread for each digit.
extern "C" __global__ void digit_offsets(Index* counts, Index tiles) {
    __shared__ Index totals[DIGITS];
    Index total = 0;
    for (Index tile = 0; tile < tiles; tile++) total += counts[tile * DIGITS + threadIdx.x];
    totals[threadIdx.x] = total;
    __syncthreads();
    Index before = 0;
    for (int digit = 0; digit < (int)threadIdx.x; digit++) before += totals[digit];
    for (Index tile = 0; tile < tiles; tile++) {
        Index found = counts[tile * DIGITS + threadIdx.x];
        counts[tile * DIGITS + threadIdx.x] = before;
        before += found;
    }
}

// Move the positions to their places by one digit; ids with equal digits keep their order. One warp
// per tile.
extern "C" __global__ void move_by_digit(const Index* ids, const Index* order, Index* moved,
                                         const Index* offsets, Index count, Index tile,
                                         Index rows, Index shift) {
    __shared__ Index next[DIGITS];
    for (int digit = threadIdx.x; digit < DIGITS; digit += 32)
        next[digit] = offsets[blockIdx.x * (Index)DIGITS + digit];
    __syncthreads();
    Index first = blockIdx.x * tile, end = first + tile < count ? first + tile : count;
    for (Index start = first; start < end; start += 32) {
        Index at = start + threadIdx.x;
        bool active = at < end;
        Index position = !active ? 0 : order ? order[at] : at;
        Bits digit = active ? digit_of(ids[position], rows, shift) : 0;
        Bits lanes = lanes_with_digit(digit, active);
        if (active) moved[next[digit] + __popc(lanes & ((1u << threadIdx.x) - 1))] = position;
        __syncthreads();  // all lanes have read `next`
        if (active && __ffs(lanes) - 1 == (int)threadIdx.x) next[digit] += __popc(lanes);
        __syncthreads();
    }
}

// sums (rows, size): row r += the rows of values (count, size) whose id is r, added in `order`, by
// which the ids are sorted. Other ids are ignored. The grid is (blocks, ceil(size / 32)), the block
// (32, 8).
extern "C" __global__ void add_segments(const T* values, const Index* ids, const Index* order,
                                        T* sums, Index count, Index rows, Index size) {
    __shared__ T scratch[8][32];
    Index column = blockIdx.y * (Index)32 + threadIdx.x;
    for (Index start = blockIdx.x; start < count; start += gridDim.x) {
        Index id = ids[order[start]];
        bool is_first = start == 0 || ids[order[start - 1]] != id;
        if (!is_first || id < 0 || id >= rows) continue;  // the same for all threads of the block
        T total = 0;
        for (Index at = start + threadIdx.y; at < count && ids[order[at]] == id; at += 8)
            if (column < size) total += values[order[at] * size + column];
        scratch[threadIdx.y][threadIdx.x] = total;
        __syncthreads();
        if (threadIdx.y == 0 && column < size) {
            for (int lane = 1; lane < 8; lane++) total += scratch[lane][threadIdx.x];
            sums[id * size + column] += total;
        }
        __syncthreads();  // before scratch is written again
    }
}
