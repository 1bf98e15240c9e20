// A product of float32 matrices whose tiles stay in registers while they are summed.
//
// Only y is copied, in panels as wide as a tile, and x if it is transposed. OpenBLAS copies both into
// its own layout, which takes a tenth of the time of products with as few rows and columns as those
// of small models. An element is summed in the same order whatever its tile, so the result does not
// depend on how a product is divided among threads.
//
// Source: K. Goto, R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
#include "sgemm.h"

#include <string.h>

// OpenBLAS's: the same parameters, after the order of the elements.
typedef void Sgemm(int order, int transpose_x, int transpose_y, int64_t M, int64_t N, int64_t K,
                   float alpha, const float *x, int64_t ldx, const float *y, int64_t ldy,
                   float beta, float *out, int64_t ldout);
enum { ROW_MAJOR = 101 };

#if defined(__AVX512F__)
#define WIDTH 16   // floats in a register
#define ROWS 8     // of a tile, which
#define VECTORS 3  // takes 24 of 32 registers
#elif defined(__AVX2__) && defined(__FMA__)
#define WIDTH 8
#define ROWS 6
#define VECTORS 2  // 12 of 16 registers
#endif

#ifdef WIDTH
#include <immintrin.h>

#define COLUMNS (VECTORS * WIDTH)  // of a tile
// Of y, what is copied at a time: half of a second cache of one MiB
#define DEPTH 256
#define BREADTH 528
#define HEIGHT 96  // rows of x, if it is transposed

typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef float StoredFloats __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

static _Thread_local float panels[DEPTH * BREADTH] __attribute__((aligned(64)));
static _Thread_local float rows_of_x[HEIGHT * DEPTH] __attribute__((aligned(64)));

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// to (4, 8) = the transpose of from (8, 4)
static inline void transpose_8_by_4(float *to, int64_t ldto, const float *from, int64_t ld) {
    __m256 r[4], pairs[4];
    for (int i = 0; i < 4; i++) {
        __m128 low = _mm_loadu_ps(from + i * ld), high = _mm_loadu_ps(from + (i + 4) * ld);
        r[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
    }
    for (int i = 0; i < 2; i++) {
        pairs[i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        pairs[i + 2] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i += 2) {
        _mm256_storeu_ps(to + i * ldto, _mm256_shuffle_ps(pairs[i], pairs[i + 1], 0x44));
        _mm256_storeu_ps(to + (i + 1) * ldto, _mm256_shuffle_ps(pairs[i], pairs[i + 1], 0xee));
    }
}

// to (columns, rows) = the transpose of from (rows, columns)
static void transpose(float *to, int64_t ldto, const float *from, int64_t ld, int64_t rows,
                      int64_t columns) {
    for (int64_t i = 0; i < rows; i += 8) {
        int64_t j = 0;
        if (i + 8 <= rows) {
            for (; j + 4 <= columns; j += 4) {
                transpose_8_by_4(to + j * ldto + i, ldto, from + i * ld + j, ld);
            }
        }
        for (; j < columns; j++) {
            for (int64_t k = i; k < least(i + 8, rows); k++) to[j * ldto + k] = from[k * ld + j];
        }
    }
}

// panel (depth, width) = the first n columns of y and zeros, which fill its vectors
static void fill_panel(float *panel, int64_t width, const float *y, int64_t ldy, int is_transposed,
                       int64_t depth, int64_t n) {
    if (is_transposed) {
        transpose(panel, width, y, ldy, n, depth);
    } else if (n == COLUMNS) {
        for (int64_t k = 0; k < depth; k++) {
            memcpy(panel + k * COLUMNS, y + k * ldy, COLUMNS * sizeof(float));
        }
    } else {
        for (int64_t k = 0; k < depth; k++) {
            for (int64_t j = 0; j < n; j++) panel[k * width + j] = y[k * ldy + j];
        }
    }
    for (int64_t k = 0; n < width && k < depth; k++) {
        for (int64_t j = n; j < width; j++) panel[k * width + j] = 0.0f;
    }
}

// out (rows, vectors) = alpha x panel + beta out, with x (rows, depth) and panel (depth, vectors).
// With constant numbers of rows and vectors the sums stay in registers.
static inline __attribute__((always_inline)) void tile(const int rows, const int vectors,
                                                       int64_t depth, float alpha, const float *x,
                                                       int64_t ldx, const float *panel, float beta,
                                                       float *out, int64_t ldout) {
    Floats sums[ROWS][VECTORS];
    for (int i = 0; i < rows; i++) {
        for (int v = 0; v < vectors; v++) sums[i][v] = (Floats){0};
    }
    for (int64_t k = 0; k < depth; k++) {
        const Floats *row = (const Floats *)panel + k * vectors;
        Floats y[VECTORS];
        for (int v = 0; v < vectors; v++) y[v] = row[v];
        for (int i = 0; i < rows; i++) {
            float value = x[i * ldx + k];
            for (int v = 0; v < vectors; v++) sums[i][v] += value * y[v];
        }
    }
    #pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        StoredFloats *to = (StoredFloats *)(out + i * ldout);
        #pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            Floats sum = alpha * sums[i][v];
            to[v] = beta == 0.0f ? sum : sum + beta * to[v];
        }
    }
}

