// GELU (tanh approximation) and squared ReLU. The gradients recompute what they need from x, which
// is faster than storing and loading it.

const double GELU_A = 0.044715, GELU_C = 0.7978845608028654;  // C = sqrt(2 / pi)

// The fast division is off by up to two units in the last place and flushes 1/x to zero for
// x > 2^126; an exact one would take longer than the memory accesses.
__device__ float reciprocal(float x) { return __fdividef(1.0f, x); }
__device__ double reciprocal(double x) { return 1.0 / x; }

// (1 + tanh(C (v + A v^3))) / 2, which approximates the normal CDF. Computed as a sigmoid, because
// 1 + tanh cancels for negative v.
__device__ T gelu_cdf(T v) {
    return reciprocal((T)1 + exp((T)(-2 * GELU_C) * (v + (T)GELU_A * v * v * v)));
}

extern "C" __global__ void gelu(const T* x, T* y, Index count) {
    map_elements(count, x, x, y, [](Index, T v, T) { return v * gelu_cdf(v); });
}

extern "C" __global__ void gelu_gradient(const T* g, const T* x, T* dx, Index count) {
    map_elements(count, g, x, dx, [](Index, T g, T v) {
        T cdf = gelu_cdf(v);
        T slope = (T)(2 * GELU_C) * ((T)1 + (T)(3 * GELU_A) * v * v);  // of the sigmoid's argument
        return g * (cdf + v * cdf * ((T)1 - cdf) * slope);
    });
}

extern "C" __global__ void squared_relu(const T* x, T* y, Index count) {
    map_elements(count, x, x, y, [](Index, T v, T) { return v < 0 ? (T)0 : v * v; });
}

extern "C" __global__ void squared_relu_gradient(const T* g, const T* x, T* dx, Index count) {
    map_elements(count, g, x, dx, [](Index, T g, T v) { return v < 0 ? (T)0 : (T)2 * v * g; });
}
