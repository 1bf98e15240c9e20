"""Right solutions of lesson 09 that differ from the package's."""

from mistake import Alternative

ALTERNATIVES = [
    # 9.1
    Alternative("what the kernel covers", "9.1", new='''
def output_size(size, kernel, stride, padding, dilation, ceil_mode=False):
    covered = dilation * (kernel - 1) + 1
    steps, rest = divmod(size + 2 * padding - covered, stride)
    n = steps + 1 + (1 if rest and ceil_mode else 0)
    if ceil_mode and (n - 1) * stride >= size + padding:
        return n - 1
    return n
'''),
    Alternative("math.ceil", "9.1", "-(-room // stride) if", "math.ceil(room / stride) if"),
    Alternative("one formula, with stride - 1 more room", "9.1",
                "(-(-room // stride) if ceil_mode else room // stride)",
                "(room + (stride - 1 if ceil_mode else 0)) // stride"),
    Alternative("the drop by the start of the last position", "9.1", "(count - 1) * stride >= size + padding", "(count - 1) * stride - padding >= size"),
    # 9.2
    Alternative("four loops", "9.2", new='''
def convolve_with_loops(x, weight, stride=1):
    N, C, H, W = x.shape
    outs, _, KH, KW = weight.shape
    y = np.zeros((N, outs, (H - KH) // stride + 1, (W - KW) // stride + 1), x.dtype)
    for n in range(N):
        for o in range(outs):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    patch = x[n, :, i * stride : i * stride + KH, j * stride : j * stride + KW]
                    y[n, o, i, j] = np.sum(patch * weight[o])
    return y
'''),
    Alternative("seven loops", "9.2", new='''
def convolve_with_loops(x, weight, stride=1):
    (N, C, H, W), (outs, _, KH, KW) = x.shape, weight.shape
    y = np.zeros((N, outs, (H - KH) // stride + 1, (W - KW) // stride + 1), dtype=x.dtype)
    for n, o, i, j in np.ndindex(*y.shape):
        for c, a, b in np.ndindex(C, KH, KW):
            y[n, o, i, j] += x[n, c, i * stride + a, j * stride + b] * weight[o, c, a, b]
    return y
'''),
    Alternative("a dot product", "9.2", "np.sum(x[n, :, top : top + KH, left : left + KW] * weight[o])", "np.vdot(x[n, :, top : top + KH, left : left + KW], weight[o])"),
    # 9.3
    Alternative("the elements' numbers times the dilation", "9.3", new='''
def taps(window):
    for a in range(window.kernel[0]):
        for b in range(window.kernel[1]):
            key = [Ellipsis]
            for axis, element in enumerate((a, b)):
                begin, step = element * window.dilation[axis], window.stride[axis]
                key.append(slice(begin, begin + step * window.output[axis] - step + 1, step))
            yield tuple(key)
'''),
    Alternative("a list of taps", "9.3", new='''
def taps(window):
    (KH, KW), (DH, DW), (OH, OW), (SH, SW) = window.kernel, window.dilation, window.output, window.stride
    return [
        (..., slice(a * DH, a * DH + (OH - 1) * SH + 1, SH), slice(b * DW, b * DW + (OW - 1) * SW + 1, SW))
        for a in range(KH) for b in range(KW)
    ]
'''),
    Alternative("stacked in front, then moved", "9.3", new='''
def unfold(xp, x, window):
    image = pad_images(xp, x, window)
    stacked = xp.stack([image[key] for key in taps(window)])
    stacked = xp.permute_dims(stacked, (1, 2, 0, 3, 4))
    return xp.reshape(stacked, (x.shape[0], x.shape[1], stacked.shape[2], -1))
'''),
    Alternative("every tap flat", "9.3", new='''
def unfold(xp, x, window):
    image = pad_images(xp, x, window)
    flat = [xp.reshape(image[key], (*x.shape[:2], -1)) for key in taps(window)]
    return xp.stack(flat, axis=2)
'''),
    Alternative("each column is reshaped", "9.3", new='''
def fold(xp, columns, window):
    total = xp.zeros(columns.shape[:2] + padded_size(window), dtype=columns.dtype)
    for k, key in enumerate(taps(window)):
        part = xp.reshape(columns[:, :, k], columns.shape[:2] + window.output)
        total = xp.index_add(total, key, part)
    return unpad(total, window)
'''),
    # 9.4
    Alternative("the bias first", "9.4", "y = y + xp.reshape(bias, (-1, 1, 1))", "y = xp.reshape(bias, (1, -1, 1, 1)) + y"),
    Alternative("arrays instead of functions", "9.4", new='''
def convolution_gradient(xp, g, x, weight, window, groups):
    flat = grouped_rows(xp, g, groups)
    back = xp.matmul(xp.matrix_transpose(matrices(xp, weight, groups)), flat)
    back = xp.reshape(back, (x.shape[0], x.shape[1], math.prod(window.kernel), math.prod(window.output)))
    dw = xp.sum(flat @ xp.matrix_transpose(grouped_columns(xp, x, window, groups)), axis=0)
    return fold(xp, back, window), xp.reshape(dw, weight.shape), xp.sum(xp.sum(g, axis=(2, 3)), axis=0)
'''),
    Alternative("columns times rows, then transposed", "9.4", "products = rows @ xp.matrix_transpose(columns)", "products = xp.matrix_transpose(columns @ xp.matrix_transpose(rows))"),
    Alternative("a list of what is saved", "9.4", "return y, (x, weight, window, groups)", "return y, [x, weight, window, groups]"),
    # 9.5
    Alternative("arguments by name", "9.5", new='''
def forward(self, input):
    image, width = self.padded(input)
    return conv2d(image, self.weight, bias=self.bias, stride=self.stride, padding=width, dilation=self.dilation, groups=self.groups)
''', within="Conv2d"),
    Alternative("flatten by name", "9.5", "x.flatten(self.start_dim, self.end_dim)", "x.flatten(start_dim=self.start_dim, end_dim=self.end_dim)"),
    # 9.6
    Alternative("larger of two by maximum", "9.6", "y = xp.where(is_larger, value, y)", "y = xp.maximum(y, value)"),
    Alternative("isnan", "9.6", "(value != value)", "xp.isnan(value)"),
    Alternative("places of taps by where", "9.6", new='''
def max_pooling_gradient(xp, g, place, window):
    padded = xp.zeros((g.shape[0], g.shape[1]) + padded_size(window), dtype=g.dtype)
    zero = xp.zeros_like(g)
    for k, key in enumerate(taps(window)):
        xp.index_add(padded, key, xp.where(place != k, zero, g))
    return unpad(padded, window)
'''),
    # 9.7
    Alternative("one branch for each case", "9.7", new='''
def average_pooling(xp, x, *, window, count_include_pad=True, divisor=None):
    padded = pad_images(xp, x, window)
    first, *rest = [padded[key] for key in taps(window)]
    for tap in rest:
        first = first + tap
    if divisor is not None:
        return first / divisor, (divisor, window)
    rows = covered(xp, window, 0, count_include_pad)
    columns = covered(xp, window, 1, count_include_pad)
    count = xp.astype(xp.reshape(rows, (-1, 1)), x.dtype) * xp.astype(columns, x.dtype)
    return first / count, (count, window)
'''),
    Alternative("divided at each tap", "9.7", "padded = xp.index_add(padded, key, share)", "padded = xp.index_add(padded, key, g / count)"),
    # 9.8
    Alternative("a power", "9.8", "1 / xp.sqrt(variance + eps)", "(variance + eps) ** -0.5"),
    Alternative("means of NumPy's kind", "9.8", new='''
def batch_normalization(xp, x, weight=None, bias=None, *, eps):
    axes = tuple(a for a in range(x.ndim) if a != 1)
    shape = tuple(n if a == 1 else 1 for a, n in enumerate(x.shape))
    mean = xp.mean(x, axis=axes)
    variance = xp.mean((x - xp.reshape(mean, shape)) ** 2, axis=axes)
    scale = xp.reshape(1 / xp.sqrt(variance + eps), shape)
    normal = (x - xp.reshape(mean, shape)) * scale
    y = normal
    if weight is not None:
        y = y * xp.reshape(weight, shape)
    if bias is not None:
        y = y + xp.reshape(bias, shape)
    return (y, mean, variance), (normal, scale, weight)
'''),
    # 9.9
    Alternative("two branches", "9.9", new='''
def move_statistics(running, mean, variance, count, momentum):
    running_mean, running_variance = running
    if running_mean is not None:
        running_mean += momentum * (mean - running_mean)
    if running_variance is not None:
        running_variance += momentum * (variance * count / (count - 1) - running_variance)
'''),
    Alternative("a mixture, assigned in place", "9.9", "kept += momentum * (now - kept)", "kept[...] = (1 - momentum) * kept + momentum * now"),
    Alternative("a square root", "9.9", new='''
def scale_and_shift(mean, variance, weight, bias, eps):
    scale = 1 / (variance + eps).sqrt()
    if weight is not None:
        scale = weight * scale
    shift = -(mean * scale)
    if bias is not None:
        shift = shift + bias
    return scale, shift
'''),
]  # fmt: skip
