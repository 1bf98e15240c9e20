// Random bits, and dropout that uses them.

extern "C" __global__ void random_bits(Bits* y, Index count, const Index* key, Index offset) {
    Seed seed(key, offset);
    FOR_EACH(i, count) y[i] = seed.bits_at(i);
}

// Its own gradient as well: the same bits drop the same elements.
extern "C" __global__ void dropout(const T* x, T* y, Index count, const Index* key, Index offset,
                                   Bits threshold, T scale) {
    Seed seed(key, offset);
    map_elements(count, x, x, y, [=](Index i, T v, T) {
        return v * (seed.bits_at(i) >= threshold ? scale : (T)0);
    });
}
