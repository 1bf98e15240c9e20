// Random bits, and what they hide.

extern "C" __global__ void random_bits(Bits* y, Index count, Bits low, Bits high,
                                       const Bits* live) {
    if (live) low = live[0], high = live[1];  // the seed of this repetition of a recorded step
    FOR_EACH(i, count) y[i] = bits_at(i, low, high);
}

// Its own gradient as well: the same bits hide the same elements.
extern "C" __global__ void dropout(const T* x, T* y, Index count, Bits low, Bits high,
                                   const Bits* live, Bits threshold, T scale) {
    if (live) low = live[0], high = live[1];  // the seed of this repetition of a recorded step
    map_elements(count, x, x, y, [=](Index i, T v, T) {
        return v * (bits_at(i, low, high) >= threshold ? scale : (T)0);
    });
}
