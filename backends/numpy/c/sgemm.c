// A product of float32 matrices whose tiles stay in registers while they are summed.
//
// Only y is copied, in panels as wide as a tile, and x if it is transposed and read several times.
// OpenBLAS copies both into its own layout, which takes a tenth of the time of products with as few
// rows and columns as those of small models. An element is summed in the same order whatever its
// tile, so the result does not depend on how a product is divided among threads (blas.py).
//
// Source: K. Goto, R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
#include "sgemm.h"

// OpenBLAS's: the same parameters, after the order of the elements.
typedef void Sgemm(int order, int transpose_x, int transpose_y, int64_t M, int64_t N, int64_t K,
                   float alpha, const float *x, int64_t ldx, const float *y, int64_t ldy,
                   float beta, float *out, int64_t ldout);
enum { ROW_MAJOR = 101 };

#ifdef __AVX512F__
#include <immintrin.h>

#define WIDTH 16  // floats in a register
// A tile of out takes 24 of 32 registers.
#define ROWS 8
#define VECTORS 3
#define COLUMNS (VECTORS * WIDTH)
// What is copied of y at a time, for a second cache of one MiB, and of x if it is transposed
#define DEPTH 384
#define BREADTH 528
#define HEIGHT 96
_Static_assert(DEPTH % 8 == 0 && BREADTH % COLUMNS == 0, "part_of returns multiples of these");
_Static_assert(HEIGHT % ROWS == 0, "copy_columns writes whole strips");

typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef float StoredFloats __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef float Row __attribute__((vector_size(4 * ROWS)));
typedef float StoredRow __attribute__((vector_size(4 * ROWS), aligned(4), may_alias));

// One MB of each thread that multiplies, which the C library allocates at its first product
static _Thread_local float panels[DEPTH * BREADTH] __attribute__((aligned(64)));
static _Thread_local float columns_of_x[HEIGHT * DEPTH] __attribute__((aligned(64)));

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

// panel (depth, width) = the n columns of y, and zeros up to a whole number of vectors: what was
// there may be subnormal numbers, which are slow
static void fill_panel(float *panel, const float *y, int64_t ldy, int is_transposed, int64_t depth,
                       int64_t n) {
    int64_t width = (n + WIDTH - 1) / WIDTH * WIDTH;
    if (is_transposed) transpose(panel, width, y, ldy, n, depth), ldy = 0;
    for (int64_t k = 0; k < depth; k++, panel += width, y += ldy) {
        int64_t j = is_transposed ? n : 0;
        for (; j + WIDTH <= n; j += WIDTH) *(Floats *)(panel + j) = *(const StoredFloats *)(y + j);
        for (; j < n; j++) panel[j] = y[j];
        for (; j < width; j++) panel[j] = 0.0f;
    }
}

// out = alpha x y + beta out, for some rows of x, or columns if it is transposed, and a panel of y
typedef struct {
    int64_t depth, x_transposed, ldx, ldout;
    const float *x, *panel;
    float *out, alpha, beta;
} Tile;

// Load the beginnings of some rows of x, which the processor does not foresee, into the cache.
static void prefetch_rows(const float *x, int64_t ldx, int64_t rows, int64_t length) {
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t k = 0; k < least(length, 4 * WIDTH); k += WIDTH) {
            __builtin_prefetch(x + i * ldx + k);
        }
    }
}

// Load a row of a tile of out into the cache, to be written.
static inline void prefetch_output(const float *row, int vectors) {
    for (int v = 0; v < vectors; v++) __builtin_prefetch(row + v * WIDTH, 1);
    __builtin_prefetch(row + vectors * WIDTH - 1, 1);
}

// With constant numbers of rows and of vectors in a row the sums stay in registers.
static inline __attribute__((always_inline)) void sum(const Tile *t, const int rows,
                                                      const int vectors, const int x_transposed) {
    Floats sums[ROWS][VECTORS];
    for (int i = 0; i < rows; i++) {
        prefetch_output(t->out + i * t->ldout, vectors);
        for (int v = 0; v < vectors; v++) sums[i][v] = (Floats){0};
    }
    for (int64_t k = 0; k < t->depth; k++) {
        const Floats *row = (const Floats *)t->panel + k * vectors;
        Floats y[VECTORS];
        for (int v = 0; v < vectors; v++) y[v] = row[v];
        for (int i = 0; i < rows; i++) {
            float x = x_transposed ? t->x[k * t->ldx + i] : t->x[i * t->ldx + k];
            for (int v = 0; v < vectors; v++) sums[i][v] += x * y[v];
        }
    }
    #pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        StoredFloats *out = (StoredFloats *)(t->out + i * t->ldout);
        #pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            Floats product = t->alpha * sums[i][v];
            out[v] = t->beta == 0.0f ? product : product + t->beta * out[v];
        }
    }
}

#define CASE(r, v)                    \
    if (rows == r && vectors == v) {  \
        if (t->x_transposed) {        \
            sum(t, r, v, 1);          \
        } else {                      \
            sum(t, r, v, 0);          \
        }                             \
        return;                       \
    }
#define CASES(r) CASE(r, 3) CASE(r, 2) CASE(r, 1)

