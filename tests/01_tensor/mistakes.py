"""Typical mistakes in lesson 01."""

from mistake import Mistake

MISTAKES = [
    # 1.1
    Mistake("the sum without what is saved", "1.1", "return x + y, ()", "return x + y"),
    Mistake("add saves its inputs", "1.1", "return x + y, ()", "return x + y, (x, y)"),
    Mistake("add writes into x", "1.1", "return x + y, ()", "x += y\n    return x, ()"),
    Mistake("subtract in the wrong order", "1.1", "return x - y", "return y - x"),
    Mistake("subtract adds", "1.1", "x - y, ()", "x + y, ()"),
    Mistake("multiply saves in the wrong order", "1.1", "x * y, (x, y)", "x * y, (y, x)"),
    Mistake("multiply saves nothing", "1.1", "x * y, (x, y)", "x * y, ()"),
    Mistake("multiply is a matrix product", "1.1", "x * y, (x, y)", "x @ y, (x, y)"),
    Mistake("the quotient is rounded down", "1.1", "return x / y", "return x // y"),
    Mistake("divide in the wrong order", "1.1", "return x / y", "return y / x"),
    Mistake("divide saves only y", "1.1", "x / y, (x, y)", "x / y, (y,)"),
    Mistake("divide computes in float64", "1.1", "return x / y", "return xp.astype(x, xp.float64) / y"),
    Mistake("negative is the reciprocal", "1.1", "return -x, ()", "return 1 / x, ()"),
    Mistake("negative of the absolute value", "1.1", "return -x, ()", "return -xp.abs(x), ()"),
    Mistake("negative saves x", "1.1", "return -x, ()", "return -x, (x,)"),
    Mistake("negative writes into x", "1.1", "return -x, ()", "x *= -1\n    return x, ()"),
    Mistake("multiply pairs the rows", "1.1", "return x * y, (x, y)", "return [a * b for a, b in zip(x, y)], (x, y)"),
    # 1.2
    Mistake("exp saves the input", "1.2", "y = xp.exp(x)\n    return y, (y,)", "y = xp.exp(x)\n    return y, (x,)"),
    Mistake("exp is expm1", "1.2", "xp.exp(x)", "xp.exp(x) - 1"),
    Mistake("2 to the power of x", "1.2", "xp.exp(x)", "2.0**x"),
    Mistake("the logarithm to base 2", "1.2", "xp.log(x), (x,)", "xp.log(x) / xp.log(2 * xp.ones_like(x)), (x,)"),
    Mistake("log saves the result", "1.2", "return xp.log(x), (x,)", "y = xp.log(x)\n    return y, (y,)"),
    Mistake("the comma of the tuple is missing", "1.2", "return xp.log(x), (x,)", "return xp.log(x), (x)"),
    Mistake("sqrt saves the input", "1.2", "y = xp.sqrt(x)\n    return y, (y,)", "y = xp.sqrt(x)\n    return y, (x,)"),
    Mistake("sqrt is a square", "1.2", "xp.sqrt(x)", "x * x"),
    Mistake("a bound of 0 is no bound", "1.2", new="""
def clip(xp, x, *, min=None, max=None):
    y = x
    if min:
        y = xp.where((y < min) | (min != min), xp.full_like(y, min), y)
    if max:
        y = xp.where((y > max) | (max != max), xp.full_like(y, max), y)
    return y, (x == y,)
"""),
    Mistake("bounds that are NaN are ignored", "1.2", new="""
def clip(xp, x, *, min=None, max=None):
    y = x
    if min is not None:
        y = xp.where(y < min, xp.full_like(y, min), y)
    if max is not None:
        y = xp.where(y > max, xp.full_like(y, max), y)
    return y, (x == y,)
"""),
    Mistake("only one of the bounds", "1.2", "    if max is not None", "    elif max is not None"),
    Mistake("the maximum first", "1.2", new="""
def clip(xp, x, *, min=None, max=None):
    y = x
    if max is not None:
        y = xp.where((y > max) | (max != max), xp.full_like(y, max), y)
    if min is not None:
        y = xp.where((y < min) | (min != min), xp.full_like(y, min), y)
    return y, (x == y,)
"""),
    Mistake("the second bound is applied to x", "1.2", "xp.full_like(y, max), y)", "xp.full_like(y, max), x)"),
    Mistake("NaN becomes the bound", "1.2", "(y < min) |", "~(y >= min) |"),
    Mistake("clip saves x", "1.2", "(x == y,)", "(x,)"),
    Mistake("clip saves what was changed", "1.2", "(x == y,)", "(x != y,)"),
    Mistake("casting ignores the dtype", "1.2", "xp.astype(x, getattr(xp, dtype) if isinstance(dtype, str) else dtype)", "x"),
    Mistake("casting to integers rounds", "1.2", "xp.astype(x,", "xp.astype(xp.round(x),"),
    Mistake("integers end at the largest", "1.2", new="""
def cast(xp, x, *, dtype):
    dtype = getattr(xp, dtype) if isinstance(dtype, str) else dtype
    if np.dtype(dtype).kind == "i":
        x = np.clip(x, np.iinfo(dtype).min, np.iinfo(dtype).max)
    return xp.astype(x, dtype), ()
"""),
    Mistake("only 1 and more is true", "1.2", new="""
def cast(xp, x, *, dtype):
    if dtype == "bool" or dtype == np.dtype(bool):
        x = xp.astype(x, xp.int64)
    return xp.astype(x, getattr(xp, dtype) if isinstance(dtype, str) else dtype), ()
"""),
    Mistake("the bits are kept, not the value", "1.2", "xp.astype(x, getattr(xp, dtype) if isinstance(dtype, str) else dtype)", "x.view(dtype)"),
    Mistake("cast keeps the old dtype", "1.2", "isinstance(dtype, str) else dtype), ()", "isinstance(dtype, str) else dtype), (x.dtype,)"),
    # 1.3
    Mistake("aligned on the left", "1.3", "(1,) * (ndim - len(shape)) + shape", "shape + (1,) * (ndim - len(shape))"),
    Mistake("the larger size, without an error", "1.3", new="""
def _broadcast(shapes):
    ndim = max(map(len, shapes), default=0)
    rows = [(1,) * (ndim - len(shape)) + shape for shape in shapes]
    return tuple(max(sizes) for sizes in zip(*rows))
"""),
    Mistake("size 0 loses against 1", "1.3", new="""
def _broadcast(shapes):
    ndim = max(map(len, shapes), default=0)
    rows = [(1,) * (ndim - len(shape)) + shape for shape in shapes]
    for sizes in zip(*rows):
        if len({n for n in sizes if n != 1}) > 1:
            raise ShapeError(f"{shapes} do not broadcast")
    return tuple(max(sizes) for sizes in zip(*rows))
"""),
    Mistake("only two shapes", "1.3", "for shape in shapes]\n", "for shape in shapes[:2]]\n"),
    Mistake("a list", "1.3", "return tuple(common)", "return common"),
    Mistake("no shapes are an error", "1.3", "max(map(len, shapes), default=0)", "max(map(len, shapes))"),
    Mistake("all sizes must be equal", "1.3", "if size != 1}", "}"),
    Mistake("an axis of only 1s disappears", "1.3", "common.append(others.pop() if others else 1)",
            "if others:\n            common.append(others.pop())"),
    # 1.4
    Mistake("kept shape without the 1s", "1.4", "tuple(1 if a in axes else n for a, n in enumerate(x.shape))",
            "tuple(n for a, n in enumerate(x.shape) if a not in axes)"),
    Mistake("kept shape the other way round", "1.4", "1 if a in axes else n", "n if a in axes else 1"),
    Mistake("the count adds sizes", "1.4", "math.prod(x.shape[a] for a in axes)", "sum(x.shape[a] for a in axes)"),
    Mistake("the count of all elements", "1.4", "math.prod(x.shape[a] for a in axes)", "math.prod(x.shape)"),
    Mistake("keepdims is ignored", "1.4", "return xp.mean(x, axis=axes, keepdims=keepdims)", "return xp.mean(x, axis=axes)"),
    Mistake("the mean over all axes", "1.4", "return xp.mean(x, axis=axes, keepdims=keepdims)",
            "return xp.mean(x, keepdims=keepdims)"),
    Mistake("the sum instead of the mean", "1.4", "return xp.mean(x,", "return xp.sum(x,"),
    Mistake("the mean of nothing is 0", "1.4", " * math.nan", ""),
    Mistake("the mean of nothing warns", "1.4", new="""
def _mean(xp, x, axes=(-1,), keepdims=True):
    return xp.mean(x, axis=axes, keepdims=keepdims)
"""),
    Mistake("mean saves its shape", "1.4", "(_kept_shape(x, axes), x.shape, count)", "(y.shape, x.shape, count)"),
    Mistake("mean does not save the count", "1.4", "x.shape, count)", "x.shape)"),
    Mistake("the correction is ignored", "1.4", "_count(x, axes) - float(correction)", "float(_count(x, axes))"),
    Mistake("the correction is added", "1.4", "_count(x, axes) - float(correction)", "_count(x, axes) + float(correction)"),
    Mistake("the divisor may be negative", "1.4", "builtins.max(0.0, _count(x, axes) - float(correction))",
            "_count(x, axes) - float(correction)"),
    Mistake("mean of squares minus square of the mean", "1.4", new="""
def _variance(xp, x, axes, correction):
    divisor = builtins.max(0.0, _count(x, axes) - float(correction))
    centre = _mean(xp, x, axes)
    squares = xp.sum(x * x, axis=axes, keepdims=True) - _count(x, axes) * centre * centre
    return squares / divisor, x - centre, divisor
"""),
    Mistake("absolute values instead of squares", "1.4", "xp.sum(centred * centred,", "xp.sum(xp.abs(centred),"),
    Mistake("the standard deviation", "1.4", "keepdims=True) / divisor, centred", "keepdims=True) ** 0.5 / divisor, centred"),
    Mistake("var keeps the axes", "1.4", "return _drop_axes(xp, y, axes, keepdims), (centred", "return y, (centred"),
    Mistake("var saves in another order", "1.4", "(centred, y.shape, divisor)", "(y.shape, centred, divisor)"),
    Mistake("the mean of the columns is subtracted", "1.4", "centred = x - _mean(xp, x, axes)", "centred = x - _mean(xp, x, (0,))"),
    Mistake("var squeezes all axes of size 1", "1.4", "return _drop_axes(xp, y, axes, keepdims)", "return y if keepdims else np.squeeze(y)"),
    # 1.5
    Mistake("elementwise", "1.5", "    return x @ y, (x, y)", "    return x * y, (x, y)"),
    Mistake("the order of the factors", "1.5", "    return x @ y, (x, y)", "    return y @ x, (x, y)"),
    Mistake("the transposed result", "1.5", "    return x @ y, (x, y)", "    return xp.matrix_transpose(x @ y), (x, y)"),
    Mistake("the rows are not reshaped back", "1.5", "xp.reshape(flat @ y, (*x.shape[:-1], y.shape[-1]))", "flat @ y"),
    Mistake("the result has x's last size", "1.5", "(*x.shape[:-1], y.shape[-1])", "x.shape"),
    Mistake("all products by rows", "1.5", "if y.ndim == 2 and x.ndim > 2:", "if x.ndim > 2:"),
    Mistake("the rows are saved", "1.5", "y.shape[-1])), (x, y)", "y.shape[-1])), (flat, y)"),
    Mistake("matmul saves nothing", "1.5", "    return x @ y, (x, y)", "    return x @ y, ()"),
    Mistake("rows with -1", "1.5", "(math.prod(x.shape[:-1]), x.shape[-1])", "(-1, x.shape[-1])"),
    Mistake("the first axis stays", "1.5", "(math.prod(x.shape[:-1]), x.shape[-1])", "(x.shape[0], math.prod(x.shape[1:]))"),
    Mistake("rows of columns", "1.5", "(math.prod(x.shape[:-1]), x.shape[-1])", "(x.shape[-1], math.prod(x.shape[:-1]))"),
    # 1.6
    Mistake("reshape saves the new shape", "1.6", "(x.shape,)", "(shape,)"),
    Mistake("reshape in the order of columns", "1.6", "xp.reshape(x, shape)",
            "xp.reshape(xp.permute_dims(x, tuple(range(x.ndim))[::-1]), shape)"),
    Mistake("reshape copies", "1.6", "xp.reshape(x, shape)", "xp.reshape(x, shape) + 0"),
    Mistake("-2 is inferred", "1.6", "< -1:", "< -2:"),
    Mistake("-1 is not inferred", "1.6", "< -1:", "< 0:"),
    Mistake("() has no smallest size", "1.6", "min(shape, default=0)", "min(shape)"),
    Mistake("the message lacks the shape of x", "1.6", "a tensor of shape {x.shape} cannot be reshaped to {shape}",
            "cannot reshape to {shape}"),
    Mistake("NumPy's error of reshape", "1.6", "    except ValueError:\n        raise ShapeError(f\"a tensor",
            "    except KeyError:\n        raise ShapeError(f\"a tensor"),
    Mistake("NumPy's error of permute", "1.6", "    except ValueError:\n        raise ShapeError(f\"{axes}",
            "    except KeyError:\n        raise ShapeError(f\"{axes}"),
    Mistake("the inverse permutation", "1.6", "xp.permute_dims(x, axes), (axes,)",
            "xp.permute_dims(x, tuple(sorted(range(x.ndim), key=lambda i: axes[i] % x.ndim))), (axes,)"),
    Mistake("permute reshapes", "1.6", "xp.permute_dims(x, axes)", "xp.reshape(x, tuple(x.shape[a] for a in axes))"),
    Mistake("permute saves the shape", "1.6", "axes), (axes,)", "axes), (x.shape,)"),
    # 1.7
    Mistake("NumPy's key, which loses the array of one number", "1.7", "xp.index(x, key)", "x[key]"),
    Mistake("indexing copies", "1.7", "xp.index(x, key)", "xp.asarray(xp.index(x, key), copy=True)"),
    Mistake("rows alone", "1.7", "xp.index(x, key)", "xp.index(x, key[0] if isinstance(key, tuple) else key)"),
    Mistake("rows and columns cross, instead of pairs", "1.7", "xp.index(x, key)",
            "xp.index(x, np.ix_(*key) if isinstance(key, tuple) and all(isinstance(k, np.ndarray) for k in key) else key)"),
    Mistake("take for all keys", "1.7", "xp.index(x, key)", "np.take(x, key)"),
    Mistake("integers keep their axis", "1.7", "xp.index(x, key)", "xp.index(x, [key] if isinstance(key, int) else key)"),
    Mistake("a mask is used as 0 and 1", "1.7", "xp.index(x, key)",
            "xp.index(x, key.astype(int) if getattr(key, 'dtype', None) == bool else key)"),
    Mistake("getitem keeps the shape of the result", "1.7", "return xp.index(x, key), (x.shape, key)", "y = xp.index(x, key)\n        return y, (y.shape, key)"),
    Mistake("getitem keeps only the key", "1.7", "(x.shape, key)", "(key,)"),
    Mistake("the shape is not in the message", "1.7", "x[key] with x of shape {tuple(x.shape)}: {error}", "{error}"),
    Mistake("the reason is not in the message", "1.7", "x[key] with x of shape {tuple(x.shape)}: {error}", "x[key] with x of shape {tuple(x.shape)}"),
    Mistake("an index beyond the end wraps around", "1.7", "xp.index(x, key)", "xp.index(x, key % len(x) if isinstance(key, int) else key)"),
    Mistake("concat stacks", "1.7", "xp.concat(arrays, axis=axis)", "xp.stack(arrays, axis=axis)"),
    Mistake("concat ignores the axis", "1.7", "xp.concat(arrays, axis=axis)", "xp.concat(arrays, axis=0)"),
    Mistake("concat saves the number of arrays", "1.7", "[a.shape[axis] for a in arrays]", "len(arrays)"),
    Mistake("concat saves the sizes of axis 0", "1.7", "[a.shape[axis] for a in arrays]", "[a.shape[0] for a in arrays]"),
    Mistake("stack concatenates", "1.7", "xp.stack(arrays, axis=axis)", "xp.concat(arrays, axis=axis)"),
    Mistake("stack ignores the axis", "1.7", "xp.stack(arrays, axis=axis)", "xp.stack(arrays, axis=0)"),
    Mistake("stack saves the arrays", "1.7", "(len(arrays), axis)", "(arrays, axis)"),
    Mistake("stack calls itself concat", "1.7", '_cannot_join("stack"', '_cannot_join("concat"'),
    Mistake("split does not check the sum", "1.7", " or sum(sizes) != x.shape[axis]", ""),
    Mistake("split accepts negative sizes", "1.7", "any(n < 0 for n in sizes) or ", ""),
    Mistake("a piece may not be empty", "1.7", "any(n < 0 for n in sizes)", "any(n <= 0 for n in sizes)"),
    Mistake("split does not save the shape", "1.7", "(x.shape, sizes, axis)", "(sizes, axis)"),
    Mistake("each piece begins at 0", "1.7", "        start += size\n", ""),
    Mistake("sizes are taken for positions", "1.7", "slice(start, start + size)", "slice(start, size)"),
    Mistake("always axis 0", "1.7", "(slice(None),) * (axis % x.ndim)", "()"),
    Mistake("a negative axis is axis 0", "1.7", "(axis % x.ndim)", "axis"),
    Mistake("a negative axis, off by one", "1.7", "(axis % x.ndim)", "(axis if axis >= 0 else x.ndim + axis - 1)"),
    Mistake("pieces are copies", "1.7", new="""
def _split(x, sizes, axis):
    pieces, start = [], 0
    for size in sizes:
        pieces.append(np.take(x, range(start, start + size), axis=axis))
        start += size
    return pieces
"""),
    # 1.8
    Mistake("the end is included", "1.8", "math.ceil((end - start) / step)", "math.floor((end - start) / step) + 1"),
    Mistake("rounded down", "1.8", "math.ceil(", "math.floor("),
    Mistake("the start is forgotten", "1.8", " * step + start", " * step"),
    Mistake("steps are added up", "1.8", new="""
def _steps(xp, start, end, step, whole):
    if whole:
        return xp.arange(start, end, step, dtype=xp.int64)
    numbers = []
    value = float(start)
    for _ in range(math.ceil((end - start) / step)):
        numbers.append(value)
        value += step
    return np.array(numbers, dtype=np.float64)
"""),
    Mistake("float32", "1.8", "dtype=xp.float64", "dtype=xp.float32"),
    Mistake("whole numbers are floats", "1.8", "step, dtype=xp.int64)", "step, dtype=xp.float64)"),
    Mistake("the step is ignored", "1.8", "xp.arange(start, end, step, dtype=xp.int64)", "xp.arange(start, end, 1, dtype=xp.int64)"),
    Mistake("arange with a step that is rounded", "1.8", new="""
def _steps(xp, start, end, step, whole):
    return xp.arange(start, end, step, dtype=xp.int64 if whole else xp.float64)
"""),
    # 1.9
    Mistake("5 - x is x - 5", "1.9", "return subtract(other, self)", "return subtract(self, other)"),
    Mistake("5 / x is x / 5", "1.9", "return divide(other, self)", "return divide(self, other)"),
    Mistake("x - 5 is 5 - x", "1.9", "return subtract(self, other)", "return subtract(other, self)"),
    Mistake("x / 5 is 5 / x", "1.9", "return divide(self, other)", "return divide(other, self)"),
    Mistake("the sum is a product", "1.9", "return add(self, other)", "return multiply(self, other)"),
    Mistake("3 + x is lost", "1.9", "return add(other, self)", "return NotImplemented"),
    Mistake("-x is x", "1.9", "return negative(self)", "return self"),
    Mistake("nothing is returned", "1.9", "return multiply(self, other)", "multiply(self, other)"),
    Mistake("an array is returned", "1.9", "return add(self, other)", "return self.numpy() + other"),
    Mistake("endless recursion", "1.9", "return multiply(self, other)", "return self * other"),
    Mistake("the sum of NumPy arrays", "1.9", within="Arithmetic", new="""
def __add__(self, other):
    return Tensor(self.numpy() + (other.numpy() if isinstance(other, Tensor) else other))
"""),
    Mistake("the negative writes into the tensor", "1.9", within="Arithmetic", new="""
def __neg__(self):
    self._array *= -1
    return self
"""),
]  # fmt: skip

