// The products of attention.cu with TF32 factors: 10 bits of mantissa, one element in 32 bits.

const int K_STEPS = HEAD_DIM / 8;  // tensor core steps of 8 along a head
const int PITCH = HEAD_DIM + 4;    // row length of a tile: avoids bank conflicts

// x rounded to TF32: to nearest, ties away from zero.
__device__ Bits to_tf32(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    Bits y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
#else
    return (__float_as_uint(x) + 0x1000u) & ~0x1fffu;
#endif
}

// c (16, 8) += a (16, 8) b (8, 8), distributed over the lanes of a warp. With g = lane / 4 and
// t = lane % 4, a lane holds a[g][t], a[g + 8][t], a[g][t + 4], a[g + 8][t + 4]; b[t][g],
// b[t + 4][g]; c[g][2t], c[g][2t + 1], c[g + 8][2t], c[g + 8][2t + 1].
__device__ void mma(float* c, const Bits* a, const Bits* b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    __trap();  // GPUs without TF32 tensor cores use exact products, and so never run these kernels
#elif defined(__CUDA_ARCH__)
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else  // on the CPU, in tests
    mma_tf32(c, a, b);
#endif
}

// Copy N rows from row `start` to a tile in shared memory, rounded to TF32; zeros past the end.
template <int N>
__device__ void load_tile(HeadView x, Index start, Bits (*tile)[PITCH]) {
    for (int i = threadIdx.y * 32 + threadIdx.x; i < N * HEAD_DIM / 4; i += 32 * WARPS) {
        int row = i / (HEAD_DIM / 4), column = i % (HEAD_DIM / 4) * 4;
        Pack<4> four = {};
        if (start + row < x.length) four = load<4>(x.data + (start + row) * x.stride + column);
        for (int e = 0; e < 4; e++) four.at[e] = __uint_as_float(to_tf32(four.at[e]));
        store<4>((T*)&tile[row][column], four);
    }
}

// Load 16 rows from row `start` as the left operand of a product; zeros past the end.
__device__ void load_left(HeadView x, Index start, Bits (*a)[4]) {
    Index row = start + threadIdx.x / 4;
    const float* upper = x.data + row * x.stride + threadIdx.x % 4;
    const float* lower = upper + 8 * x.stride;
    bool has_upper = row < x.length, has_lower = row + 8 < x.length;
#pragma unroll
    for (int k = 0; k < K_STEPS; k++) {
        a[k][0] = to_tf32(has_upper ? upper[8 * k] : 0.0f);
        a[k][1] = to_tf32(has_lower ? lower[8 * k] : 0.0f);
        a[k][2] = to_tf32(has_upper ? upper[8 * k + 4] : 0.0f);
        a[k][3] = to_tf32(has_lower ? lower[8 * k + 4] : 0.0f);
    }
}

// c (16, HEAD_DIM) += w (16, N) tile, for a tile (N, HEAD_DIM). w is distributed as a result of
// `mma`, not as its left operand. Since the order of a sum is free, columns t and t + 4 of the
// operand are mapped to rows 2t and 2t + 1 of the tile, whose weights this lane holds.
template <int N>
__device__ void matmul_add(const float (*w)[4], const Bits (*tile)[PITCH], float (*c)[4]) {
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int k = 0; k < N / 8; k++) {
        Bits a[4] = {to_tf32(w[k][0]), to_tf32(w[k][2]), to_tf32(w[k][1]), to_tf32(w[k][3])};
#pragma unroll
        for (int n = 0; n < D_TILES; n++) {
            const Bits* column = &tile[8 * k + 2 * t][8 * n + g];
            Bits b[2] = {column[0], column[PITCH]};
            mma(c[n], a, b);
        }
    }
}
