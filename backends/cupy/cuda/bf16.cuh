// bfloat16, the upper half of a float32, in memory only: sums and functions are float32.

typedef unsigned short Bf16;

// Two numbers rounded to bfloat16, to nearest even; the first in the lower half.
__device__ Bits bf16_pair(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    Bits y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
#else
    Bits l = __float_as_uint(low), h = __float_as_uint(high);
    l = low != low ? 0x7fffu : (l + 0x7fffu + (l >> 16 & 1)) >> 16;
    h = high != high ? 0x7fffu : (h + 0x7fffu + (h >> 16 & 1)) >> 16;
    return l | h << 16;
#endif
}

__device__ float to_float(Bf16 x) { return __uint_as_float((Bits)x << 16); }
__device__ float to_float(float x) { return x; }

// Two adjacent numbers, at an even index of an array in either format.
__device__ Bits load_pair(const Bf16* x) { return *(const Bits*)x; }
__device__ Bits load_pair(const float* x) { return bf16_pair(load<2>(x).at[0], load<2>(x).at[1]); }
__device__ void store_pair(Bf16* x, float low, float high) { *(Bits*)x = bf16_pair(low, high); }
__device__ void store_pair(float* x, float low, float high) { store<2>(x, {low, high}); }

// Eight adjacent numbers, at a multiple of 16 bytes.
struct Eight {
    float at[8];
};

__device__ Eight load_eight(const Bf16* x) {
    Pack<4> pairs = load<4>((const float*)x);
    Eight y;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        Bits pair = __float_as_uint(pairs.at[i]);
        y.at[2 * i] = __uint_as_float(pair << 16);
        y.at[2 * i + 1] = __uint_as_float(pair & 0xffff0000u);
    }
    return y;
}

__device__ Eight load_eight(const float* x) {
    Pack<4> left = load<4>(x), right = load<4>(x + 4);
    return {left.at[0],  left.at[1],  left.at[2],  left.at[3],
            right.at[0], right.at[1], right.at[2], right.at[3]};
}

__device__ void store_eight(Bf16* x, const Eight& y) {
    Pack<4> pairs;
#pragma unroll
    for (int i = 0; i < 4; i++)
        pairs.at[i] = __uint_as_float(bf16_pair(y.at[2 * i], y.at[2 * i + 1]));
    store<4>((float*)x, pairs);
}

__device__ void store_eight(float* x, const Eight& y) {
    store<4>(x, {y.at[0], y.at[1], y.at[2], y.at[3]});
    store<4>(x + 4, {y.at[4], y.at[5], y.at[6], y.at[7]});
}

// For the kernels of layer_norm.cuh.
template <typename Source>
__device__ void load_to(Eight& pack, const Source* x) { pack = load_eight(x); }
template <typename Target>
__device__ void store_from(Target* x, const Eight& pack) { store_eight(x, pack); }

// Write the sum of `value` over the warps of a block, for each lane, to `place` unless it is null.
__device__ void store_sum_of_warps(const Eight& value, float* place) {
    const float* at = value.at;
    store_sum_of_warps(Pack<4>{at[0], at[1], at[2], at[3]}, place);
    store_sum_of_warps(Pack<4>{at[4], at[5], at[6], at[7]}, place ? place + 4 : nullptr);
}
