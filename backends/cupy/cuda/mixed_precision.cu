// The elementwise parts of a transformer block in mixed precision: the residual stream x, parameters
// and sums in float32, everything between the products of a sublayer in bfloat16.
//
// A matrix has `rows` rows of `size` elements, a multiple of 8, and starts at a multiple of 16 bytes,
// so that a thread loads and stores 8 elements at a time. A block of (32, warps) has one warp for
// each row, in a grid-stride loop. Biases may be null.

#define FOR_EACH_EIGHT(j, size) for (Index j = threadIdx.x * 8; j < (size); j += 32 * 8)

const int EIGHTS = 4;  // that a lane keeps in registers: layer norms have at most 1024 elements

__device__ Eight bias_at(const T* bias, Index j) {
    return bias ? load_eight(bias + j) : Eight{};
}

// y = x, rounded; for weights. One element in 8 for each thread.
extern "C" __global__ void to_bf16(const T* x, Bf16* y, Index count) {
    FOR_EACH(i, count / 8) store_eight(y + 8 * i, load_eight(x + 8 * i));
}

// LayerNorm with a rounded result.
extern "C" __global__ void norm_to_bf16(const T* x, const T* weight, const T* bias, Bf16* y,
                                        T* mean, T* rstd, Index rows, Index size, T eps) {
    norm_in_registers<Eight, EIGHTS>(x, weight, bias, y, mean, rstd, rows, size, eps);
}

// dx = residual + the gradient of the norm, whose result has the gradient g. In the same pass each
// block sums over its rows the gradients of the weight and, if `has_bias`, of the bias: partial
// (blocks, 1 or 2, size).
extern "C" __global__ void norm_gradient_from_bf16(const Bf16* g, const T* residual, const T* x,
                                                   const T* weight, const T* mean, const T* rstd,
                                                   T* dx, T* partial, Index rows, Index size,
                                                   Index has_bias) {
    T* partial_bias = has_bias ? partial + size : nullptr;
    norm_gradient_in_registers<Eight, EIGHTS>(g, x, weight, mean, rstd, residual, dx, partial,
                                              partial_bias, (1 + has_bias) * size, rows, size);
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
