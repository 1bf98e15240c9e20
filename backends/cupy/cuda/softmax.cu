// The softmax of each row of x (rows, size), under a mask whose rows repeat: row r has the mask's
// row r % mask_rows. A row that is hidden everywhere becomes zeros. y may be x.

struct Free {
    __device__ T operator()(T score, Index at) const { return score; }
};

struct Hiding {  // true where a key may be seen
    const Bool* mask;
    __device__ T operator()(T score, Index at) const {
        return mask[at] ? score : NEGATIVE_INFINITY;
    }
};

struct Adding {
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
    softmax_rows(x, y, rows, size, Free(), 1);
}

extern "C" __global__ void softmax_hiding(const T* x, T* y, Index rows, Index size,
                                          const Bool* mask, Index mask_rows) {
    softmax_rows(x, y, rows, size, Hiding{mask}, mask_rows);
}

extern "C" __global__ void softmax_adding(const T* x, T* y, Index rows, Index size,
                                          const T* mask, Index mask_rows) {
    softmax_rows(x, y, rows, size, Adding{mask}, mask_rows);
}

extern "C" __global__ void softmax_gradient(const T* g, const T* y, T* dx, Index rows,
                                            Index size) {
    FOR_EACH_ROW(row, rows) {
        Index at = row * size;
        T along = 0;
        FOR_EACH_LANE(j, size) along += g[at + j] * y[at + j];
        along = warp_sum(along);
        FOR_EACH_LANE(j, size) dx[at + j] = y[at + j] * (g[at + j] - along);
    }
}
