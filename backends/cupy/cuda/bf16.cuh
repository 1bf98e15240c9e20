// bfloat16: the upper half of a float32, stored as 16 bits.

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
