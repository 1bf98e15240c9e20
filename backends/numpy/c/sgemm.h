// Products of float32 matrices: our own on processors with AVX-512, else OpenBLAS's.
#pragma once
#include <stdint.h>

enum { PLAIN = 111, TRANSPOSED = 112 };  // of CBLAS

// out (M, N) = alpha x (M, K) y (K, N) + beta out, where out is not read if beta is 0. A transposed
// factor is stored as (K, M) or (N, K); an ld is the distance from a stored row to the next.
// `sgemm` is that of OpenBLAS with 64-bit integers.
void product(void *sgemm, int transpose_x, int transpose_y, int64_t M, int64_t N, int64_t K,
             float alpha, const float *x, int64_t ldx, const float *y, int64_t ldy, float beta,
             float *out, int64_t ldout);

// Whether the memory of a part is allocated; else Python raises MemoryError when the loop is done.
static inline int is_allocated(const void *memory, void *failed) {
    if (!memory) __atomic_store_n((int64_t *)failed, 1, __ATOMIC_RELAXED);
    return memory != 0;
}
