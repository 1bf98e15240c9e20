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
from .rows import keep_where
from .threads import parallel_long_blocks

KERNELS = KernelTable()


@KERNELS.forward
def max_pooling(xp: Namespace, x: Array, *, window: Any) -> Any:
    """(N, C, H, W) -> (N, C, OH, OW). Saves x, the maxima (N, C, H, OW) along columns, and y."""
    x = np.ascontiguousarray(x)
    N, C, H, _ = x.shape
    OH, OW = window.output
    between = np.full((N, C, H, OW), -np.inf, x.dtype)
    y = np.full((N, C, OH, OW), -np.inf, x.dtype)

    def work(i: int, j: int) -> None:
        for at, inner in _along(window, 1):
            np.maximum(between[i:j, :, :, at], x[i:j, :, :, inner], out=between[i:j, :, :, at])
        for at, inner in _along(window, 0):
            np.maximum(y[i:j, :, at], between[i:j, :, inner], out=y[i:j, :, at])

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
    """Add the gradient g of maxima y along one axis to dx where x first has the maximum."""
    free = np.ones(y.shape, bool)  # maxima not yet found
    part = np.empty_like(g)
    rest = (slice(None),) if axis == 0 else ()
    for at, met in _along(window, axis):
        outer, inner = (..., at, *rest), (..., met, *rest)
        hit = x[inner] == y[outer]
        hit &= free[outer]
        free[outer] ^= hit
        keep_where(hit, g[outer], part[outer])
        dx[inner] += part[outer]


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
        between = np.zeros((j - i, C, OH, W), x.dtype)
        for at, inner in _along(window, 0):
            between[:, :, at] += x[i:j, :, inner]
        out = y[i:j]
        out[...] = 0
        for at, inner in _along(window, 1):
            out[..., at] += between[..., inner]
        out *= share

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
        for at, inner in _along(window, 1):
            between[..., inner] += part[..., at]
        for at, inner in _along(window, 0):
            dx[i:j, :, inner] += between[:, :, at]

    parallel_long_blocks(work, len(dx), dx[:1].nbytes)
    return dx


def _along(window: Any, axis: int) -> Iterator[tuple[slice, slice]]:
    """For each element of a kernel on one axis: where it is inside of the image, and there."""
    size, kernel, stride, padding, dilation, output = (part[axis] for part in window)
    for k in range(kernel):
        yield inside(size, output, stride, k * dilation - padding)


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
