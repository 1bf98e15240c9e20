// Shared by all kernels. The host prepends a typedef of T, float or double, see cuda_source.py.

typedef long long Index;     // signed 64 bits: an array may have more than 2^31 elements
typedef unsigned int Bits;   // uint32
typedef unsigned char Bool;  // element type of boolean arrays

// A kernel that is launched with more than 256 threads in a block declares its number of threads by
// __launch_bounds__: a thread has up to 255 registers, and a block at most 65,536.

const Bits ALL_LANES = 0xffffffffu;

#define NEGATIVE_INFINITY ((T)__longlong_as_double(0xfff0000000000000LL))
#define NOT_A_NUMBER ((T)__longlong_as_double(0x7ff8000000000000LL))

// N adjacent values, loaded and stored by a thread in one access. A memory-bound kernel spends most
// of its time waiting for memory, so each access should move as much as it can: 16 bytes.
template <int N>
struct alignas(N * sizeof(T)) Pack {
    T at[N];
};

const int VEC = 16 / sizeof(T);  // values in a pack of 16 bytes

template <int N>
__device__ Pack<N> load(const T* x) { return *(const Pack<N>*)x; }

template <int N>
__device__ void store(T* x, Pack<N> pack) { *(Pack<N>*)x = pack; }

// True if packs of VEC values can be loaded from the start of every array. A view may start at any
// element.
template <typename... Arrays>
__device__ bool aligned(const Arrays*... x) {
    return ((unsigned long long)x | ...) % 16 == 0;
}

// Grid-stride loop with one element per thread, for one-dimensional blocks.
#define FOR_EACH(i, count)                                                    \
    for (Index i = blockIdx.x * (Index)blockDim.x + threadIdx.x; i < (count); \
         i += (Index)gridDim.x * blockDim.x)

// Grid-stride loop with one matrix row per warp, for blocks of (32, warps).
#define FOR_EACH_ROW(row, rows)                                                    \
    for (Index row = blockIdx.x * (Index)blockDim.y + threadIdx.y; row < (rows);   \
         row += (Index)gridDim.x * blockDim.y)

// The elements of a row, distributed over the 32 lanes of a warp.
#define FOR_EACH_LANE(j, size) for (Index j = threadIdx.x; j < (size); j += 32)

// Counter-based random bits, as in backends/random_bits.py: element i is a hash of seed and i.
__device__ Bits mix(Bits x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

__device__ unsigned long long mix64(unsigned long long x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

// The seed of one stream of random bits: `key` holds the key and the first offset of a step, or
// is null where no bits are used. Element 0 is element `first` of the full batch.
struct Seed {
    Bits low, high, first;
    __device__ Seed(const Index* key, Index offset, Index first) : first((Bits)first) {
        unsigned long long seed = key ? key[0] ^ mix64((unsigned long long)key[1] + offset) : 0;
        low = (Bits)seed;
        high = (Bits)(seed >> 32);
    }
    __device__ Bits bits_at(Index i) const { return mix(mix(((Bits)i + first) ^ low) ^ high); }
};

const int ITEMS_PER_THREAD = 2;  // packs that a thread loads before it waits for the first

// y[i] = f(i, a[i], b[i]) for start <= i < count, in packs of N; count - start is a multiple of N.
// A grid-stride loop with ITEMS_PER_THREAD packs per thread.
template <int N, typename Function>
__device__ void map_packs(Index start, Index count, const T* a, const T* b, T* y, Function f) {
    Index width = (Index)blockDim.x * N;
    Index first = start + blockIdx.x * width * ITEMS_PER_THREAD + threadIdx.x * N;
    for (Index i = first; i < count; i += gridDim.x * width * ITEMS_PER_THREAD) {
        Pack<N> p[ITEMS_PER_THREAD], q[ITEMS_PER_THREAD];
#pragma unroll
        for (int k = 0; k < ITEMS_PER_THREAD; k++) {
            Index at = i + k * width;
            if (at < count) p[k] = load<N>(a + at), q[k] = load<N>(b + at);
        }
#pragma unroll
        for (int k = 0; k < ITEMS_PER_THREAD; k++) {
            Index at = i + k * width;
            if (at >= count) continue;
            for (int e = 0; e < N; e++) p[k].at[e] = f(at + e, p[k].at[e], q[k].at[e]);
            store<N>(y + at, p[k]);
        }
    }
}

// y[i] = f(i, a[i], b[i]) for all i < count; y may be a or b. A kernel with one input passes it
// twice: the compiler drops the load that f does not use.
template <typename Function>
__device__ void map_elements(Index count, const T* a, const T* b, T* y, Function f) {
    Index in_packs = aligned(a, b, y) ? count - count % VEC : 0;
    map_packs<VEC>(0, in_packs, a, b, y, f);
    map_packs<1>(in_packs, count, a, b, y, f);
}
