// Softmax over the rows of attention scores (rows, size), under a mask whose rows repeat: row r
// uses mask row r % mask_rows. A fully masked row becomes zeros. y may be x.

struct NoMask {
    __device__ T operator()(T score, Index at) const { return score; }
};

struct BoolMask {  // true where a key may be attended to
    const Bool* mask;
    __device__ T operator()(T score, Index at) const {
        return mask[at] ? score : NEGATIVE_INFINITY;
    }
};

struct AdditiveMask {
    const T* mask;
    __device__ T operator()(T score, Index at) const { return score + mask[at]; }
};

template <typename Mask>
__device__ void softmax_rows(const T* x, T* y, Index rows, Index size, Mask masked,
                             Index mask_rows) {
    FOR_EACH_ROW(row, rows) {
        const T* in = x + row * size;
        T* out = y + row * size;
        Index mask_at = row % mask_rows * size;
        T largest = NEGATIVE_INFINITY, total = 0;
        FOR_EACH_LANE(j, size) {
            T score = masked(in[j], mask_at + j);
            largest = score > largest ? score : largest;
        }
        largest = warp_max(largest);
        T shift = largest == NEGATIVE_INFINITY ? (T)0 : largest;
        FOR_EACH_LANE(j, size) total += exp(masked(in[j], mask_at + j) - shift);
        total = warp_sum(total);
        T inverse = total == 0 ? (T)0 : (T)1 / total;
        FOR_EACH_LANE(j, size) out[j] = exp(masked(in[j], mask_at + j) - shift) * inverse;
    }
}

extern "C" __global__ void softmax(const T* x, T* y, Index rows, Index size) {
    softmax_rows(x, y, rows, size, NoMask(), 1);
}

extern "C" __global__ void softmax_bool_mask(const T* x, T* y, Index rows, Index size,
                                             const Bool* mask, Index mask_rows) {
    softmax_rows(x, y, rows, size, BoolMask{mask}, mask_rows);
}

extern "C" __global__ void softmax_additive_mask(const T* x, T* y, Index rows, Index size,
                                                 const T* mask, Index mask_rows) {
    softmax_rows(x, y, rows, size, AdditiveMask{mask}, mask_rows);
}

// dx = y (g - sum(g y)) for each row of the softmax y.
extern "C" __global__ void softmax_gradient(const T* g, const T* y, T* dx, Index rows,
                                            Index size) {
    FOR_EACH_ROW(row, rows) {
        Index at = row * size;
        T dot = 0;
        FOR_EACH_LANE(j, size) dot += g[at + j] * y[at + j];
        dot = warp_sum(dot);
        FOR_EACH_LANE(j, size) dx[at + j] = y[at + j] * (g[at + j] - dot);
    }
}
