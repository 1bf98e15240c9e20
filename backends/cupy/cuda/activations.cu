// GELU and squared ReLU of all elements, and their gradients.

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
