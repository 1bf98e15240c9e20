"""Lessons 01 and 06: reductions over one axis, several or all, each followed by its gradient."""

import builtins
import math
from operator import index
from typing import Any

from ..arguments import shown
from ..backends.arrays import Array, Axis, Namespace, Shape
from .op import op


def _axes(x: Array, axis: Axis) -> tuple[int, ...]:
    """`axis` as a tuple of non-negative axes; axis 0 or -1 of a scalar is no axis."""
    if axis is None:
        return tuple(range(x.ndim))
    if type(axis) is int and -x.ndim <= axis < x.ndim:
        return (axis % x.ndim,)
    axes = tuple(map(axis_index, axis if isinstance(axis, tuple | list) else (axis,)))
    if x.ndim == 0 and axes in ((0,), (-1,)):
        return ()
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise IndexError(f"axis {a} does not exist in a tensor of shape {x.shape}")
    if len({a % x.ndim for a in axes}) != len(axes):
        raise ValueError(f"axes {axes} contain an axis twice")
    return tuple(a % x.ndim for a in axes)


def axis_index(axis: Any) -> int:
    """The axis as a Python integer; a boolean is no axis, so that ``x.sum(True)`` is an error."""
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"an axis must be an integer, not {shown(axis)}; pass keepdims by name")
    return index(axis)


def _nonempty(name: str, x: Array, axis: Axis) -> tuple[int, ...]:
    """`_axes`, for a reduction that needs at least one value."""
    axes = _axes(x, axis)
    if _count(x, axes) == 0:
        where = "all axes" if axis is None else f"axis {axis}"
        raise ValueError(f"{name} over {where} of shape {x.shape} has no values to choose from")
    return axes


def nonempty_axis(name: str, x: Array, axis: int | None) -> int | None:
    """`axis` for argmax or argmin of x, which need at least one value."""
    axes = _nonempty(name, x, axis if axis is None else axis_index(axis))
    return axes[0] if axis is not None and axes else None


def _kept_shape(x: Array, axes: tuple[int, ...]) -> Shape:
    """The shape of x reduced over `axes` with keepdims."""
    return tuple(1 if a in axes else n for a, n in enumerate(x.shape))


def _count(x: Array, axes: tuple[int, ...]) -> int:
    """The number of elements of x that are reduced to one result."""
    return math.prod(x.shape[a] for a in axes)


