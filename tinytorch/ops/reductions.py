"""Lessons 01 and 06: reductions over one axis, several or all, each followed by its gradient."""

import math
from typing import Any

from ..backends.arrays import Array, Axis, Namespace, Shape
from .op import op


def _axes(x: Array, axis: Axis) -> tuple[int, ...]:
    """`axis` as a tuple of non-negative axes."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise IndexError(f"axis {a} does not exist in a tensor of shape {x.shape}")
    if len({a % x.ndim for a in axes}) != len(axes):
        raise ValueError(f"axes {axes} contain an axis twice")
    return tuple(a % x.ndim for a in axes)


def _kept_shape(x: Array, axes: tuple[int, ...]) -> Shape:
    """The shape of x reduced over `axes` with keepdims."""
    return tuple(1 if a in axes else n for a, n in enumerate(x.shape))


def _count(x: Array, axes: tuple[int, ...]) -> int:
    """The number of elements of x that are reduced to one result."""
    return math.prod(x.shape[a] for a in axes)


@op
def sum(xp: Namespace, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum over `axis`; integers keep their dtype, booleans are summed as integers."""
    axes = _axes(x, axis)
    dtype = None if xp.isdtype(x.dtype, "bool") else x.dtype
    y = xp.sum(x, axis=axes, keepdims=keepdims, dtype=dtype)
    return y, (_kept_shape(x, axes), x.shape)


@sum.gradient
def sum_gradient(xp: Namespace, g: Array, kept_shape: Shape, shape: Shape) -> Any:
    return xp.broadcast_to(xp.reshape(g, kept_shape), shape)


@op
def mean(xp: Namespace, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean over `axis`."""
    axes = _axes(x, axis)
    y = xp.mean(x, axis=axes, keepdims=keepdims)
    return y, (_kept_shape(x, axes), x.shape, _count(x, axes))


@mean.gradient
def mean_gradient(xp: Namespace, g: Array, kept_shape: Shape, shape: Shape, count: int) -> Any:
    return xp.broadcast_to(xp.reshape(g / count, kept_shape), shape)


@op
def var(
    xp: Namespace, x: Array, *, axis: Axis = None, correction: float = 1, keepdims: bool = False
) -> Any:
    """The variance over `axis`: the sum of squares divided by count - correction.

    The default correction is 1, as in PyTorch; the array API's is 0.
    """
    axes = _axes(x, axis)
    centred = x - xp.mean(x, axis=axes, keepdims=True)
    divisor = _count(x, axes) - correction
    if divisor <= 0:
        raise ValueError(
            f"the variance of {_count(x, axes)} values needs a smaller correction than {correction}"
        )
    y = xp.sum(centred * centred, axis=axes, keepdims=keepdims) / divisor
    return y, (centred, _kept_shape(x, axes), divisor)


@var.gradient
def var_gradient(xp: Namespace, g: Array, centred: Array, kept_shape: Shape, divisor: float) -> Any:
    return xp.reshape(g, kept_shape) * centred * (2 / divisor)


@op
def max(xp: Namespace, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest value over `axis`; equal values share the gradient evenly."""
    axes = _axes(x, axis)
    y = xp.max(x, axis=axes, keepdims=keepdims)
    return y, (x, xp.reshape(y, _kept_shape(x, axes)), axes)


@max.gradient
def max_gradient(xp: Namespace, g: Array, x: Array, y: Array, axes: tuple[int, ...]) -> Any:
    return _spread_evenly(xp, g, x, y, axes)


@op
def min(xp: Namespace, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest value over `axis`; equal values share the gradient evenly."""
    axes = _axes(x, axis)
    y = xp.min(x, axis=axes, keepdims=keepdims)
    return y, (x, xp.reshape(y, _kept_shape(x, axes)), axes)


@min.gradient
def min_gradient(xp: Namespace, g: Array, x: Array, y: Array, axes: tuple[int, ...]) -> Any:
    return _spread_evenly(xp, g, x, y, axes)


def _spread_evenly(xp: Namespace, g: Array, x: Array, y: Array, axes: tuple[int, ...]) -> Array:
    """g divided evenly among the elements of x that equal the reduced value y."""
    equal = xp.astype(x == y, g.dtype)
    return xp.reshape(g, y.shape) * equal / xp.sum(equal, axis=axes, keepdims=True)


@op
def logsumexp(xp: Namespace, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over `axis`, computed without overflow."""
    axes = _axes(x, axis)
    largest = xp.max(x, axis=axes, keepdims=True)
    largest = xp.where(xp.isfinite(largest), largest, xp.zeros_like(largest))
    y = xp.log(xp.sum(xp.exp(x - largest), axis=axes, keepdims=True)) + largest
    shape = y.shape if keepdims else tuple(n for a, n in enumerate(x.shape) if a not in axes)
    return xp.reshape(y, shape), (x, y)


@logsumexp.gradient
def logsumexp_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    return xp.reshape(g, y.shape) * xp.exp(x - y)


@op
def cumsum(xp: Namespace, x: Array, *, axis: int) -> Any:
    """The cumulative sum along `axis`; integers are summed in 64 bits."""
    (axis,) = _axes(x, (axis,))
    return xp.cumulative_sum(x, axis=axis), (axis,)


@cumsum.gradient
def cumsum_gradient(xp: Namespace, g: Array, axis: int) -> Any:
    return xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis)
