// out = x y^T for few rows x, as of a prompt, and many rows y, as of a weight.
//
// OpenBLAS copies both factors into its own layout, which takes as long as a tenth of such a product;
// here y is copied once, 32 of its rows at a time, into the first cache, and out is not zeroed first.
//
// Source: K. Goto, R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__) && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HAS_SHORT_PRODUCT
#endif
#endif

#ifdef HAS_SHORT_PRODUCT

#define WIDTH 16  // floats in a register
#define TILE 12  // rows of out that are summed in registers, 24 of the 32
#define PANEL (2 * WIDTH)  // columns of out at a time
#define DEPTH 192  // of K at a time: 24 kB of y and 9 kB of x
#define LONGEST 320  // rows of x; with more, OpenBLAS's copies take a smaller part of the time

typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef float StoredFloats __attribute__((vector_size(4 * WIDTH), aligned(4)));

// Transpose 16 x 16 floats: exchange single ones, pairs, fours and eights of rows 1, 2, 4, 8 apart.
static inline void transpose(Floats *r) {
    Floats t[WIDTH];
    for (int i = 0; i < 16; i += 2) {
        t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26,
                                       12, 28, 14, 30);
        t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11,
                                           27, 13, 29, 15, 31);
    }
    for (int i = 0; i < 16; i += i % 4 ? 3 : 1) {
        r[i] = __builtin_shufflevector(t[i], t[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12,
                                       13, 28, 29);
        r[i + 2] = __builtin_shufflevector(t[i], t[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26,
                                           27, 14, 15, 30, 31);
    }
    for (int i = 0; i < 16; i += i % 8 == 3 ? 5 : 1) {
        t[i] = __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24,
                                       25, 26, 27);
        t[i + 4] = __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14,
                                           15, 28, 29, 30, 31);
    }
    for (int i = 0; i < 8; i++) {
        r[i] = __builtin_shufflevector(t[i], t[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20,
                                       21, 22, 23);
        r[i + 8] = __builtin_shufflevector(t[i], t[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26,
                                           27, 28, 29, 30, 31);
    }
}

// panel (depth, PANEL) = the transpose of y (PANEL, depth)
static inline void fill_panel(float *panel, const float *y, int64_t ldy, int64_t depth) {
    for (int64_t first = 0; first < PANEL; first += WIDTH) {
        const float *from = y + first * ldy;
        int64_t k = 0;
        for (; k + WIDTH <= depth; k += WIDTH) {
            Floats r[WIDTH];
            for (int j = 0; j < WIDTH; j++) r[j] = *(const StoredFloats *)(from + j * ldy + k);
            transpose(r);
            for (int j = 0; j < WIDTH; j++) *(Floats *)(panel + (k + j) * PANEL + first) = r[j];
        }
        for (; k < depth; k++) {
            for (int j = 0; j < WIDTH; j++) panel[k * PANEL + first + j] = from[j * ldy + k];
        }
    }
}

// out (rows, PANEL) = x (rows, depth) panel, or that added to out. With a constant number of rows
// the sums stay in registers.
static inline void tile(float *restrict out, int64_t ldout, const float *restrict x,
                        const float *restrict panel, int64_t depth, int rows, int is_added) {
    Floats sums[TILE][2];
    for (int i = 0; i < rows; i++) sums[i][0] = sums[i][1] = (Floats){0};
    for (int64_t k = 0; k < depth; k++) {
        const Floats *columns = (const Floats *)(panel + k * PANEL);
        Floats first = columns[0], second = columns[1];
        for (int i = 0; i < rows; i++) {
            float value = x[i * DEPTH + k];
            sums[i][0] += value * first;
            sums[i][1] += value * second;
        }
    }
    for (int i = 0; i < rows; i++) {
        StoredFloats *row = (StoredFloats *)(out + i * ldout);
        row[0] = is_added ? row[0] + sums[i][0] : sums[i][0];
        row[1] = is_added ? row[1] + sums[i][1] : sums[i][1];
    }
}

#define CASE(ROWS) \
    case ROWS: tile(out, ldout, x, panel, depth, ROWS, is_added); break;

static void tile_of(int64_t rows, float *out, int64_t ldout, const float *x, const float *panel,
                    int64_t depth, int is_added) {
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
    }
}

// The columns of out (M, N) = x (M, K) y^T, with y (N, K), that are computed here: as many as panels
// cover, or none if another way is faster, or there is no memory.
static int64_t short_product(float *out, int64_t ldout, const float *x, int64_t ldx, const float *y,
                             int64_t ldy, int64_t M, int64_t N, int64_t K) {
    if (M < TILE || M > LONGEST || N < PANEL || K < WIDTH) return 0;
    float panel[DEPTH * PANEL] __attribute__((aligned(64)));
    float *rows = malloc((size_t)(M * DEPTH) * sizeof(float));  // all start in another cache line
    if (!rows) return 0;
    int64_t tiles = (M + TILE - 1) / TILE;
    for (int64_t k = 0; k < K; k += DEPTH) {
        int64_t depth = K - k < DEPTH ? K - k : DEPTH;
        for (int64_t i = 0; i < M; i++) {
            memcpy(rows + i * DEPTH, x + i * ldx + k, (size_t)depth * sizeof(float));
        }
        for (int64_t j = 0; j + PANEL <= N; j += PANEL) {
            fill_panel(panel, y + j * ldy + k, ldy, depth);
            for (int64_t t = 0; t < tiles; t++) {
                int64_t i = M * t / tiles, end = M * (t + 1) / tiles;
                tile_of(end - i, out + i * ldout + j, ldout, rows + i * DEPTH, panel, depth, k > 0);
            }
        }
    }
    free(rows);
    return N - N % PANEL;
}

#else
#define short_product(...) 0
#endif
