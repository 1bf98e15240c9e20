// The elementwise parts of a transformer block in mixed precision: the residual stream x, parameters
// and sums in float32, everything between the products of a sublayer in bfloat16.
//
// A matrix has `rows` rows of `size` elements, a multiple of 8, and starts at a multiple of 16 bytes,
// so that a thread loads and stores 8 elements at a time. A block of (32, warps) has one warp for
// each row, in a grid-stride loop. Biases may be null.

#define FOR_EACH_EIGHT(j, size) for (Index j = threadIdx.x * 8; j < (size); j += 32 * 8)

const int EIGHTS = 4;  // that a lane keeps in registers: layer norms have at most 1024 elements

// Loop over the elements of a row that a lane keeps in registers: number k starts at element j.
#define FOR_EACH_KEPT(k, j, size)                      \
    _Pragma("unroll") for (int k = 0; k < EIGHTS; k++) \
        if (Index j = (k * 32 + (int)threadIdx.x) * 8; j < (size))

__device__ Eight bias_at(const T* bias, Index j) {
    return bias ? load_eight(bias + j) : Eight{};
}

// y = x, rounded; for weights. One element in 8 for each thread.
extern "C" __global__ void to_bf16(const T* x, Bf16* y, Index count) {
    FOR_EACH(i, count / 8) store_eight(y + 8 * i, load_eight(x + 8 * i));
}

// LayerNorm, as in layer_norm.cu, with a rounded result.
extern "C" __global__ void norm_to_bf16(const T* x, const T* weight, const T* bias, Bf16* y,
                                        T* mean, T* rstd, Index rows, Index size, T eps) {
    FOR_EACH_ROW(row, rows) {
        Eight in[EIGHTS];
        T first = x[row * size], total = 0, squares = 0;
        FOR_EACH_KEPT(k, j, size) in[k] = load_eight(x + row * size + j);
        FOR_EACH_KEPT(k, j, size)
            for (T& value : in[k].at) total += value -= first;
        T m = warp_sum(total) / size;  // of the differences from the first
        FOR_EACH_KEPT(k, j, size)
            for (T value : in[k].at) squares += (value - m) * (value - m);
        T r = (T)1 / sqrt(warp_sum(squares) / size + eps);
        FOR_EACH_KEPT(k, j, size) {
            Eight w = load_eight(weight + j), b = bias_at(bias, j);
            for (int e = 0; e < 8; e++) w.at[e] = (in[k].at[e] - m) * r * w.at[e] + b.at[e];
            store_eight(y + row * size + j, w);
        }
        if (threadIdx.x == 0) mean[row] = first + m, rstd[row] = r;
    }
}

// Write the sum of `value` over the warps of a block, for each lane, to `place` unless it is null.
__device__ void store_sum_of_warps(const Eight& value, T* place) {
    const T* at = value.at;
    store_sum_of_warps(Pack<4>{at[0], at[1], at[2], at[3]}, place);
    store_sum_of_warps(Pack<4>{at[4], at[5], at[6], at[7]}, place ? place + 4 : nullptr);
}

// dx = residual + the gradient of the norm, whose result has the gradient g. In the same pass each
// block sums over its rows the gradients of the weight and, if `has_bias`, of the bias: partial
// (blocks, 1 or 2, size).
extern "C" __global__ void norm_gradient_from_bf16(const Bf16* g, const T* residual, const T* x,
                                                   const T* weight, const T* mean, const T* rstd,
                                                   T* dx, T* partial, Index rows, Index size,
                                                   Index has_bias) {
    Eight sum_w[EIGHTS] = {}, sum_b[EIGHTS] = {};
    FOR_EACH_ROW(row, rows) {
        Eight d[EIGHTS], x_hat[EIGHTS];
        T m = mean[row], r = rstd[row], sum_d = 0, sum_dx = 0;
        FOR_EACH_KEPT(k, j, size) {
            d[k] = load_eight(g + row * size + j);
            x_hat[k] = load_eight(x + row * size + j);
        }
        FOR_EACH_KEPT(k, j, size) {
            Eight w = load_eight(weight + j);
            for (int e = 0; e < 8; e++) {
                x_hat[k].at[e] = (x_hat[k].at[e] - m) * r;
                sum_w[k].at[e] += d[k].at[e] * x_hat[k].at[e];
                sum_b[k].at[e] += d[k].at[e];
                sum_d += d[k].at[e] *= w.at[e];
                sum_dx += d[k].at[e] * x_hat[k].at[e];
            }
        }
        T mean_d = warp_sum(sum_d) / size, mean_dx = warp_sum(sum_dx) / size;
        FOR_EACH_KEPT(k, j, size) {
            Eight more = load_eight(residual + row * size + j);
            for (int e = 0; e < 8; e++)
                more.at[e] += (d[k].at[e] - mean_d - x_hat[k].at[e] * mean_dx) * r;
            store_eight(dx + row * size + j, more);
        }
    }
    T* to = partial + blockIdx.x * (1 + has_bias) * size;
#pragma unroll
    for (int k = 0; k < EIGHTS; k++) {
        Index j = (k * 32 + (int)threadIdx.x) * 8;
        store_sum_of_warps(sum_w[k], j < size ? to + j : nullptr);
        if (has_bias) store_sum_of_warps(sum_b[k], j < size ? to + size + j : nullptr);
    }
}

