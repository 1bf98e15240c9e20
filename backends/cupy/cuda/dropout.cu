// Dropout.

// y = x scale where the random bits are at least `threshold`, else 0. It is its own gradient: the
// same seed drops the same elements.
extern "C" __global__ void dropout(const T* x, T* y, Index count, const Index* key, Index offset,
                                   Index first, Bits threshold, T scale) {
    Seed seed(key, offset, first);
    map_elements(count, x, x, y, [=](Index i, T v, T) {
        return v * (seed.bits_at(i) >= threshold ? scale : (T)0);
    });
}
