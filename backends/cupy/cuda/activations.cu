// GELU, squared ReLU and SwiGLU of all elements, and their gradients.

extern "C" __global__ void gelu(const T* x, T* y, Index count) {
    map_elements(count, x, x, y, [](Index, T v, T) { return gelu_value(v); });
}

extern "C" __global__ void gelu_gradient(const T* g, const T* x, T* dx, Index count) {
    map_elements(count, g, x, dx, [](Index, T g, T v) { return g * gelu_derivative(v); });
}

extern "C" __global__ void squared_relu(const T* x, T* y, Index count) {
    map_elements(count, x, x, y, [](Index, T v, T) { return squared_relu_value(v); });
}

extern "C" __global__ void squared_relu_gradient(const T* g, const T* x, T* dx, Index count) {
    map_elements(count, g, x, dx, [](Index, T g, T v) { return g * squared_relu_derivative(v); });
}

// y = silu(gate) x
extern "C" __global__ void swiglu(const T* gate, const T* x, T* y, Index count) {
    map_elements(count, gate, x, y, [](Index, T a, T v) { return a * reciprocal((T)1 + exp(-a)) * v; });
}

// dgate = g x s (1 + gate (1 - s)) and dx = g gate s, with the sigmoid s of gate
extern "C" __global__ void swiglu_gradient(const T* g, const T* gate, const T* x, T* dgate, T* dx,
                                           Index count) {
    FOR_EACH(i, count) {
        T a = gate[i], s = reciprocal((T)1 + exp(-a));
        dgate[i] = g[i] * x[i] * s * ((T)1 + a * ((T)1 - s));
        dx[i] = g[i] * a * s;
    }
}
