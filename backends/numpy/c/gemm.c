// Products of matrices; see blas.py.
#include "sgemm.h"
#include "vector.h"

// A part of a product: S times out (M, N) = x (M, K) y (K, N). The numbers that begin with `from_`
// are distances in bytes from the first element of the whole arrays, those with `to_` from a matrix
// to the next, and those with `ld` from a stored row to the next, in elements.
typedef struct {
    int64_t product, from_x, from_y, from_out;
    int64_t S, to_x, to_y, to_out, M, N, K, ldx, ldy, ldout, x_transposed, y_transposed;
} Part;

// Parts of one or two products
void multiply(void *SHARED sgemm, const void *SHARED x0, const void *SHARED y0, void *SHARED out0,
              const void *SHARED x1, const void *SHARED y1, void *SHARED out1, const void *parts,
              int64_t n) {
    for (const Part *p = parts; p < (const Part *)parts + n; p++) {
        const char *x = (p->product ? x1 : x0), *y = (p->product ? y1 : y0);
        char *out = (p->product ? out1 : out0);
        for (int64_t s = 0; s < p->S; s++) {
            const float *a = (const float *)(x + p->from_x) + s * p->to_x;
            const float *b = (const float *)(y + p->from_y) + s * p->to_y;
            float *c = (float *)(out + p->from_out) + s * p->to_out;
            product(sgemm, p->x_transposed ? TRANSPOSED : PLAIN,
                    p->y_transposed ? TRANSPOSED : PLAIN, p->M, p->N, p->K, 1.0f, a, p->ldx, b,
                    p->ldy, 0.0f, c, p->ldout);
        }
    }
}
