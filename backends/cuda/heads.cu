// Attention's heads: between vectors side by side for each token and matrices for each head.
// A warp moves one vector of hs numbers.

// qkv (B, T, 3, nh, hs) -> heads (3, B, nh, T, hs), so that each of q, k, v is contiguous.
extern "C" __global__ void split_heads(const T* qkv, T* heads, Index batch, Index tokens,
                                       Index num_heads, Index size) {
    FOR_EACH_ROW(row, 3 * batch * num_heads * tokens) {
        Index t = row % tokens, h = row / tokens % num_heads;
        Index b = row / (tokens * num_heads) % batch, part = row / (tokens * num_heads * batch);
        Index from = ((b * tokens + t) * 3 + part) * num_heads + h;
        FOR_EACH_LANE(j, size) heads[row * size + j] = qkv[from * size + j];
    }
}

// The way back, from three arrays, of which those that are null count as zeros.
extern "C" __global__ void split_heads_gradient(const T* q, const T* k, const T* v, T* qkv,
                                                Index batch, Index tokens, Index num_heads,
                                                Index size) {
    FOR_EACH_ROW(row, batch * tokens * 3 * num_heads) {
        Index h = row % num_heads, part = row / num_heads % 3;
        Index t = row / (3 * num_heads) % tokens, b = row / (3 * num_heads * tokens);
        const T* from = part == 0 ? q : part == 1 ? k : v;
        Index at = (b * num_heads + h) * tokens + t;
        FOR_EACH_LANE(j, size) qkv[row * size + j] = from ? from[at * size + j] : (T)0;
    }
}

// x (A, N, M, size) -> y (A, M, N, size): merge_heads and its gradient.
extern "C" __global__ void swap_middle(const T* x, T* y, Index stacks, Index n, Index m,
                                       Index size) {
    FOR_EACH_ROW(row, stacks * n * m) {
        Index i = row % n, j = row / n % m, stack = row / (n * m);
        Index from = (stack * n + i) * m + j;
        FOR_EACH_LANE(e, size) y[row * size + e] = x[from * size + e];
    }
}

// Each pair (x[i], x[i + hs / 2]) of x (rows, hs) turned by the angle of its position row % T;
// the gradient turns back, with direction -1.
extern "C" __global__ void rotary(const T* x, const T* cosine, const T* sine, T* y, Index rows,
                                  Index tokens, Index half, T direction) {
    FOR_EACH_ROW(row, rows) {
        const T* in = x + row * 2 * half;
        T* out = y + row * 2 * half;
        Index angle = row % tokens * half;
        FOR_EACH_LANE(j, half) {
            T c = cosine[angle + j], s = sine[angle + j] * direction;
            T first = in[j], second = in[j + half];
            out[j] = first * c - second * s;
            out[j + half] = second * c + first * s;
        }
    }
}
