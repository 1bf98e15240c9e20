// Counter-based random bits, see `Seed` in common.cuh.

extern "C" __global__ void random_bits(Bits* y, Index count, const Index* key, Index offset) {
    Seed seed(key, offset);
    FOR_EACH(i, count) y[i] = seed.bits_at(i);
}
