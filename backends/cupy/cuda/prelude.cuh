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

// N numbers side by side, which a thread moves in one access. Of a memory-bound kernel's time most
// is waiting, so each access should move as much as it can: sixteen bytes.
template <int N>
struct alignas(N * sizeof(T)) Pack {
    T at[N];
};

const int FULL = 16 / sizeof(T);  // numbers in a pack of sixteen bytes

template <int N>
__device__ Pack<N> load(const T* x) { return *(const Pack<N>*)x; }

template <int N>
__device__ void store(T* x, Pack<N> pack) { *(Pack<N>*)x = pack; }

// Whether full packs can be read from the beginning of all arrays: a view may begin anywhere.
template <typename... Arrays>
__device__ bool aligned(const Arrays*... x) {
    return ((unsigned long long)x | ...) % 16 == 0;
}

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

// Random bits from a counter, `hashing.random_bits`: element i is a hash of the seed and i.
__device__ Bits mix(Bits x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

__device__ Bits bits_at(Index i, Bits low, Bits high) { return mix(mix((Bits)i ^ low) ^ high); }

const int AT_ONCE = 2;  // packs that a thread asks for before it waits for the first

// y[i] = f(i, a[i], b[i]) for start <= i < count, in packs of N of which the last is whole. Blocks
// take AT_ONCE packs for each thread, in strides of the whole grid.
template <int N, typename Function>
__device__ void map_packs(Index start, Index count, const T* a, const T* b, T* y, Function f) {
    Index width = (Index)blockDim.x * N;
    Index first = start + blockIdx.x * width * AT_ONCE + threadIdx.x * N;
    for (Index i = first; i < count; i += gridDim.x * width * AT_ONCE) {
        Pack<N> p[AT_ONCE], q[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            Index at = i + k * width;
            if (at < count) p[k] = load<N>(a + at), q[k] = load<N>(b + at);
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            Index at = i + k * width;
            if (at >= count) continue;
            for (int e = 0; e < N; e++) p[k].at[e] = f(at + e, p[k].at[e], q[k].at[e]);
            store<N>(y + at, p[k]);
        }
    }
}

// y[i] = f(i, a[i], b[i]) for all i < count; y may be a or b. A kernel of one array names it twice:
// what f does not use is not read.
template <typename Function>
__device__ void map_elements(Index count, const T* a, const T* b, T* y, Function f) {
    Index in_packs = aligned(a, b, y) ? count - count % FULL : 0;
    map_packs<FULL>(0, in_packs, a, b, y, f);
    map_packs<1>(in_packs, count, a, b, y, f);
}
