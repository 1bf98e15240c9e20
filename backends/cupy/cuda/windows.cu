// Convolution and pooling: kernels of KH x KW elements that slide over images (planes, H, W), where
// planes = N C, at the OH x OW positions of an output. The products of a convolution are computed by
// cuBLAS from the patches as columns, see convolution.py.
//
// Gradients are gathered, not scattered: a thread adds up all that one element of an image receives,
// always in the same order, so equal inputs give equal bits.

struct Window {
    Index H, W, KH, KW, SH, SW, PH, PW, DH, DW, OH, OW;

    // Line and column of the image under element (i, j) of the kernel at position (oh, ow).
    __device__ Index line(Index oh, Index i) const { return oh * SH - PH + i * DH; }
    __device__ Index column(Index ow, Index j) const { return ow * SW - PW + j * DW; }

    // Call f(k, position) for each element k of the kernel that meets (h, w) at some position.
    template <typename Function>
    __device__ void for_each_position(Index h, Index w, Function f) const {
        for (Index i = 0; i < KH; i++) {
            Index down = h + PH - i * DH;
            if (down < 0 || down % SH || down / SH >= OH) continue;
            for (Index j = 0; j < KW; j++) {
                Index right = w + PW - j * DW;
                if (right < 0 || right % SW || right / SW >= OW) continue;
                f(i * KW + j, down / SH * OW + right / SW);
            }
        }
    }
};

// x (planes, H, W) -> columns (planes, KH KW, OH OW), 0 in the padding.
extern "C" __global__ void unfold(const T* x, T* columns, Index planes, Index H, Index W, Index KH,
                                  Index KW, Index SH, Index SW, Index PH, Index PW, Index DH,
                                  Index DW, Index OH, Index OW) {
    Window window{H, W, KH, KW, SH, SW, PH, PW, DH, DW, OH, OW};
    FOR_EACH(at, planes * KH * KW * OH * OW) {
        Index ow = at % OW, oh = at / OW % OH, k = at / (OH * OW) % (KH * KW);
        Index plane = at / (OH * OW * KH * KW);
        Index h = window.line(oh, k / KW), w = window.column(ow, k % KW);
        bool inside = h >= 0 && h < H && w >= 0 && w < W;
        columns[at] = inside ? x[(plane * H + h) * W + w] : (T)0;
    }
}

// The sum of columns (planes, KH KW, OH OW) where `unfold` takes them from, plus a bias (channels,)
// or null: y (planes, H, W).
extern "C" __global__ void fold(const T* columns, const T* bias, T* y, Index planes, Index channels,
                                Index H, Index W, Index KH, Index KW, Index SH, Index SW, Index PH,
                                Index PW, Index DH, Index DW, Index OH, Index OW) {
    Window window{H, W, KH, KW, SH, SW, PH, PW, DH, DW, OH, OW};
    FOR_EACH(at, planes * H * W) {
        Index w = at % W, h = at / W % H, plane = at / (H * W);
        const T* in = columns + plane * KH * KW * OH * OW;
        T total = bias ? bias[plane % channels] : (T)0;
        window.for_each_position(h, w, [&](Index k, Index position) {
            total += in[k * OH * OW + position];
        });
        y[at] = total;
    }
}

// The largest element under the kernel, y (planes, OH, OW), and its place in the kernel: the first,
// or of NaN the last.
extern "C" __global__ void max_pooling(const T* x, T* y, Index* places, Index planes, Index H,
                                       Index W, Index KH, Index KW, Index SH, Index SW, Index PH,
                                       Index PW, Index DH, Index DW, Index OH, Index OW) {
    Window window{H, W, KH, KW, SH, SW, PH, PW, DH, DW, OH, OW};
    FOR_EACH(at, planes * OH * OW) {
        Index ow = at % OW, oh = at / OW % OH, plane = at / (OH * OW), place = -1;
        T largest = NEGATIVE_INFINITY;
        for (Index i = 0; i < KH; i++) {
            Index h = window.line(oh, i);
            if (h < 0 || h >= H) continue;
            for (Index j = 0; j < KW; j++) {
                Index w = window.column(ow, j);
                if (w < 0 || w >= W) continue;
                T value = x[(plane * H + h) * W + w];
                if (place < 0 || value > largest || value != value)
                    largest = value, place = i * KW + j;
            }
        }
        y[at] = largest;
        places[at] = place;
    }
}

extern "C" __global__ void max_pooling_gradient(const T* g, const Index* places, T* dx, Index planes,
                                                Index H, Index W, Index KH, Index KW, Index SH,
                                                Index SW, Index PH, Index PW, Index DH, Index DW,
                                                Index OH, Index OW) {
    Window window{H, W, KH, KW, SH, SW, PH, PW, DH, DW, OH, OW};
    FOR_EACH(at, planes * H * W) {
        Index w = at % W, h = at / W % H, start = at / (H * W) * OH * OW;
        T total = 0;
        window.for_each_position(h, w, [&](Index k, Index position) {
            if (places[start + position] == k) total += g[start + position];
        });
        dx[at] = total;
    }
}

// What the sum of the elements under the kernel is divided by: `divisor`, or if that is 0, how many
// there are in the image, or with `padded` in the padding too.
__device__ T elements_at(const Window& window, Index oh, Index ow, Index padded, T divisor) {
    if (divisor != 0) return divisor;
    Index more_lines = padded ? window.PH : 0, more_columns = padded ? window.PW : 0, lines = 0,
          columns = 0;
    for (Index i = 0; i < window.KH; i++) {
        Index h = window.line(oh, i);
        lines += h >= -more_lines && h < window.H + more_lines;
    }
    for (Index j = 0; j < window.KW; j++) {
        Index w = window.column(ow, j);
        columns += w >= -more_columns && w < window.W + more_columns;
    }
    return (T)(lines * columns);
}

// The mean of the elements under the kernel: y (planes, OH, OW).
extern "C" __global__ void average_pooling(const T* x, T* y, Index padded, T divisor, Index planes,
                                           Index H, Index W, Index KH, Index KW, Index SH, Index SW,
                                           Index PH, Index PW, Index DH, Index DW, Index OH,
                                           Index OW) {
    Window window{H, W, KH, KW, SH, SW, PH, PW, DH, DW, OH, OW};
    FOR_EACH(at, planes * OH * OW) {
        Index ow = at % OW, oh = at / OW % OH, plane = at / (OH * OW);
        T total = 0;
        for (Index i = 0; i < KH; i++) {
            Index h = window.line(oh, i);
            if (h < 0 || h >= H) continue;
            for (Index j = 0; j < KW; j++) {
                Index w = window.column(ow, j);
                if (w >= 0 && w < W) total += x[(plane * H + h) * W + w];
            }
        }
        y[at] = total / elements_at(window, oh, ow, padded, divisor);
    }
}

extern "C" __global__ void average_pooling_gradient(const T* g, T* dx, Index padded, T divisor,
                                                    Index planes, Index H, Index W, Index KH,
                                                    Index KW, Index SH, Index SW, Index PH, Index PW,
                                                    Index DH, Index DW, Index OH, Index OW) {
    Window window{H, W, KH, KW, SH, SW, PH, PW, DH, DW, OH, OW};
    FOR_EACH(at, planes * H * W) {
        Index w = at % W, h = at / W % H, start = at / (H * W) * OH * OW;
        T total = 0;
        window.for_each_position(h, w, [&](Index, Index position) {
            total += g[start + position] /
                     elements_at(window, position / OW, position % OW, padded, divisor);
        });
        dx[at] = total;
    }
}
