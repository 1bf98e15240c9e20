// Dropout, and the end of a residual branch with dropout.

// y = x scale where the random bits are at least `threshold`, else 0. It is its own gradient: the
// same seed drops the same elements.
extern "C" __global__ void dropout(const T* x, T* y, Index count, const Index* key, Index offset,
                                   Index first, Bits threshold, T scale) {
    Seed seed(key, offset, first);
    map_elements(count, x, x, y, [=](Index i, T v, T) {
        return v * (seed.bits_at(i) >= threshold ? scale : (T)0);
    });
}

// y = x + dropout(branch).
extern "C" __global__ void dropout_add(const T* x, const T* branch, T* y, Index count,
                                       const Index* key, Index offset, Index first,
                                       Bits threshold, T scale) {
    Seed seed(key, offset, first);
    map_elements(count, x, branch, y, [=](Index i, T v, T more) {
        return v + more * (seed.bits_at(i) >= threshold ? scale : (T)0);
    });
}
