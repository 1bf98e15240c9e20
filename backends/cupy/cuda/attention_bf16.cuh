// The products of attention.cu with bfloat16 factors: 7 bits of mantissa, two elements in 32 bits.

const int K_STEPS = HEAD_DIM / 16;   // tensor core steps of 16 along a head
const int PITCH = HEAD_DIM / 2 + 4;  // row length of a tile, in pairs: avoids bank conflicts

// c (16, 8) += a (16, 16) b (16, 8), distributed over the lanes of a warp. With g = lane / 4 and
// t = lane % 4, a lane holds the pairs that begin at a[g][2t], a[g + 8][2t], a[g][2t + 8],
// a[g + 8][2t + 8]; at b[2t][g], b[2t + 8][g], down the column; and of c what `mma` with TF32 holds.
__device__ void mma(float* c, const Bits* a, const Bits* b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    __trap();  // GPUs without bfloat16 tensor cores never run these kernels
#elif defined(__CUDA_ARCH__)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else  // on the CPU, in tests
    mma_bf16(c, a, b);
#endif
}

// Load four matrices (8, 8) from shared memory, transposed: lane l passes the address of row l % 8
// of matrix l / 8.
__device__ void load_transposed(const Bits* row, Bits* four) {
#if defined(__CUDA_ARCH__)
    Bits address = (Bits)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(four[0]), "=r"(four[1]), "=r"(four[2]), "=r"(four[3]) : "r"(address) : "memory");
#else  // on the CPU, in tests
    ldmatrix_transposed(row, four);
#endif
}

// Copy N rows from row `start` to a tile in shared memory, rounded to bfloat16; zeros past the end.
template <int N>
__device__ void load_tile(HeadView x, Index start, Bits (*tile)[PITCH]) {
    for (int i = threadIdx.y * 32 + threadIdx.x; i < N * HEAD_DIM / 8; i += 32 * WARPS) {
        int row = i / (HEAD_DIM / 8), column = i % (HEAD_DIM / 8) * 8;
        Eight eight = {};
        if (start + row < x.length) eight = load_eight(x.data + (start + row) * x.stride + column);
        store_eight((Bf16*)&tile[row][column / 2], eight);
    }
}

// Load 16 rows from row `start` as the left operand of a product; zeros past the end.
__device__ void load_left(HeadView x, Index start, Bits (*a)[4]) {
    Index row = start + threadIdx.x / 4;
    const Element* from = x.data + row * x.stride + threadIdx.x % 4 * 2;
#pragma unroll
    for (int k = 0; k < K_STEPS; k++)
        for (int i = 0; i < 4; i++)
            a[k][i] = row + i % 2 * 8 < x.length
                          ? load_pair(from + i % 2 * 8 * x.stride + 16 * k + i / 2 * 8)
                          : 0;
}

// c (16, HEAD_DIM) += w (16, N) tile, for a tile (N, HEAD_DIM). w is distributed as results of
// `mma`; two of them side by side are distributed as its left operand.
template <int N>
__device__ void matmul_add(const float (*w)[4], const Bits (*tile)[PITCH], float (*c)[4]) {
    int lane = threadIdx.x;
#pragma unroll
    for (int k = 0; k < N / 16; k++) {
        const float *left = w[2 * k], *right = w[2 * k + 1];
        Bits a[4] = {bf16_pair(left[0], left[1]), bf16_pair(left[2], left[3]),
                     bf16_pair(right[0], right[1]), bf16_pair(right[2], right[3])};
#pragma unroll
        for (int n = 0; n < D_TILES; n += 2) {
            Bits b[4];
            load_transposed(&tile[16 * k + lane % 16][4 * n + lane / 16 * 4], b);
            mma(c[n], a, b);
            mma(c[n + 1], a, b + 2);
        }
    }
}