EQUIVALENT: dict[str, str] = {
    '1.2 cast: always the second value in "getattr(xp, dtype) if isinstance(dtype, str) else dtype"': "NumPy accepts a dtype's name; array-api-strict does not, in the integration tests",
    '1.2 clip: < -> <= in "y < min"': "an element that equals the bound is replaced by the bound",
    '1.2 clip: > -> >= in "y > max"': "an element that equals the bound is replaced by the bound",
    '1.3 _broadcast: 0 -> 1 in "max(map(len, shapes), default=0)"': "nothing is repeated for no shapes, and () has no size below -1",
    '1.3 _broadcast: 0 -> -1 in "max(map(len, shapes), default=0)"': "nothing is repeated for no shapes, and () has no size below -1",
    '1.3 _broadcast: without strict=True in "zip(*rows, strict=True)"': "all rows have the same length",
    '1.3 _broadcast: True -> False in "zip(*rows, strict=True)"': "all rows have the same length",
    '1.4 _mean: * -> / in "xp.sum(x, axis=axes, keepdims=keepdims) * math.nan"': "the result is NaN either way",
    '1.4 _mean: * -> + in "xp.sum(x, axis=axes, keepdims=keepdims) * math.nan"': "the result is NaN either way",
    '1.4 _variance: arguments 0.0 and _count(x, axes) - float(correction) swapped in "builtins.max(0.0, _count(x, axes) - float(correction))"': "the maximum of two numbers has no order",
    '1.4 _variance: without the call of float in "float(correction)"': "an integer and a float of the same value divide alike",
    '1.5 matmul: without x.ndim > 2 in "y.ndim == 2 and x.ndim > 2"': "a matrix, or a vector, is one row or several, too",
    '1.5 matmul: > -> >= in "x.ndim > 2"': "a matrix is its own rows",
    '1.5 matmul: 2 -> 1 in "x.ndim > 2"': "a matrix, or a vector, is one row or several, too",
    '1.5 matmul: 2 -> 0 in "x.ndim > 2"': "a matrix, or a vector, is one row or several, too",
    '1.5 matmul: -1 -> 1 in "y.shape[-1]"': "y has two axes there",
    '1.6 reshape: 0 -> 1 in "min(shape, default=0)"': "nothing is repeated for no shapes, and () has no size below -1",
    '1.6 reshape: 0 -> -1 in "min(shape, default=0)"': "nothing is repeated for no shapes, and () has no size below -1",
    '1.7 concat: items ValueError and IndexError swapped in "(ValueError, IndexError)"': "the order in an except clause has no effect",
    '1.7 stack: items ValueError and IndexError swapped in "(ValueError, IndexError)"': "the order in an except clause has no effect",
    '1.8 _steps: without dtype=xp.int64 in "xp.arange(start, end, step, dtype=xp.int64)"': "int64 is the default of integers",
    '1.8 _steps: without the call of math.ceil in "math.ceil((end - start) / step)"': "arange rounds its end up",
    '1.8 _steps: without the argument 1 in "xp.arange(0, count, 1, dtype=xp.float64)"': "the step 1 is the default",
    '1.9 Arithmetic.__add__: arguments self and other swapped in "add(self, other)"': "sums and products have no order",
    '1.9 Arithmetic.__radd__: arguments other and self swapped in "add(other, self)"': "sums and products have no order",
    '1.9 Arithmetic.__mul__: arguments self and other swapped in "multiply(self, other)"': "sums and products have no order",
    '1.9 Arithmetic.__rmul__: arguments other and self swapped in "multiply(other, self)"': "sums and products have no order",
}