// x += bias in every row, in place.
extern "C" __global__ void add_bias_to_bf16(Bf16* x, const T* bias, Index rows, Index size) {
    FOR_EACH_ROW(row, rows) {
        FOR_EACH_EIGHT(j, size) {
            Eight sum = load_eight(x + row * size + j), b = load_eight(bias + j);
            for (int e = 0; e < 8; e++) sum.at[e] += b.at[e];
            store_eight(x + row * size + j, sum);
        }
    }
}

// y = f(x + bias).
template <typename Function>
__device__ void activate(const Bf16* x, const T* bias, Bf16* y, Index rows, Index size,
                         Function f) {
    FOR_EACH_ROW(row, rows) {
        FOR_EACH_EIGHT(j, size) {
            Eight v = load_eight(x + row * size + j), b = bias_at(bias, j);
            for (int e = 0; e < 8; e++) v.at[e] = f(v.at[e] + b.at[e]);
            store_eight(y + row * size + j, v);
        }
    }
}

extern "C" __global__ void gelu_bf16(const Bf16* x, const T* bias, Bf16* y, Index rows,
                                     Index size) {
    activate(x, bias, y, rows, size, [](T v) { return gelu_value(v); });
}

extern "C" __global__ void squared_relu_bf16(const Bf16* x, const T* bias, Bf16* y, Index rows,
                                             Index size) {
    activate(x, bias, y, rows, size, [](T v) { return squared_relu_value(v); });
}

// g *= f(x + bias) in place, where f is the derivative of the activation.
template <typename Function>
__device__ void multiply_by_derivative(Bf16* g, const Bf16* x, const T* bias, Index rows,
                                       Index size, Function f) {
    FOR_EACH_ROW(row, rows) {
        FOR_EACH_EIGHT(j, size) {
            Index i = row * size + j;
            Eight d = load_eight(g + i), v = load_eight(x + i), b = bias_at(bias, j);
            for (int e = 0; e < 8; e++) d.at[e] *= f(v.at[e] + b.at[e]);
            store_eight(g + i, d);
        }
    }
}

extern "C" __global__ void gelu_gradient_bf16(Bf16* g, const Bf16* x, const T* bias, Index rows,
                                              Index size) {
    multiply_by_derivative(g, x, bias, rows, size, [](T v) { return gelu_derivative(v); });
}

extern "C" __global__ void squared_relu_gradient_bf16(Bf16* g, const Bf16* x, const T* bias,
                                                      Index rows, Index size) {
    multiply_by_derivative(g, x, bias, rows, size, [](T v) { return squared_relu_derivative(v); });
}

// y = residual + dropout(x + bias), with the mask of dropout.cu.
extern "C" __global__ void add_dropout(const Bf16* x, const T* bias, const T* residual, T* y,
                                       Index rows, Index size, const Index* key, Index offset,
                                       Index first, Bits threshold, T scale) {
    Seed seed(key, offset, first);
    FOR_EACH_ROW(row, rows) {
        FOR_EACH_EIGHT(j, size) {
            Index i = row * size + j;
            Eight sum = load_eight(residual + i), v = load_eight(x + i), b = bias_at(bias, j);
            for (int e = 0; e < 8; e++)
                if (!threshold || seed.bits_at(i + e) >= threshold)
                    sum.at[e] += (v.at[e] + b.at[e]) * scale;
            store_eight(y + i, sum);
        }
    }
}

// The gradient of x above: dropout(g), rounded.
extern "C" __global__ void dropout_to_bf16(const T* g, Bf16* dx, Index count, const Index* key,
                                           Index offset, Index first, Bits threshold, T scale) {
    Seed seed(key, offset, first);
    FOR_EACH(i, count / 8) {
        Eight d = load_eight(g + 8 * i);
        for (int e = 0; e < 8; e++)
            d.at[e] *= !threshold || seed.bits_at(8 * i + e) >= threshold ? scale : (T)0;
        store_eight(dx + 8 * i, d);
    }
}

// Rotate queries and keys in place, as in rotary.cu: qkv (rows, 3, nh, 2 half), where row r is token
// r % tokens; cosine and sine (tokens, half). One warp for each row.
extern "C" __global__ void rotary_bf16(Bf16* qkv, const T* cosine, const T* sine, Index rows,
                                       Index tokens, Index heads, Index half, T direction) {
    FOR_EACH_ROW(row, rows) {
        Index t = row % tokens * half;
        FOR_EACH_EIGHT(i, 2 * heads * half) {  // pairs of the queries, then of the keys
            Index vector = i / half, j = i % half;
            Bf16* at = qkv + (row * 3 * heads + vector) * 2 * half + j;
            Eight c = load_eight(cosine + t + j), s = load_eight(sine + t + j);
            Eight first = load_eight(at), second = load_eight(at + half);
            for (int e = 0; e < 8; e++) {
                T x = first.at[e], y = second.at[e], sign = s.at[e] * direction;
                first.at[e] = x * c.at[e] - y * sign;
                second.at[e] = y * c.at[e] + x * sign;
            }
            store_eight(at, first);
            store_eight(at + half, second);
        }
    }
}
