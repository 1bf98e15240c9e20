"""Right solutions of lesson 01 that differ from the package's."""

from mistake import Alternative

ALTERNATIVES = [
    # 1.1
    Alternative("subtract by adding", "1.1", "x - y, ()", "x + (-y), ()"),
    Alternative("nothing, as a list", "1.1", "return x + y, ()", "return x + y, []"),
    Alternative("negative as 0 - x", "1.1", "return -x, ()", "return 0 - x, ()"),
    Alternative("a name for the product", "1.1", "return x * y, (x, y)", "z = x * y\n    return z, (x, y)"),
    Alternative("functions instead of operators", "1.1", "return x + y, ()", "return np.add(x, y), ()"),
    # 1.2
    Alternative("NumPy's exp", "1.2", "y = xp.exp(x)", "y = np.exp(x)"),
    Alternative("log in two lines", "1.2", "return xp.log(x), (x,)", "y = xp.log(x)\n    return y, [x]"),
    Alternative("sqrt as a power", "1.2", "y = xp.sqrt(x)", "y = x**0.5"),
    Alternative("clip with minimum and maximum", "1.2", new="""
def clip(xp, x, *, min=None, max=None):
    y = x
    if min is not None:
        y = xp.maximum(y, xp.full_like(y, min))
    if max is not None:
        y = xp.minimum(y, xp.full_like(y, max))
    return y, (x == y,)
"""),
    Alternative("clip with math.isnan", "1.2", new="""
def clip(xp, x, *, min=None, max=None):
    for bound in (min, max):
        if bound is not None and math.isnan(bound):
            y = xp.full_like(x, math.nan)
            return y, (x == y,)
    y = xp.asarray(x, copy=True)
    if min is not None:
        y[y < min] = min
    if max is not None:
        y[y > max] = max
    return y, (x == y,)
"""),
    Alternative("cast in two steps", "1.2", new="""
def cast(xp, x, *, dtype):
    if isinstance(dtype, str):
        dtype = getattr(xp, dtype)
    return x.astype(dtype), ()
"""),
    Alternative("NumPy's dtypes by name", "1.2", "getattr(xp, dtype) if isinstance(dtype, str) else dtype", "np.dtype(dtype)"),
    # 1.3
    Alternative("from the right, in a loop", "1.3", new="""
def _broadcast(shapes):
    result = []
    for shape in shapes:
        for i, size in enumerate(reversed(shape)):
            if i == len(result):
                result.append(size)
            elif result[i] == 1:
                result[i] = size
            elif size not in (1, result[i]):
                raise ShapeError(f"{shapes} do not fit")
    return tuple(reversed(result))
"""),
    Alternative("NumPy's own", "1.3", new="""
def _broadcast(shapes):
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        raise ShapeError(f"{shapes}")
"""),
    Alternative("two by two", "1.3", new="""
def _broadcast(shapes):
    result = ()
    for shape in shapes:
        n = max(len(result), len(shape))
        a = (1,) * (n - len(result)) + tuple(result)
        b = (1,) * (n - len(shape)) + tuple(shape)
        if any(p != q and 1 not in (p, q) for p, q in zip(a, b)):
            raise ShapeError(f"{shapes} do not broadcast")
        result = tuple(q if p == 1 else p for p, q in zip(a, b))
    return result
"""),
    # 1.4
    Alternative("kept shape in a loop", "1.4", new="""
def _kept_shape(x, axes):
    shape = list(x.shape)
    for a in axes:
        shape[a] = 1
    return tuple(shape)
"""),
    Alternative("count in a loop", "1.4", new="""
def _count(x, axes):
    n = 1
    for a in axes:
        n *= x.shape[a]
    return n
"""),
    Alternative("sum over count", "1.4", new="""
def _mean(xp, x, axes=(-1,), keepdims=True):
    total, n = xp.sum(x, axis=axes, keepdims=keepdims), _count(x, axes)
    return total / n if n else total * math.nan
"""),
    Alternative("squares with **", "1.4", "xp.sum(centred * centred,", "xp.sum(centred**2,"),
    Alternative("max of the builtins, as a condition", "1.4", "builtins.max(0.0, _count(x, axes) - float(correction))",
                "_count(x, axes) - float(correction)\n    divisor = divisor if divisor > 0 else 0.0"),
    # 1.5
    Alternative("rows with the product in front", "1.5", new="""
def _rows(xp, x):
    n = 1
    for size in x.shape[:-1]:
        n *= size
    return xp.reshape(x, (n, x.shape[-1]))
"""),
    Alternative("the two cases the other way round", "1.5", new="""
def matmul(xp, x, y):
    if y.ndim != 2 or x.ndim <= 2:
        return x @ y, (x, y)
    rows = _rows(xp, x) @ y
    return xp.reshape(rows, x.shape[:-1] + (y.shape[1],)), (x, y)
"""),
    Alternative("xp.matmul", "1.5", "    return x @ y, (x, y)", "    return xp.matmul(x, y), (x, y)"),
    # 1.6
    Alternative("sizes are checked one by one", "1.6", "if min(shape, default=0) < -1:", "if any(n < -1 for n in shape):"),
    Alternative("a method of the array", "1.6", "xp.reshape(x, shape), (x.shape,)", "x.reshape(shape), (x.shape,)"),
    Alternative("transpose of the array", "1.6", "xp.permute_dims(x, axes)", "x.transpose(axes)"),
    # 1.7
    Alternative("the result has a name", "1.7", "return xp.index(x, key), (x.shape, key)", "chosen = xp.index(x, key)\n        return chosen, [x.shape, key]"),
    Alternative("NumPy's key, as an array", "1.7", "xp.index(x, key)", "x[key] if isinstance(x[key], np.ndarray) else x[(*key, ...)]"),
    Alternative("the message with +", "1.7", 'f"x[key] with x of shape {tuple(x.shape)}: {error}"', '"shape " + str(x.shape) + ": " + str(error)'),
    Alternative("sizes in a loop", "1.7", "([a.shape[axis] for a in arrays], axis)", "(list(map(lambda a: a.shape[axis], arrays)), axis)"),
    Alternative("np.split", "1.7", new="""
def _split(x, sizes, axis):
    return np.split(x, np.cumsum(np.array(sizes, dtype=int))[:-1], axis=axis)
"""),
    Alternative("slices made of a list", "1.7", new="""
def _split(x, sizes, axis):
    pieces, start = [], 0
    for size in sizes:
        key = [slice(None)] * x.ndim
        key[axis] = slice(start, start + size)
        pieces.append(x[tuple(key)])
        start = start + size
    return pieces
"""),
    Alternative("min of the sizes", "1.7", "any(n < 0 for n in sizes)", "min(sizes, default=0) < 0"),
    Alternative("stack of expanded arrays", "1.7", "return xp.stack(arrays, axis=axis), (len(arrays), axis)",
                "grown = [xp.expand_dims(a, axis=axis) for a in arrays]\n        return xp.concat(grown, axis=axis), (len(arrays), axis)"),
    # 1.8
    Alternative("a list of numbers", "1.8", new="""
def _steps(xp, start, end, step, whole):
    count = math.ceil((end - start) / step)
    return xp.asarray([start + i * step for i in range(count)], dtype=xp.int64 if whole else xp.float64)
"""),
    Alternative("start first", "1.8", "xp.arange(0, count, 1, dtype=xp.float64) * step + start", "start + step * xp.arange(0, count, 1, dtype=xp.float64)"),
    # 1.9
    Alternative("through other operators", "1.9", "return subtract(other, self)", "return add(other, negative(self))"),
    Alternative("the right side is the left side", "1.9", "return add(other, self)", "return add(self, other)"),
    Alternative("the product the other way round", "1.9", "return multiply(other, self)", "return self * other"),
]  # fmt: skip
