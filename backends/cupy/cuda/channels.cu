// Batch and group normalisation of images as lines (lines, size), where line l is of channel
// l % channels, and the bias of a convolution. One warp per line.
//
// The statistics of lines are combined to those of groups of lines. Batch norm has a group for each
// channel, group norm one for some neighbouring channels of each image: line l is in group
// l / divide % groups, and the lines of group q are first(q) + i step for i < count.
//
// The first element of a line is subtracted before the mean, as in layer_norm.cu.

// y (lines, size) += bias (channels,).
extern "C" __global__ void add_channel_bias(T* y, const T* bias, Index lines, Index size,
                                            Index channels) {
    FOR_EACH_ROW(line, lines) {
        T b = bias[line % channels];
        FOR_EACH_LANE(j, size) y[line * size + j] += b;
    }
}

// The sum of each line of x (lines, size).
extern "C" __global__ void line_sums(const T* x, T* sums, Index lines, Index size) {
    FOR_EACH_ROW(line, lines) {
        T total = 0;
        FOR_EACH_LANE(j, size) total += x[line * size + j];
        total = warp_sum(total);
        if (threadIdx.x == 0) sums[line] = total;
    }
}

// The mean of each line of x (lines, size), and its sum of squared deviations.
extern "C" __global__ void line_moments(const T* x, T* means, T* squares, Index lines, Index size) {
    FOR_EACH_ROW(line, lines) {
        const T* in = x + line * size;
        T first = in[0], total = 0, square = 0;
        FOR_EACH_LANE(j, size) total += in[j] - first;
        T m = warp_sum(total) / size;  // of the differences from the first
        FOR_EACH_LANE(j, size) square += (in[j] - first - m) * (in[j] - first - m);
        square = warp_sum(square);
        if (threadIdx.x == 0) means[line] = first + m, squares[line] = square;
    }
}

// Mean and variance of each group of `count` lines with `size` elements, one warp per group.
extern "C" __global__ void combine_moments(const T* means, const T* squares, T* mean, T* variance,
                                           Index groups, Index count, Index start_step, Index step,
                                           Index size) {
    FOR_EACH_ROW(group, groups) {
        Index start = group * start_step;
        T first = means[start], total = 0, square = 0;
        FOR_EACH_LANE(i, count) total += means[start + i * step] - first;
        T m = warp_sum(total) / count;
        FOR_EACH_LANE(i, count) {
            T deviation = means[start + i * step] - first - m;
            square += squares[start + i * step] + size * deviation * deviation;
        }
        square = warp_sum(square);
        if (threadIdx.x == 0) mean[group] = first + m, variance[group] = square / (size * count);
    }
}

// y = (x - mean) / sqrt(variance + eps) weight + bias; weight and bias (channels,) may be null.
extern "C" __global__ void normalize_lines(const T* x, const T* mean, const T* variance,
                                           const T* weight, const T* bias, T* y, Index lines,
                                           Index size, Index channels, Index divide, Index groups,
                                           T eps) {
    FOR_EACH_ROW(line, lines) {
        Index group = line / divide % groups, channel = line % channels;
        T m = mean[group], factor = (T)1 / sqrt(variance[group] + eps);
        if (weight) factor *= weight[channel];
        T shift = bias ? bias[channel] : (T)0;
        FOR_EACH_LANE(j, size) y[line * size + j] = (x[line * size + j] - m) * factor + shift;
    }
}

// The sums of g and of g x_hat for each line, where x_hat are the normalised values.
extern "C" __global__ void line_gradient_sums(const T* g, const T* x, const T* mean,
                                              const T* variance, T* sums, T* products, Index lines,
                                              Index size, Index divide, Index groups, T eps) {
    FOR_EACH_ROW(line, lines) {
        Index group = line / divide % groups;
        T m = mean[group], sum = 0, product = 0;
        FOR_EACH_LANE(j, size) {
            T value = g[line * size + j];
            sum += value;
            product += value * (x[line * size + j] - m);
        }
        sum = warp_sum(sum);
        product = warp_sum(product) / sqrt(variance[group] + eps);
        if (threadIdx.x == 0) sums[line] = sum, products[line] = product;
    }
}

// The sums of d = g weight and of d x_hat for each group, from those of g for each line.
extern "C" __global__ void combine_gradient_sums(const T* sums, const T* products, const T* weight,
                                                 T* group_sums, T* group_products, Index groups,
                                                 Index count, Index start_step, Index step,
                                                 Index channels) {
    FOR_EACH_ROW(group, groups) {
        T sum = 0, product = 0;
        FOR_EACH_LANE(i, count) {
            Index line = group * start_step + i * step;
            T w = weight ? weight[line % channels] : (T)1;
            sum += w * sums[line];
            product += w * products[line];
        }
        sum = warp_sum(sum);
        product = warp_sum(product);
        if (threadIdx.x == 0) group_sums[group] = sum, group_products[group] = product;
    }
}

// dx = (d - mean(d) - x_hat mean(d x_hat)) / sqrt(variance + eps), where d = g weight and the means
// are over the `elements` of a group.
extern "C" __global__ void normalize_lines_gradient(
    const T* g, const T* x, const T* mean, const T* variance, const T* weight, const T* group_sums,
    const T* group_products, T* dx, Index lines, Index size, Index channels, Index divide,
    Index groups, Index elements, T eps) {
    FOR_EACH_ROW(line, lines) {
        Index group = line / divide % groups;
        T m = mean[group], r = (T)1 / sqrt(variance[group] + eps);
        T w = weight ? weight[line % channels] : (T)1;
        T mean_d = group_sums[group] / elements, mean_dx = group_products[group] / elements;
        FOR_EACH_LANE(j, size) {
            T x_hat = (x[line * size + j] - m) * r;
            dx[line * size + j] = (g[line * size + j] * w - mean_d - x_hat * mean_dx) * r;
        }
    }
}
