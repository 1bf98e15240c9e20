// Products of matrices; see blas.py.
#include "sgemm.h"
#include "vector.h"

// S times out (M, N) = x (M, K) y (K, N). The numbers that begin with `to_` are distances from a
// matrix to the next, those with `ld` from a stored row to the next.
typedef struct {
    const float *x, *y;
    float *out;
    int64_t S, to_x, to_y, to_out, M, N, K, ldx, ldy, ldout, x_transposed, y_transposed;
} Part;

void multiply(void *SHARED sgemm, const void *products, int64_t n) {
    for (const Part *p = products; p < (const Part *)products + n; p++) {
        for (int64_t s = 0; s < p->S; s++) {
            ((Sgemm *)sgemm)(ROW_MAJOR, p->x_transposed ? TRANSPOSED : PLAIN,
                             p->y_transposed ? TRANSPOSED : PLAIN, p->M, p->N, p->K, 1.0f,
                             p->x + s * p->to_x, p->ldx, p->y + s * p->to_y, p->ldy, 0.0f,
                             p->out + s * p->to_out, p->ldout);
        }
    }
}