static void sum_vectors(const Tile *t, int64_t rows, int64_t vectors) {
    CASES(ROWS) CASES(4) CASES(2) CASES(1)
}

// The same for n columns
static void sum_columns(const Tile *t, int64_t rows, int64_t n) {
    if (n % WIDTH == 0) {
        sum_vectors(t, rows, n / WIDTH);
        return;
    }
    float wider[ROWS * COLUMNS], *out = t->out, beta = t->beta;
    Tile whole = *t;
    whole.out = wider, whole.ldout = COLUMNS, whole.beta = 0.0f;
    sum_vectors(&whole, rows, n / WIDTH + 1);
    for (int64_t i = 0; i < rows; i++, out += t->ldout) {
        for (int64_t j = 0; j < n; j++) {
            float product = wider[i * COLUMNS + j];
            out[j] = beta == 0.0f ? product : product + beta * out[j];
        }
    }
}

// The same for n columns of y, in `panels`, and M rows. `strip` is the distance from ROWS rows of x
// to the next ones.
static void sum_panels(Tile t, int64_t strip, int64_t M, int64_t n) {
    const float *x = t.x;
    float *out = t.out;
    int64_t next = t.x_transposed ? 1 : t.ldx;
    for (int64_t i = 0, rows; i < M; i += rows, out += rows * t.ldout) {
        rows = M - i >= ROWS ? ROWS : M - i >= 4 ? 4 : M - i >= 2 ? 2 : 1;
        t.x = x + i / ROWS * strip + i % ROWS * next;
        if (!t.x_transposed) {
            prefetch_rows(t.x + rows * t.ldx, t.ldx, least(M - i - rows, ROWS), t.depth);
        }
        for (int64_t j = 0; j < n; j += COLUMNS) {
            t.panel = panels + j * t.depth;
            t.out = out + j;
            sum_columns(&t, rows, least(n - j, COLUMNS));
        }
    }
}

// columns_of_x (M / ROWS, depth, ROWS) = x (depth, M)
static void copy_columns(const float *x, int64_t ldx, int64_t depth, int64_t M) {
    for (int64_t k = 0; k < depth; k++, x += ldx) {
        float *strip = columns_of_x + k * ROWS;
        int64_t i = 0;
        for (; i + ROWS <= M; i += ROWS, strip += depth * ROWS) {
            *(Row *)strip = *(const StoredRow *)(x + i);
        }
        for (int64_t r = 0; i + r < M; r++) strip[r] = x[i + r];
    }
}

// The size of parts that are at most `most`, nearly the same, and multiples of `unit`
static int64_t part_of(int64_t n, int64_t most, int64_t unit) {
    int64_t parts = n > most ? (n + most - 1) / most : 1;
    return (n + parts * unit - 1) / (parts * unit) * unit;
}

static void own_product(int x_transposed, int y_transposed, int64_t M, int64_t N, int64_t K,
                        float alpha, const float *x, int64_t ldx, const float *y, int64_t ldy,
                        float beta, float *out, int64_t ldout) {
    int64_t breadth = part_of(N, BREADTH, COLUMNS), most = part_of(K, DEPTH, 8), depth;
    for (int64_t first = 0; first < N; first += breadth) {
        int64_t n = least(N - first, breadth), k = 0;
        do {  // once if K is 0
            depth = least(K - k, most);
            if (!x_transposed) prefetch_rows(x + k, ldx, least(M, ROWS), depth);
            for (int64_t j = 0; j < n; j += COLUMNS) {
                int64_t line = y_transposed ? first + j : k, place = y_transposed ? k : first + j;
                fill_panel(panels + j * depth, y + line * ldy + place, ldy, y_transposed, depth,
                           least(n - j, COLUMNS));
            }
            Tile t = {.depth = depth, .x_transposed = x_transposed, .ldx = ldx,
                      .x = x + k * (x_transposed ? ldx : 1), .out = out + first, .ldout = ldout,
                      .alpha = alpha, .beta = k ? 1.0f : beta};
            if (!x_transposed || n <= COLUMNS) {  // a copy would be read once
                sum_panels(t, ROWS * (x_transposed ? 1 : ldx), M, n);
                continue;
            }
            t.x = columns_of_x, t.ldx = ROWS;
            for (int64_t i = 0; i < M; i += HEIGHT, t.out += HEIGHT * ldout) {
                int64_t height = least(M - i, HEIGHT);
                copy_columns(x + k * ldx + i, ldx, depth, height);
                sum_panels(t, ROWS * depth, height, n);
            }
        } while ((k += depth) < K);
    }
}
#endif

void product(void *sgemm, int transpose_x, int transpose_y, int64_t M, int64_t N, int64_t K,
             float alpha, const float *x, int64_t ldx, const float *y, int64_t ldy, float beta,
             float *out, int64_t ldout) {
#ifdef __AVX512F__
    if (M >= 4 && N >= WIDTH) {
        own_product(transpose_x == TRANSPOSED, transpose_y == TRANSPOSED, M, N, K, alpha, x, ldx, y,
                    ldy, beta, out, ldout);
        return;
    }
#endif
    ((Sgemm *)sgemm)(ROW_MAJOR, transpose_x, transpose_y, M, N, K, alpha, x, ldx, y, ldy, beta, out,
                     ldout);
}
