// The gradient of an embedding; see embedding.py.
#include "vector.h"

// Add each of n rows of g (n, C) to the row of total (V, C) that its id, an int64, names; in one
// thread, since equal ids name the same row.
void add_rows(const float *SHARED g, const void *SHARED ids, float *SHARED total, int64_t n,
              int64_t C, int64_t V) {
    for (int64_t i = 0; i < n; i++) {
        int64_t id = ((const int64_t *)ids)[i];
        if (id < 0 || id >= V) continue;  // the forward pass has checked them
        const float *row = g + i * C;
        float *sum = total + id * C;
        for (int64_t j = 0; j < C; j++) sum[j] += row[j];
    }
}
