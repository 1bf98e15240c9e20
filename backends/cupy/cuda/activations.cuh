// GELU (tanh approximation) and squared ReLU, with their derivatives, which recompute what they need
// from x: faster than storing and loading it.

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

__device__ T gelu_value(T v) { return v * gelu_cdf(v); }

__device__ T gelu_derivative(T v) {
    T cdf = gelu_cdf(v);
    T slope = (T)(2 * GELU_C) * ((T)1 + (T)(3 * GELU_A) * v * v);  // of the sigmoid's argument
    return cdf + v * cdf * ((T)1 - cdf) * slope;
}

__device__ T squared_relu_value(T v) { return v < 0 ? (T)0 : v * v; }

__device__ T squared_relu_derivative(T v) { return v < 0 ? (T)0 : (T)2 * v; }
