// GELU (tanh approximation) and squared ReLU. The gradients compute the tangent anew: that is
// faster than to store and read it.

const double GELU_A = 0.044715, GELU_C = 0.7978845608028654;  // C = sqrt(2 / pi)

extern "C" __global__ void gelu(const T* x, T* y, Index count) {
    FOR_EACH(i, count) {
        T v = x[i];
        y[i] = (T)0.5 * v * ((T)1 + tanh((T)GELU_C * (v + (T)GELU_A * v * v * v)));
    }
}

extern "C" __global__ void gelu_gradient(const T* g, const T* x, T* dx, Index count) {
    FOR_EACH(i, count) {
        T v = x[i];
        T t = tanh((T)GELU_C * (v + (T)GELU_A * v * v * v));
        T slope = (T)GELU_C * ((T)1 + (T)(3 * GELU_A) * v * v);
        dx[i] = g[i] * (T)0.5 * ((T)1 + t + v * ((T)1 - t * t) * slope);
    }
}

extern "C" __global__ void squared_relu(const T* x, T* y, Index count) {
    FOR_EACH(i, count) {
        T v = x[i];
        y[i] = v < 0 ? (T)0 : v * v;
    }
}

extern "C" __global__ void squared_relu_gradient(const T* g, const T* x, T* dx, Index count) {
    FOR_EACH(i, count) {
        T v = x[i];
        dx[i] = v < 0 ? (T)0 : (T)2 * v * g[i];
    }
}