@op(promote="sum")
def sum(xp: Namespace, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum over `axis`; integers and booleans are summed in int64, as in PyTorch."""
    axes = _axes(x, axis)
    y = xp.sum(x, axis=axes, keepdims=keepdims)
    return y, (_kept_shape(x, axes), x.shape)


@sum.gradient
def sum_gradient(xp: Namespace, g: Array, kept_shape: Shape, shape: Shape) -> Any:
    return xp.broadcast_to(xp.reshape(g, kept_shape), shape)


@op(promote="float")
def mean(xp: Namespace, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean over `axis`; NaN for no values."""
    axes = _axes(x, axis)
    count = _count(x, axes)
    y = _mean(xp, x, axes, keepdims)
    return y, (_kept_shape(x, axes), x.shape, count)


@mean.gradient
def mean_gradient(xp: Namespace, g: Array, kept_shape: Shape, shape: Shape, count: int) -> Any:
    return xp.broadcast_to(xp.reshape(g / count, kept_shape), shape)


def _mean(xp: Namespace, x: Array, axes: tuple[int, ...] = (-1,), keepdims: bool = True) -> Array:
    """The mean over `axes`; NumPy's would warn where there are no values."""
    if _count(x, axes) == 0:
        return xp.sum(x, axis=axes, keepdims=keepdims) * math.nan
    return xp.mean(x, axis=axes, keepdims=keepdims)


@op(promote="float")
def var(
    xp: Namespace, x: Array, *, axis: Axis = None, correction: float = 1, keepdims: bool = False
) -> Any:
    """The variance over `axis`: the sum of squares divided by count - correction.

    The default correction is 1, as in PyTorch; the array API's is 0. Too few values give NaN.
    """
    axes = _axes(x, axis)
    y, centred, divisor = _variance(xp, x, axes, correction)
    return _drop_axes(xp, y, axes, keepdims), (centred, y.shape, divisor)


@var.gradient
def var_gradient(xp: Namespace, g: Array, centred: Array, kept_shape: Shape, divisor: float) -> Any:
    return xp.reshape(g, kept_shape) * centred * (2 / divisor if divisor else math.inf)


@op(promote="float")
def std(
    xp: Namespace, x: Array, *, axis: Axis = None, correction: float = 1, keepdims: bool = False
) -> Any:
    """The standard deviation over `axis`, the root of `var`; its gradient at equal values is 0."""
    axes = _axes(x, axis)
    variance, centred, divisor = _variance(xp, x, axes, correction)
    y = xp.sqrt(variance)
    return _drop_axes(xp, y, axes, keepdims), (centred, y, divisor)


@std.gradient
def std_gradient(xp: Namespace, g: Array, centred: Array, y: Array, divisor: float) -> Any:
    slope = xp.reshape(g, y.shape) / (y * divisor)
    return xp.where(y == 0, xp.zeros_like(y), slope) * centred


def _variance(
    xp: Namespace, x: Array, axes: tuple[int, ...], correction: float
) -> tuple[Array, Array, float]:
    """The variance over `axes`, which are kept, x - mean, and the divisor count - correction."""
    centred = x - _mean(xp, x, axes)
    divisor = builtins.max(0.0, _count(x, axes) - float(correction))
    return xp.sum(centred * centred, axis=axes, keepdims=True) / divisor, centred, divisor


def _drop_axes(xp: Namespace, y: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """A reduction's result y without the axes of size 1, unless `keepdims`."""
    if keepdims:
        return y
    return xp.reshape(y, tuple(n for a, n in enumerate(y.shape) if a not in axes))


@op(promote="number")
def max(xp: Namespace, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest value over `axis`; equal values share the gradient evenly."""
    axes = _nonempty("max", x, axis)
    y = xp.max(x, axis=axes, keepdims=keepdims)
    return y, (x, xp.reshape(y, _kept_shape(x, axes)), axes)


@max.gradient
def max_gradient(xp: Namespace, g: Array, x: Array, y: Array, axes: tuple[int, ...]) -> Any:
    return _spread_evenly(xp, g, x, y, axes)


@op(promote="number")
def min(xp: Namespace, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest value over `axis`; equal values share the gradient evenly."""
    axes = _nonempty("min", x, axis)
    y = xp.min(x, axis=axes, keepdims=keepdims)
    return y, (x, xp.reshape(y, _kept_shape(x, axes)), axes)


@min.gradient
def min_gradient(xp: Namespace, g: Array, x: Array, y: Array, axes: tuple[int, ...]) -> Any:
    return _spread_evenly(xp, g, x, y, axes)


def _spread_evenly(xp: Namespace, g: Array, x: Array, y: Array, axes: tuple[int, ...]) -> Array:
    """g divided evenly among the elements of x that equal the reduced value y, or are NaN."""
    equal = xp.astype((x == y) | (x != x), g.dtype)
    return xp.reshape(g, y.shape) * equal / xp.sum(equal, axis=axes, keepdims=True)


@op(promote="float")
def logsumexp(xp: Namespace, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over `axis`, computed without overflow."""
    axes = _axes(x, axis)
    if _count(x, axes) == 0:
        y = xp.full(_kept_shape(x, axes), -math.inf, dtype=x.dtype)
        return _drop_axes(xp, y, axes, keepdims), (x, y)
    largest = xp.max(x, axis=axes, keepdims=True)
    largest = xp.where(xp.isfinite(largest), largest, xp.zeros_like(largest))
    y = xp.log(xp.sum(xp.exp(x - largest), axis=axes, keepdims=True)) + largest
    return _drop_axes(xp, y, axes, keepdims), (x, y)


@logsumexp.gradient
def logsumexp_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    return xp.reshape(g, y.shape) * xp.exp(x - y)


@op(promote="sum")
def cumsum(xp: Namespace, x: Array, *, axis: int) -> Any:
    """The cumulative sum along `axis`; integers and booleans are summed in int64."""
    axes = _axes(x, (axis,))
    return xp.cumulative_sum(x, axis=axes[0]) if axes else x + 0, (axes,)


@cumsum.gradient
def cumsum_gradient(xp: Namespace, g: Array, axes: tuple[int, ...]) -> Any:
    if not axes:
        return g
    return _sum_from(xp, g, axes[0])


@op(promote="sum")
def prod(xp: Namespace, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The product over `axis`; integers and booleans are multiplied in int64."""
    axes = _axes(x, axis)
    y = xp.prod(x, axis=axes, keepdims=keepdims)
    return y, (x, xp.reshape(y, _kept_shape(x, axes)), axes)


@prod.gradient
def prod_gradient(xp: Namespace, g: Array, x: Array, y: Array, axes: tuple[int, ...]) -> Any:
    # The product of the others: y / x, or where one element is 0, the product without it.
    zero: Any = x == 0
    ones = xp.ones_like(x)
    zeros = xp.sum(xp.astype(zero, x.dtype), axis=axes, keepdims=True)
    others = xp.prod(xp.where(zero, ones, x), axis=axes, keepdims=True)
    others = xp.where(
        zeros - xp.astype(zero, x.dtype) == 0, others / xp.where(zero, ones, x), 0 * x
    )
    return xp.reshape(g, y.shape) * others


@op(promote="sum")
def cumprod(xp: Namespace, x: Array, *, axis: int) -> Any:
    """The cumulative product along `axis`; integers and booleans are multiplied in int64."""
    axes = _axes(x, (axis,))
    return xp.cumulative_prod(x, axis=axes[0]) if axes else x + 0, (x, axes)


@cumprod.gradient
def cumprod_gradient(xp: Namespace, g: Array, x: Array, axes: tuple[int, ...]) -> Any:
    if not axes:
        return g
    (axis,) = axes
    # From the first 0 on, the products depend on this one element only, as if it were 1.
    zero: Any = xp.astype(x == 0, xp.int64)
    seen = xp.cumulative_sum(zero, axis=axis)
    first = (seen == 1) & (zero == 1)
    ones = xp.ones_like(x)
    before = _sum_from(xp, g * xp.cumulative_prod(x, axis=axis), axis) / xp.where(x == 0, ones, x)
    without = xp.cumulative_prod(xp.where(first, ones, x), axis=axis)
    at_zero = _sum_from(xp, g * without, axis)
    return xp.where(seen == 0, before, xp.where(first, at_zero, xp.zeros_like(g)))


def _sum_from(xp: Namespace, x: Array, axis: int) -> Array:
    """The sum of each element and all that follow it."""
    return xp.flip(xp.cumulative_sum(xp.flip(x, axis=axis), axis=axis), axis=axis)


@op(promote="float")
def vector_norm(
    xp: Namespace, x: Array, *, p: float = 2, axis: Axis = None, keepdims: bool = False
) -> Any:
    """sum(abs(x) ** p) ** (1 / p) over `axis`; the largest and the smallest abs(x) for +-infinity.

    The gradient is 0 where the norm is 0.
    """
    axes = _axes(x, axis)
    size = xp.abs(x)
    if _count(x, axes) == 0 and (p < 0 or p == math.inf):
        raise ValueError(f"the norm of order {p} needs at least one value, not shape {x.shape}")
    if p == math.inf:
        y = xp.max(size, axis=axes, keepdims=True)
    elif p == -math.inf:
        y = xp.min(size, axis=axes, keepdims=True)
    elif p == 0:
        y = xp.sum(xp.astype(x != 0, x.dtype), axis=axes, keepdims=True)
    elif p == 1:
        y = xp.sum(size, axis=axes, keepdims=True)
    elif p == 2:
        y = xp.sqrt(xp.sum(x * x, axis=axes, keepdims=True))
    else:
        y = xp.sum(size**p, axis=axes, keepdims=True) ** (1 / p)
    return _drop_axes(xp, y, axes, keepdims), (x, y, float(p), axes)


@vector_norm.gradient
def vector_norm_gradient(
    xp: Namespace, g: Array, x: Array, y: Array, p: float, axes: tuple[int, ...]
) -> Any:
    g = xp.reshape(g, y.shape)
    if p == 0:
        return 0 * g * x
    if p == 1:
        return g * xp.sign(x)
    if p in (math.inf, -math.inf):
        return _spread_evenly(xp, g, xp.abs(x), y, axes) * xp.sign(x)
    zero: Any = y == 0
    safe = xp.where(zero, xp.ones_like(y), y)
    if p == 2:
        return xp.where(zero, xp.zeros_like(g), g / safe) * x
    size = xp.abs(x)
    at_zero = size == 0
    power = xp.where(at_zero, size, xp.where(at_zero, xp.ones_like(size), size) ** (p - 1))
    return xp.where(zero, xp.zeros_like(g), g / safe ** (p - 1)) * power * xp.sign(x)