#define CASE(r, v)                                                                  \
    if (rows == r && vectors == v && v <= VECTORS) {                                \
        tile(r, v, depth, alpha, x, ldx, panel, beta, out, ldout);                  \
        return;                                                                     \
    }
#define CASES(r) CASE(r, 1) CASE(r, 2) CASE(r, 3)

static void tile_of(int64_t rows, int64_t vectors, int64_t depth, float alpha, const float *x,
                    int64_t ldx, const float *panel, float beta, float *out, int64_t ldout) {
    CASES(ROWS) CASES(4) CASES(2) CASES(1)
}

// The same for a tile whose last vectors are wider than its n columns
static void edge_of(int64_t rows, int64_t vectors, int64_t depth, float alpha, const float *x,
                    int64_t ldx, const float *panel, float beta, float *out, int64_t ldout,
                    int64_t n) {
    float whole[ROWS * COLUMNS];
    tile_of(rows, vectors, depth, alpha, x, ldx, panel, 0.0f, whole, COLUMNS);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < n; j++) {
            float sum = whole[i * COLUMNS + j], *to = out + i * ldout + j;
            *to = beta == 0.0f ? sum : sum + beta * *to;
        }
    }
}

// out (M, n) = alpha x y + beta out, with x (M, depth) and y (depth, n) in panels
static void multiply_panels(int64_t M, int64_t n, int64_t depth, float alpha, const float *x,
                            int64_t ldx, float beta, float *out, int64_t ldout) {
    for (int64_t i = 0, rows; i < M; i += rows, x += rows * ldx, out += rows * ldout) {
        rows = M - i >= ROWS ? ROWS : M - i >= 4 ? 4 : M - i >= 2 ? 2 : 1;
        for (int64_t j = 0; j < n; j += COLUMNS) {
            int64_t columns = least(n - j, COLUMNS), vectors = (columns + WIDTH - 1) / WIDTH;
            const float *panel = panels + j * depth;
            if (columns == vectors * WIDTH) {
                tile_of(rows, vectors, depth, alpha, x, ldx, panel, beta, out + j, ldout);
            } else {
                edge_of(rows, vectors, depth, alpha, x, ldx, panel, beta, out + j, ldout, columns);
            }
        }
    }
}

// Parts of at most `most`, which are nearly of the same size and multiples of `unit`
static int64_t part_of(int64_t n, int64_t most, int64_t unit) {
    int64_t parts = (n + most - 1) / most;
    return parts ? (n + parts * unit - 1) / (parts * unit) * unit : unit;
}

static void own_product(int x_transposed, int y_transposed, int64_t M, int64_t N, int64_t K,
                        float alpha, const float *x, int64_t ldx, const float *y, int64_t ldy,
                        float beta, float *out, int64_t ldout) {
    int64_t breadth = part_of(N, BREADTH, COLUMNS), most = part_of(K, DEPTH, 1);
    for (int64_t n = 0; n < N; n += breadth) {
        int64_t columns = least(N - n, breadth);
        for (int64_t k = 0; k == 0 || k < K; k += most) {
            int64_t depth = least(K - k, most);
            float b = k ? 1.0f : beta;
            for (int64_t j = 0; j < columns; j += COLUMNS) {
                int64_t width = least(columns - j, COLUMNS);
                fill_panel(panels + j * depth, (width + WIDTH - 1) / WIDTH * WIDTH,
                           y_transposed ? y + (n + j) * ldy + k : y + k * ldy + n + j, ldy,
                           y_transposed, depth, width);
            }
            float *to = out + n;
            if (!x_transposed) {
                multiply_panels(M, columns, depth, alpha, x + k, ldx, b, to, ldout);
            }
            for (int64_t m = 0; x_transposed && m < M; m += HEIGHT) {
                int64_t height = least(M - m, HEIGHT);
                transpose(rows_of_x, DEPTH, x + k * ldx + m, ldx, depth, height);
                multiply_panels(height, columns, depth, alpha, rows_of_x, DEPTH, b,
                                to + m * ldout, ldout);
            }
        }
    }
}
#endif

void product(void *sgemm, int transpose_x, int transpose_y, int64_t M, int64_t N, int64_t K,
             float alpha, const float *x, int64_t ldx, const float *y, int64_t ldy, float beta,
             float *out, int64_t ldout) {
#ifdef WIDTH
    if (M >= 4 && N >= 4) {
        own_product(transpose_x == TRANSPOSED, transpose_y == TRANSPOSED, M, N, K, alpha, x, ldx, y,
                    ldy, beta, out, ldout);
        return;
    }
#endif
    ((Sgemm *)sgemm)(ROW_MAJOR, transpose_x, transpose_y, M, N, K, alpha, x, ldx, y, ldy, beta, out,
                     ldout);
}
