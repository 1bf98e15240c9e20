"""Right solutions of lesson 02 that differ from the package's."""

from mistake import Alternative

ALTERNATIVES = [
    # 2.1
    Alternative(
        "a maximum, which keeps NaN",
        "2.1",
        new="""
def relu(xp, x):
    return xp.maximum(x, xp.zeros_like(x)), (x <= 0,)
""",
    ),
    Alternative(
        "the mask without a name",
        "2.1",
        new="""
def relu(xp, x):
    return xp.where(x <= 0, xp.zeros_like(x), x), (x <= 0,)
""",
    ),
    Alternative(
        "a copy with zeros written into it",
        "2.1",
        new="""
def relu(xp, x):
    off = x <= 0
    y = x.copy()
    y[off] = 0
    return y, [off]
""",
    ),
    Alternative(
        "zeros of the same shape and dtype",
        "2.1",
        "xp.zeros_like(x)",
        "xp.zeros(x.shape, dtype=x.dtype)",
    ),
    Alternative("a plain 0", "2.1", "xp.zeros_like(x)", "0"),
    # 2.2
    Alternative(
        "a maximum, then a power",
        "2.2",
        new="""
def squared_relu(xp, x):
    rectified = xp.maximum(x, xp.zeros_like(x))
    return rectified**2, (rectified,)
""",
    ),
    Alternative(
        "the rectified numbers times x",
        "2.2",
        new="""
def squared_relu(xp, x):
    off = x <= 0
    rectified = xp.where(off, xp.zeros_like(x), x)
    return xp.where(off, xp.zeros_like(x), x * x), (rectified,)
""",
    ),
    # 2.3
    Alternative(
        "two quotients that are both safe",
        "2.3",
        new="""
def sigmoid(xp, x):
    m = xp.exp(-xp.abs(x))
    y = xp.where(x < 0, m / (1 + m), 1 / (1 + m))
    return y, (y,)
""",
    ),
    Alternative(
        "a product with m",
        "2.3",
        new="""
def sigmoid(xp, x):
    m = xp.exp(xp.minimum(x, -x))
    above = 1 / (m + 1)
    y = xp.where(x >= 0, above, above * m)
    return y, (y,)
""",
    ),
    Alternative(
        "the exponential of the minimum of x and 0",
        "2.3",
        new="""
def sigmoid(xp, x):
    zero = xp.zeros_like(x)
    y = xp.exp(xp.minimum(x, zero)) / (1 + xp.exp(-xp.abs(x)))
    return y, (y,)
""",
    ),
    Alternative(
        "masks and assignments",
        "2.3",
        new="""
def sigmoid(xp, x):
    y = xp.zeros_like(x)
    low = x < 0
    e = xp.exp(x[low])
    y[low] = e / (1 + e)
    y[~low] = 1 / (1 + xp.exp(-x[~low]))
    return y, (y,)
""",
    ),
    # 2.4
    Alternative(
        "one exponential of a negative number",
        "2.4",
        new="""
def tanh(xp, x):
    m = xp.exp(-2 * xp.abs(x))
    y = xp.sign(x) * (1 - m) / (1 + m)
    return y, (y,)
""",
    ),
    Alternative("the result in a list", "2.4", "return y, (y,)", "return y, [y]"),
    # 2.5
    Alternative(
        "the identity written out",
        "2.5",
        new="""
def softplus(xp, x):
    y = xp.maximum(x, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(x)))
    return y, (y,)
""",
    ),
    Alternative(
        "the identity with a plain logarithm",
        "2.5",
        new="""
def softplus(xp, x):
    y = xp.where(x > 0, x, xp.zeros_like(x)) + xp.log(1 + xp.exp(-xp.abs(x)))
    return y, (y,)
""",
    ),
    Alternative(
        "the other order",
        "2.5",
        "xp.logaddexp(x, xp.zeros_like(x))",
        "xp.logaddexp(xp.zeros_like(x), x)",
    ),
    Alternative("a plain 0", "2.5", "xp.zeros_like(x)", "0"),
    # 2.6
    Alternative("powers", "2.6", "x * x * x", "x**3"),
    Alternative(
        "x factored out", "2.6", "(x + 0.044715 * x * x * x)", "x * (1 + 0.044715 * x * x)"
    ),
    Alternative("the root as a power", "2.6", "math.sqrt(2 / math.pi)", "(2 / math.pi) ** 0.5"),
    Alternative("one constant as a number", "2.6", "math.sqrt(2 / math.pi)", "0.7978845608028654"),
    Alternative("a half of the sum", "2.6", "0.5 * x * (1 + t)", "(x + x * t) / 2"),
    # 2.7
    Alternative(
        "infinities of both signs are replaced",
        "2.7",
        new="""
def softmax_array(xp, x, axis=-1):
    if not x.size:
        return x * 1
    top = xp.max(x, axis=axis, keepdims=True)
    top = xp.where(xp.isinf(top), xp.zeros_like(top), top)
    e = xp.exp(x - top)
    s = xp.sum(e, axis=axis, keepdims=True)
    s = xp.where(s > 0, s, xp.where(s == 0, xp.ones_like(s), s))
    return e / s
""",
    ),
    Alternative(
        "the exponential of a logarithm",
        "2.7",
        new="""
def softmax_array(xp, x, axis=-1):
    if x.size == 0:
        return xp.zeros_like(x)
    top = xp.max(x, axis=axis, keepdims=True)
    shifted = x - xp.where(top == -math.inf, xp.zeros_like(top), top)
    total = xp.sum(xp.exp(shifted), axis=axis, keepdims=True)
    return xp.exp(shifted - xp.log(xp.where(total == 0, xp.ones_like(total), total)))
""",
    ),
    Alternative(
        "the product with the reciprocal",
        "2.7",
        "return weights / xp.where(total == 0, xp.ones_like(total), total)",
        "return weights * (1 / xp.where(total == 0, xp.ones_like(total), total))",
    ),
    Alternative(
        "methods of the array",
        "2.7",
        "xp.max(x, axis=axis, keepdims=True)",
        "x.max(axis=axis, keepdims=True)",
    ),
    Alternative(
        "plain numbers",
        "2.7",
        new="""
def softmax_array(xp, x, axis=-1):
    if x.size == 0:
        return xp.zeros_like(x)
    largest = xp.max(x, axis=axis, keepdims=True)
    shares = xp.exp(x - xp.where(largest == -math.inf, 0.0, largest))
    total = xp.sum(shares, axis=axis, keepdims=True)
    return shares / xp.where(total == 0, 1.0, total)
""",
    ),
    # 2.8
    Alternative("always a tuple of axes", "2.8", "axes[0] if len(axes) == 1 else axes", "axes"),
    Alternative(
        "the axes unchanged after the check",
        "2.8",
        new="""
def softmax(xp, x, *, axis=-1):
    axes = _axes(x, axis)
    return (y := softmax_array(xp, x, axes)), (y, axes)
""",
    ),
    # 2.9
    Alternative(
        "log-sum-exp with the maximum added again",
        "2.9",
        new="""
def log_softmax(xp, x, *, axis=-1):
    axes = _axes(x, axis)
    if x.size == 0:
        return xp.zeros_like(x), (x, axes)
    top = xp.max(x, axis=axes, keepdims=True)
    y = (x - top) - xp.log(xp.sum(xp.exp(x - top), axis=axes, keepdims=True))
    return y, (y, axes)
""",
    ),
    Alternative(
        "one axis as a number",
        "2.9",
        new="""
def log_softmax(xp, x, *, axis=-1):
    along = _axes(x, axis)
    if len(along) == 1:
        along = along[0]
    if 0 in x.shape:
        return xp.zeros_like(x), (xp.zeros_like(x), along)
    s = x - xp.max(x, axis=along, keepdims=True)
    y = s - xp.log(xp.sum(xp.exp(s), axis=along, keepdims=True))
    return y, (y, along)
""",
    ),
    Alternative(
        "x minus its log-sum-exp",
        "2.9",
        new="""
def log_softmax(xp, x, *, axis=-1):
    axes = _axes(x, axis)
    if x.size == 0:
        return xp.zeros_like(x), (x, axes)
    m = xp.max(x, axis=axes, keepdims=True)
    y = x - (m + xp.log(xp.sum(xp.exp(x - m), axis=axes, keepdims=True)))
    return y, (y, axes)
""",
    ),
    Alternative(
        "NumPy's logaddexp, axis by axis",
        "2.9",
        new="""
def log_softmax(xp, x, *, axis=-1):
    axes = _axes(x, axis)
    if x.size == 0:
        return xp.zeros_like(x), (x, axes)
    total = x
    for a in axes:
        total = np.logaddexp.reduce(total, axis=a, keepdims=True)
    y = x - total
    return y, (y, axes)
""",
    ),
]
