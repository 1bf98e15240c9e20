// Segment sums for large tables: a stable sort of the ids, then a sum over each run of equal ids.
// Equal inputs give equal bits, which atomic additions would not.
//
// The sort is a radix sort, least significant digit first: each pass counts the digits of each tile
// of ids (count_digits), computes where the ids with each digit go (digit_offsets), and moves them
// (move_by_digit). What is sorted is `order`, the positions of the ids; null is 0, 1, 2, ...

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

// The sums: a warp adds up chunks of 32 sorted ids, for 32 columns, so the commonest id takes no
// longer than others. The grid is (chunks / 8, ceil(size / 32)), the block (32, 8).

const int CHUNK = 32, LOADS = 8;  // rows that a thread loads before it waits for the first

// The id at a place in the sorted order; -1 past the ends, and for ids out of range.
__device__ Index sorted_id(const Index* ids, const Index* order, Index at, Index count,
                           Index rows) {
    Index id = at >= 0 && at < count ? ids[order[at]] : -1;
    return id < rows ? id : -1;
}

// sums (rows, size): row r += the rows of values (count, size) whose id is r, if these are within
// one chunk. Others are added to parts (chunks, 2, size): the part of an id that began in an
// earlier chunk to 0, that of an id that begins in this chunk and goes on to 1.
extern "C" __global__ void add_segments(const T* values, const Index* ids, const Index* order,
                                        T* sums, T* parts, Index count, Index rows, Index size) {
    Index chunk = blockIdx.x * (Index)blockDim.y + threadIdx.y, first = chunk * CHUNK;
    Index at = first + threadIdx.x, position = at < count ? order[at] : 0;
    Index id = sorted_id(ids, order, at, count, rows);
    Index before = sorted_id(ids, order, first - 1, count, rows);
    Index after = sorted_id(ids, order, first + CHUNK, count, rows);
    for (Index start = blockIdx.y * (Index)32; start < size; start += gridDim.y * (Index)32) {
        Index column = start + threadIdx.x;
        bool begins_here = __shfl_sync(ALL_LANES, id, 0) != before;
        T total = 0;
        for (int k = 0; k < CHUNK; k += LOADS) {
            T loaded[LOADS];
#pragma unroll
            for (int e = 0; e < LOADS; e++) {
                Index row = __shfl_sync(ALL_LANES, position, k + e);
                bool exists = __shfl_sync(ALL_LANES, id, k + e) >= 0 && column < size;
                loaded[e] = exists ? values[row * size + column] : (T)0;
            }
#pragma unroll
            for (int e = 0; e < LOADS; e++) {  // all lanes of a warp have the same ids
                bool is_last = k + e == CHUNK - 1;
                Index own = __shfl_sync(ALL_LANES, id, k + e);
                Index next = is_last ? after : __shfl_sync(ALL_LANES, id, k + e + 1);
                total += loaded[e];
                if (next == own && !is_last) continue;
                if (own >= 0 && column < size) {
                    if (begins_here && next != own)
                        sums[own * size + column] += total;
                    else
                        parts[(2 * chunk + begins_here) * size + column] = total;
                }
                begins_here = true;
                total = 0;
            }
        }
    }
}

// Add the parts of each id that is in several chunks; the warp of the chunk in which it begins.
extern "C" __global__ void join_segments(const Index* ids, const Index* order, const T* parts,
                                         T* sums, Index count, Index rows, Index size) {
    Index chunk = blockIdx.x * (Index)blockDim.y + threadIdx.y, first = chunk * CHUNK;
    Index id = sorted_id(ids, order, first + CHUNK - 1, count, rows);
    bool goes_on = id >= 0 && sorted_id(ids, order, first + CHUNK, count, rows) == id;
    if (!goes_on || sorted_id(ids, order, first - 1, count, rows) == id) return;
    Index end = chunk + 1;  // the first chunk that does not begin with this id
    for (Bits same = ALL_LANES; same == ALL_LANES;) {
        Index begin = (end + threadIdx.x) * CHUNK;
        same = __ballot_sync(ALL_LANES, sorted_id(ids, order, begin, count, rows) == id);
        end += same == ALL_LANES ? 32 : __ffs(~same) - 1;
    }
    for (Index column = blockIdx.y * (Index)32 + threadIdx.x; column < size;
         column += gridDim.y * (Index)32) {
        T total = parts[(2 * chunk + 1) * size + column];
#pragma unroll 8
        for (Index next = chunk + 1; next < end; next++) total += parts[2 * next * size + column];
        sums[id * size + column] += total;
    }
}
