// The product of queries and keys in attention.cu, for factors of any precision: `mma` multiplies the
// operands that `load_left` and `load_tile` of that precision load.

// c (16, N) = a (16, HEAD_DIM) tile^T, for a tile (N, HEAD_DIM).
template <int N>
__device__ void matmul_transposed(const Bits (*a)[4], const Bits (*tile)[PITCH], float (*c)[4]) {
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < N / 8; n++) {
        for (int i = 0; i < 4; i++) c[n][i] = 0;
#pragma unroll
        for (int k = 0; k < K_STEPS; k++) {
            const Bits* row = &tile[8 * n + g][8 * k + t];
            Bits b[2] = {row[0], row[4]};
            mma(c[n], a[k], b);
        }
    }
}
