// RMSNorm of each row of x (rows, size): y = x scale weight, where scale is the reciprocal of the
// root mean square. One warp per row; weight may be null.

extern "C" __global__ void rms_norm(const T* x, const T* weight, T* y, T* scale, Index rows,
                                    Index size, T eps) {
    FOR_EACH_ROW(row, rows) {
        const T* in = x + row * size;
        T squares = 0;
        FOR_EACH_LANE(j, size) squares += in[j] * in[j];
        T r = (T)1 / sqrt(warp_sum(squares) / size + eps);
        FOR_EACH_LANE(j, size) y[row * size + j] = weight ? in[j] * r * weight[j] : in[j] * r;
        if (threadIdx.x == 0) scale[row] = r;
    }
}

// dx = (d - x_hat mean(d x_hat)) scale, where d = g weight and x_hat = x scale; and g x_hat, whose
// sum over the rows is the gradient of the weight, unless that is null.
extern "C" __global__ void rms_norm_gradient(const T* g, const T* x, const T* weight,
                                             const T* scale, T* dx, T* products, Index rows,
                                             Index size) {
    FOR_EACH_ROW(row, rows) {
        Index at = row * size;
        T r = scale[row], sum = 0;
        FOR_EACH_LANE(j, size) {
            T product = g[at + j] * x[at + j] * r;
            if (products) products[at + j] = product;
            sum += weight ? product * weight[j] : product;
        }
        T slope = warp_sum(sum) / size;
        FOR_EACH_LANE(j, size) {
            T d = weight ? g[at + j] * weight[j] : g[at + j];
            dx[at + j] = (d - x[at + j] * r * slope) * r;
        }
    }
}
