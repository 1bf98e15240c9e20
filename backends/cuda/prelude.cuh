// What all kernels share. The host puts a typedef before it that says what T is: float or double.

typedef long long Index;  // an array may have more than 2^31 elements
typedef unsigned int Bits;
typedef unsigned char Bool;  // as arrays of booleans are stored

const Bits ALL_LANES = 0xffffffffu;

#define NEGATIVE_INFINITY ((T)__longlong_as_double(0xfff0000000000000LL))
#define NOT_A_NUMBER ((T)__longlong_as_double(0x7ff8000000000000LL))

// A number that changes from step to step: given by value, or, where a step is recorded, on the
// device (live).
#define LIVE(number) (live_##number ? *live_##number : number)

// Threads in a row, one element each, in strides of the whole grid.
#define FOR_EACH(i, count)                                                    \
    for (Index i = blockIdx.x * (Index)blockDim.x + threadIdx.x; i < (count); \
         i += (Index)gridDim.x * blockDim.x)

// Blocks of (32, warps): one row of a matrix for each warp.
#define FOR_EACH_ROW(row, rows)                                                    \
    for (Index row = blockIdx.x * (Index)blockDim.y + threadIdx.y; row < (rows);   \
         row += (Index)gridDim.x * blockDim.y)

// The elements of a row, divided among the 32 lanes of a warp.
#define FOR_EACH_LANE(j, size) for (Index j = threadIdx.x; j < (size); j += 32)

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

// The sum over a block of (32, warps), for its first warp; `room` holds a number for each warp.
__device__ T block_sum(T x, T* room) {
    x = warp_sum(x);
    if (threadIdx.x == 0) room[threadIdx.y] = x;
    __syncthreads();
    T total = threadIdx.y == 0 && threadIdx.x < blockDim.y ? room[threadIdx.x] : (T)0;
    __syncthreads();  // the room may be used again
    return threadIdx.y == 0 ? warp_sum(total) : (T)0;
}
