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
    # by a reader who had seen neither the lists nor the tests
    # 9.1
    Alternative("by counting", "9.1", new='''
def output_size(size, kernel, stride, padding, dilation, ceil_mode=False):
    covers, starts = dilation * (kernel - 1) + 1, [-padding]
    if not ceil_mode:
        return len(range(-padding, size + padding - covers + 1, stride))
    while starts[-1] + covers < size + padding:
        starts.append(starts[-1] + stride)
    return len([start for start in starts if start < size])
'''),
    Alternative("math.ceil and math.floor", "9.1", new='''
def output_size(size, kernel, stride, padding, dilation, ceil_mode=False):
    room = (size + 2 * padding - dilation * (kernel - 1) - 1) / stride
    count = 1 + (math.ceil(room) if ceil_mode else math.floor(room))
    return count - (ceil_mode and (count - 1) * stride >= size + padding)
'''),
    Alternative("stride - 1 for ceil", "9.1", "count = (-(-room // stride) if ceil_mode else room // stride) + 1", "count = (room + (stride - 1) * ceil_mode) // stride + 1"),
    # 9.2
    Alternative("a loop for each axis", "9.2", new='''
def convolve_with_loops(x, weight, stride=1):
    N, C, H, W = x.shape
    O, _, KH, KW = weight.shape
    OH = len(range(0, H - KH + 1, stride))
    OW = len(range(0, W - KW + 1, stride))
    y = np.zeros((N, O, OH, OW), x.dtype)
    for n in range(N):
        for o in range(O):
            for i in range(OH):
                for j in range(OW):
                    for c in range(C):
                        patch = x[n, c, i * stride : i * stride + KH, j * stride : j * stride + KW]
                        y[n, o, i, j] += (patch * weight[o, c]).sum()
    return y
'''),
    Alternative("output_size of 9.1", "9.2", "OH, OW = (H - KH) // stride + 1, (W - KW) // stride + 1", "OH, OW = output_size(H, KH, stride, 0, 1), output_size(W, KW, stride, 0, 1)"),
    Alternative("np.tensordot for all outputs", "9.2", "    for n, o, i, j in np.ndindex(N, O, OH, OW):\n        top, left = i * stride, j * stride\n        y[n, o, i, j] = np.sum(x[n, :, top : top + KH, left : left + KW] * weight[o])",
                "    for i, j in np.ndindex(OH, OW):\n        top, left = i * stride, j * stride\n        y[:, :, i, j] = np.tensordot(x[:, :, top : top + KH, left : left + KW], weight, axes=3 * [[]] and ([1, 2, 3], [1, 2, 3]))"),
    Alternative("np.vdot of copies", "9.2", "np.sum(x[n, :, top : top + KH, left : left + KW] * weight[o])", "np.vdot(x[n, :, top : top + KH, left : left + KW].copy(), weight[o])"),
    # 9.3
    Alternative("ends a stride later", "9.3", "yield ..., slice(i, i + (OH - 1) * SH + 1, SH), slice(j, j + (OW - 1) * SW + 1, SW)", "yield ..., slice(i, i + OH * SH, SH), slice(j, j + OW * SW, SW)"),
    Alternative("a list of keys", "9.3", new='''
def taps(window):
    keys = []
    for a in range(window.kernel[0]):
        for b in range(window.kernel[1]):
            begin = a * window.dilation[0], b * window.dilation[1]
            keys.append((..., *(slice(s, s + (n - 1) * step + 1, step) for s, n, step in zip(begin, window.output, window.stride))))
    return keys
'''),
    Alternative("divmod", "9.3", new='''
def taps(window):
    for k in range(math.prod(window.kernel)):
        a, b = divmod(k, window.kernel[1])
        top, left = a * window.dilation[0], b * window.dilation[1]
        (OH, OW), (SH, SW) = window.output, window.stride
        yield (Ellipsis, slice(top, top + SH * (OH - 1) + 1, SH), slice(left, left + SW * (OW - 1) + 1, SW))
'''),
    Alternative("stack last, then permute", "9.3", "    patches = xp.stack([padded[key] for key in taps(window)], axis=2)\n", "    patches = xp.permute_dims(xp.stack([padded[key] for key in taps(window)], axis=-1), (0, 1, 4, 2, 3))\n"),
    Alternative("reshape before stacking", "9.3", new='''
def unfold(xp, x, window):
    padded = pad_images(xp, x, window)
    flat = [xp.reshape(padded[key], (*x.shape[:2], -1)) for key in taps(window)]
    return xp.stack(flat, axis=2)
'''),
    Alternative("fold with +=", "9.3", "padded = xp.index_add(padded, key, patches[:, :, k, ...])", "padded[key] += patches[:, :, k]"),
    # 9.4
    Alternative("bias as (1, O, 1, 1)", "9.4", "xp.reshape(bias, (-1, 1, 1))", "xp.reshape(bias, (1, weight.shape[0], 1, 1))"),
    Alternative("bias before the maps have their shape", "9.4", "    y = xp.reshape(y, (x.shape[0], weight.shape[0], *window.output))\n    if bias is not None:\n        y = y + xp.reshape(bias, (-1, 1, 1))",
                "    if bias is not None:\n        y += xp.reshape(bias, (groups, -1, 1))\n    y = xp.reshape(y, (x.shape[0], weight.shape[0], *window.output))"),
    Alternative("arrays, not functions", "9.4", "return x_gradient, weight_gradient, lambda: xp.sum(g, axis=(0, 2, 3))", "return x_gradient(), weight_gradient(), xp.sum(g, axis=(0, 2, 3))"),
    Alternative("db from the rows", "9.4", "lambda: xp.sum(g, axis=(0, 2, 3))", "lambda: xp.reshape(xp.sum(rows, axis=(0, 3)), (weight.shape[0],))"),
    Alternative("einsum for dw", "9.4", "        products = rows @ xp.matrix_transpose(columns)  # (N, G, O / G, C / G * K)\n        return xp.reshape(xp.sum(products, axis=0), weight.shape)", "        return np.einsum('ngol,ngkl->gok', rows, columns).reshape(weight.shape)"),
    Alternative("one image after the other", "9.4", "        products = rows @ xp.matrix_transpose(columns)  # (N, G, O / G, C / G * K)\n        return xp.reshape(xp.sum(products, axis=0), weight.shape)",
                "        total = 0\n        for n in range(N):\n            total = total + rows[n] @ xp.matrix_transpose(columns[n])\n        return xp.reshape(total, weight.shape)"),
    # 9.5
    Alternative("by keywords", "9.5", "return conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)", "return conv2d(x, self.weight, bias=self.bias, groups=self.groups, dilation=self.dilation, stride=self.stride, padding=padding)"),
    Alternative("Flatten by reshape", "9.5", "return x.flatten(self.start_dim, self.end_dim)", "start, end = self.start_dim % x.ndim, self.end_dim % x.ndim\n        return x.reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])"),
    # 9.6
    Alternative("np.isnan", "9.6", "(value > y) | (value != value)", "np.isnan(value) | (value > y)"),
    Alternative("logical_or and where with numbers", "9.6", "        is_larger = (value > y) | (value != value)\n        y = xp.where(is_larger, value, y)\n        place = xp.where(is_larger, xp.full_like(place, k), place)",
                "        better = xp.logical_or(value > y, value != value)\n        y, place = xp.where(better, value, y), xp.where(better, k, place)"),
    Alternative("a copy of places, written into", "9.6", "        y = xp.where(is_larger, value, y)\n        place = xp.where(is_larger, xp.full_like(place, k), place)", "        y[is_larger] = value[is_larger]\n        place = place.copy()\n        place[is_larger] = k"),
    Alternative("zero as a number, and +=", "9.6", "padded = xp.index_add(padded, key, xp.where(place == k, g, xp.zeros_like(g)))", "padded[key] += xp.where(place == k, g, 0)"),
    Alternative("fold of shares", "9.6", "    padded = xp.zeros((*g.shape[:2], *padded_size(window)), dtype=g.dtype)\n    for k, key in enumerate(taps(window)):\n        padded = xp.index_add(padded, key, xp.where(place == k, g, xp.zeros_like(g)))\n    return unpad(padded, window)",
                "    shares = [xp.where(place == k, g, xp.zeros_like(g)) for k in range(math.prod(window.kernel))]\n    columns = xp.reshape(xp.stack(shares, axis=2), (*g.shape[:2], len(shares), -1))\n    return fold(xp, columns, window)"),
    # 9.7
    Alternative("the sum of a stack", "9.7", "    total = xp.zeros((*x.shape[:2], *window.output), dtype=x.dtype)\n    for key in taps(window):\n        total = total + padded[key]\n", "    total = xp.sum(xp.stack([padded[key] for key in taps(window)]), axis=0)\n"),
    Alternative("the sum of unfold", "9.7", "    padded = pad_images(xp, x, window)\n    total = xp.zeros((*x.shape[:2], *window.output), dtype=x.dtype)\n    for key in taps(window):\n        total = total + padded[key]\n",
                "    total = xp.reshape(xp.sum(unfold(xp, x, window), axis=2), (*x.shape[:2], *window.output))\n"),
    Alternative("an outer product of counts", "9.7", "xp.astype(xp.expand_dims(rows, axis=1) * columns, x.dtype)", "np.outer(rows, columns).astype(x.dtype)"),
    Alternative("added in place", "9.7", "total = total + padded[key]", "total += padded[key]"),
    Alternative("the gradient by fold", "9.7", "    share = g / count\n    padded = xp.zeros((*g.shape[:2], *padded_size(window)), dtype=g.dtype)\n    for key in taps(window):\n        padded = xp.index_add(padded, key, share)\n    return unpad(padded, window)",
                "    K = math.prod(window.kernel)\n    share = xp.reshape(g / count, (*g.shape[:2], 1, math.prod(window.output)))\n    return fold(xp, xp.broadcast_to(share, (*g.shape[:2], K, share.shape[-1])), window)"),
    # 9.8
    Alternative("NumPy's mean and var", "9.8", "    mean = _mean(xp, x, axes)  # (1, C, 1, ...)\n    centred = x - mean\n    variance = _mean(xp, centred * centred, axes)\n", "    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)\n    centred = x - mean\n"),
    Alternative("squares by a power", "9.8", "centred * centred, axes)", "centred**2, axes)"),
    Alternative("divided by the root", "9.8", "    normal = centred * scale\n", "    normal = centred / xp.sqrt(variance + eps)\n"),
    Alternative("shapes by hand", "9.8", "normal * xp.reshape(weight, mean.shape)", "normal * xp.reshape(weight, (1, C, *[1] * (x.ndim - 2)))"),
    # 9.9
    Alternative("an exponential average", "9.9", "kept += momentum * (now - kept)", "kept *= 1 - momentum\n            kept += momentum * now"),
    Alternative("one after the other", "9.9", new='''
def move_statistics(running, mean, variance, count, momentum):
    running_mean, running_variance = running
    if running_mean is not None:
        running_mean -= momentum * (running_mean - mean)
    if running_variance is not None:
        running_variance += momentum * (variance * count / (count - 1) - running_variance)
'''),
    Alternative("through data", "9.9", "kept += momentum * (now - kept)", "kept.data = kept + momentum * (now - kept)"),
    Alternative("shift from zero", "9.9", "-mean * scale if bias is None else bias - mean * scale", "(0 if bias is None else bias) - mean * scale"),
    Alternative("ones and zeros", "9.9", "    scale = (variance + eps) ** -0.5\n    scale = scale if weight is None else scale * weight\n", "    scale = (1 if weight is None else weight) / (variance + eps).sqrt()\n"),
]  # fmt: skip
