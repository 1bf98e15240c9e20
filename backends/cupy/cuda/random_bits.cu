// Counter-based random bits, see `Seed` in common.cuh.

extern "C" __global__ void random_bits(Bits* y, Index count, const Index* key, Index offset,
                                       Index first) {
    Seed seed(key, offset, first);
    FOR_EACH(i, count) y[i] = seed.bits_at(i);
}
