"""Pooling in NumPy: along the columns of images first, then along the lines.

A window of KH x KW elements takes KH + KW operations on whole blocks of images instead of KH * KW,
and those along the lines are on contiguous memory.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from .lifted import inside
from .rows import INTEGERS, keep_where
from .threads import parallel_long_blocks

KERNELS = KernelTable()


@KERNELS.forward
def max_pooling(xp: Namespace, x: Array, *, window: Any) -> Any:
    """(N, C, H, W) -> (N, C, OH, OW). Saves x, the maxima (N, C, H, OW) along columns, and y."""
    x = np.ascontiguousarray(x)
    N, C, H, _ = x.shape
    OH, OW = window.output
    between = np.empty((N, C, H, OW), x.dtype)
    y = np.empty((N, C, OH, OW), x.dtype)

    def work(i: int, j: int) -> None:
        _reduce(np.maximum, x[i:j], between[i:j], window, 1, -np.inf)
        _reduce(np.maximum, between[i:j], y[i:j], window, 0, -np.inf)

    parallel_long_blocks(work, N, x[:1].nbytes)
    if np.isnan(y.sum()):  # the place of NaN is that of the last one: see the reference
        return NotImplemented
    return y, (x, between, y, window)


@KERNELS.gradient(max_pooling)
def max_pooling_gradient(
    xp: Namespace, g: Array, x: Array, between: Array, y: Array, window: Any
) -> Any:
    dx = np.zeros_like(x)

    def work(i: int, j: int) -> None:
        d_between = np.zeros_like(between[i:j])
        _to_first(g[i:j], y[i:j], between[i:j], d_between, window, 0)
        _to_first(d_between, between[i:j], x[i:j], dx[i:j], window, 1)

    parallel_long_blocks(work, len(x), x[:1].nbytes)
    return dx


def _to_first(g: Array, y: Array, x: Array, dx: Array, window: Any, axis: int) -> None:
    """Add the gradient g of maxima y along one axis to dx, which is 0, where x first has them."""
    rest = g.copy()  # the gradients of maxima not yet found, 0 for others
    integer = INTEGERS[g.dtype.char]
    parts = [*_along(window, axis)]
    is_disjoint, is_inside = _is_disjoint(window, axis), _is_inside(window, axis)
    for k, (outer, inner) in enumerate(parts):
        if is_inside and k == len(parts) - 1:
            part = rest
        else:
            part = np.empty_like(rest[outer])
            keep_where(x[inner] == y[outer], rest[outer], part)
            bits = rest[outer].view(integer)
            bits -= part.view(integer)
        if is_disjoint:
            dx[inner] = part
        else:
            dx[inner] += part


@KERNELS.forward
def average_pooling(
    xp: Namespace,
    x: Array,
    *,
    window: Any,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Any:
    """(N, C, H, W) -> (N, C, OH, OW)."""
    N, C, _, W = x.shape
    OH, OW = window.output
    y = np.empty((N, C, OH, OW), x.dtype)
    share = _share(window, count_include_pad, divisor, x.dtype)

    def work(i: int, j: int) -> None:
        between = np.empty((j - i, C, OH, W), x.dtype)
        _reduce(np.add, x[i:j], between, window, 0, 0)
        _reduce(np.add, between, y[i:j], window, 1, 0)
        y[i:j] *= share

    parallel_long_blocks(work, N, x[:1].nbytes)
    return y, (share, x.shape, window)


@KERNELS.gradient(average_pooling)
def average_pooling_gradient(
    xp: Namespace, g: Array, share: Any, shape: tuple[int, ...], window: Any
) -> Any:
    dx = np.zeros(shape, g.dtype)

    def work(i: int, j: int) -> None:
        part = g[i:j] * share
        between = np.zeros((*part.shape[:3], shape[3]), g.dtype)  # (n, C, OH, W)
        _spread(part, between, window, 1)
        _spread(between, dx[i:j], window, 0)

    parallel_long_blocks(work, len(dx), dx[:1].nbytes)
    return dx


def _reduce(ufunc: Any, x: Array, out: Array, window: Any, axis: int, empty: float) -> None:
    """Write the sums or maxima of x in windows along one axis, or `empty`, to `out`."""
    parts = [*_along(window, axis)]
    if len(parts) > 1 and _is_inside(window, axis):
        (_, first), (_, second), *parts = parts
        ufunc(x[first], x[second], out=out)
    else:
        out[...] = empty
    for outer, inner in parts:
        ufunc(out[outer], x[inner], out=out[outer])


def _spread(g: Array, dx: Array, window: Any, axis: int) -> None:
    """Add g to the elements of dx, which is 0, in each window along one axis."""
    is_disjoint = _is_disjoint(window, axis)
    for outer, inner in _along(window, axis):
        if is_disjoint:
            dx[inner] = g[outer]
        else:
            dx[inner] += g[outer]


def _along(window: Any, axis: int) -> Iterator[tuple[Any, Any]]:
    """For each element of a kernel on one axis: the windows where it is inside, and it there.

    Both are keys of arrays (N, C, H, W).
    """
    size, kernel, stride, padding, dilation, output = (part[axis] for part in window)
    rest = (slice(None),) if axis == 0 else ()
    for k in range(kernel):
        at, inner = inside(size, output, stride, k * dilation - padding)
        yield (..., at, *rest), (..., inner, *rest)


def _is_disjoint(window: Any, axis: int) -> bool:
    """Whether each element of the image is in at most one window along an axis."""
    _, kernel, stride, _, dilation, _ = (part[axis] for part in window)
    return bool(stride > (kernel - 1) * dilation)


def _is_inside(window: Any, axis: int) -> bool:
    """Whether no window reaches into the padding of an axis."""
    size, kernel, stride, padding, dilation, output = (part[axis] for part in window)
    return bool(padding == 0 and (output - 1) * stride + (kernel - 1) * dilation < size)


def _share(window: Any, count_include_pad: bool, divisor: int | None, dtype: Any) -> Any:
    """What the sums are multiplied by: a number, or (OH, OW)."""
    if divisor is not None:
        return 1 / divisor
    counts = [_counts(window, axis, count_include_pad) for axis in (0, 1)]
    if all(np.all(c == c[0]) for c in counts):
        return 1 / int(counts[0][0] * counts[1][0])
    return (1 / np.outer(*counts)).astype(dtype)


def _counts(window: Any, axis: int, count_include_pad: bool) -> Array:
    """How many elements of the image, or of the padding too, a kernel covers on one axis."""
    size, kernel, stride, padding, _, output = (part[axis] for part in window)
    start = np.arange(output) * stride - padding
    outside = padding if count_include_pad else 0
    counts: Array = np.minimum(start + kernel, size + outside) - np.maximum(start, -outside)
    return counts
