"""Batch and group normalisation in NumPy, on images as lines (N * C, H * W).

The statistics of each line are combined to those of a channel or a group, so that the images are
read twice: for the statistics, and for the result. Deviations are computed before they are squared,
in a block that is in the cache; a large mean costs no digits.
"""

import math
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from .rows import constant_column
from .threads import parallel_blocks

KERNELS = KernelTable()


@KERNELS.forward
def batch_normalization(
    xp: Namespace, x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float
) -> Any:
    """x (N, C, ...) -> y, mean and variance (C,). Saves x, the mean and 1 / deviation."""
    if not x.size:
        return NotImplemented
    N, C = x.shape[:2]
    lines = _lines(x)  # (N * C, size)
    means, squares = _moments(lines)
    mean, variance = _combined(means.reshape(N, C), squares.reshape(N, C), lines.shape[1])
    scale = 1 / np.sqrt(variance + eps)
    factor = scale if weight is None else scale * weight
    shift = None if bias is None else _repeated(bias, N, x.dtype)
    y = _scaled(lines, _repeated(mean, N, x.dtype), _repeated(factor, N, x.dtype), shift)
    statistics = mean.astype(x.dtype), variance.astype(x.dtype)
    return (y.reshape(x.shape), *statistics), (x, mean, scale, weight)


@KERNELS.gradient(batch_normalization)
def batch_normalization_gradient(
    xp: Namespace, gs: Any, x: Array, mean: Array, scale: Array, weight: Array | None
) -> Any:
    g, g_mean, g_variance = gs
    (N, C), count = x.shape[:2], x.size // x.shape[1]
    lines = _lines(x)
    gradient = np.zeros_like(lines) if g is None else _lines(g)
    sums, products = _gradient_sums(gradient, lines, _repeated(mean, N, x.dtype))
    d_bias = sums.reshape(N, C).sum(axis=0)
    d_weight = products.reshape(N, C).sum(axis=0) * scale

    def x_gradient() -> Array:
        # dx = factor g + slope (x - mean) + shift
        factor = scale if weight is None else scale * weight
        slope, shift = -factor * scale * d_weight / count, -factor * d_bias / count
        if g_mean is not None:
            shift = shift + g_mean / count
        if g_variance is not None:
            slope = slope + g_variance * (2 / count)
        given = (_repeated(v, N, x.dtype) for v in (mean, slope, shift, factor))
        return _gradient_of_lines(gradient, lines, *given).reshape(x.shape)

    return x_gradient, lambda: d_weight.astype(x.dtype), lambda: d_bias.astype(x.dtype)


@KERNELS.forward
def group_normalization(
    xp: Namespace,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    num_groups: int,
    eps: float,
) -> Any:
    """x (N, C, ...) -> y. Saves x, and for each line the mean and 1 / deviation."""
    if not x.size:
        return NotImplemented
    N, C = x.shape[:2]
    lines = _lines(x)
    means, squares = (v.reshape(N * num_groups, -1).T for v in _moments(lines))
    mean, variance = _combined(means, squares, lines.shape[1])  # (N * groups,)
    per_group = C // num_groups
    mean = np.repeat(mean, per_group)
    scale = np.repeat(1 / np.sqrt(variance + eps), per_group)  # (N * C,)
    factor = scale if weight is None else scale * np.tile(weight, N)
    shift = None if bias is None else _repeated(bias, N, x.dtype)
    y = _scaled(lines, _column(mean, x.dtype), _column(factor, x.dtype), shift)
    return y.reshape(x.shape), (x, mean, scale, weight, num_groups)


@KERNELS.gradient(group_normalization)
def group_normalization_gradient(
    xp: Namespace,
    g: Array,
    x: Array,
    mean: Array,
    scale: Array,
    weight: Array | None,
    num_groups: int,
) -> Any:
    (N, C), count = x.shape[:2], math.prod(x.shape[1:]) // num_groups
    lines, gradient = _lines(x), _lines(g)
    sums, products = _gradient_sums(gradient, lines, _column(mean, x.dtype))
    weights = np.ones(N * C) if weight is None else np.tile(weight, N)

    def x_gradient() -> Array:
        def group_sums(values: Array) -> Array:
            total = (values * weights).reshape(N * num_groups, -1).sum(axis=1)
            return np.repeat(total, C // num_groups)

        slope = -(scale**3) * group_sums(products) / count
        shift = -scale * group_sums(sums) / count
        given = (_column(v, x.dtype) for v in (mean, slope, shift, scale * weights))
        return _gradient_of_lines(gradient, lines, *given).reshape(x.shape)

    return (
        x_gradient,
        lambda: (products * scale).reshape(N, C).sum(axis=0).astype(x.dtype),
        lambda: sums.reshape(N, C).sum(axis=0).astype(x.dtype),
    )


def _lines(x: Array) -> Array:
    """x (N, C, ...) as (N * C, size)."""
    return np.ascontiguousarray(x).reshape(x.shape[0] * x.shape[1], -1)


def _repeated(values: Array, images: int, dtype: Any) -> Array:
    """Values (C,) of channels for the lines of all images: (N * C, 1)."""
    return _column(np.tile(values, images), dtype)


def _column(values: Array, dtype: Any) -> Array:
    """Values (lines,) as a column (lines, 1)."""
    return values.astype(dtype, copy=False)[:, None]


def _moments(lines: Array) -> tuple[Array, Array]:
    """The mean of each line, and its sum of squared deviations: float64 (lines,)."""
    size = lines.shape[1]
    average = constant_column(size, 1 / size, lines.dtype)
    rough, rest = np.empty((2, len(lines), 1), lines.dtype)
    squares = np.empty(len(lines), lines.dtype)

    def work(i: int, j: int) -> None:
        np.matmul(lines[i:j], average, out=rough[i:j])
        block = lines[i:j] - rough[i:j]
        np.matmul(block, average, out=rest[i:j])  # of a mean that is large and so inexact
        np.vecdot(block, block, out=squares[i:j])

    parallel_blocks(work, len(lines), lines[:1].nbytes)
    correction = rest[:, 0].astype(np.float64)
    return rough[:, 0] + correction, squares - size * correction * correction


def _combined(means: Array, squares: Array, size: int) -> tuple[Array, Array]:
    """Mean and variance of the lines in one column of `means` (n, C) and `squares` (n, C): (C,)."""
    mean = means.mean(axis=0)
    total = squares.sum(axis=0) + size * ((means - mean) ** 2).sum(axis=0)
    return mean, total / (size * len(means))


def _scaled(lines: Array, mean: Array, factor: Array, shift: Array | None) -> Array:
    """(lines - mean) * factor + shift; the others are columns (lines, 1)."""
    y = np.empty_like(lines)

    def work(i: int, j: int) -> None:
        block = y[i:j]
        np.subtract(lines[i:j], mean[i:j], out=block)
        block *= factor[i:j]
        if shift is not None:
            block += shift[i:j]

    parallel_blocks(work, len(lines), lines[:1].nbytes)
    return y


def _gradient_sums(g: Array, lines: Array, mean: Array) -> tuple[Array, Array]:
    """The sum of g, and of g * (lines - mean), for each line: float64 (lines,)."""
    ones = constant_column(lines.shape[1], 1.0, lines.dtype)
    sums = np.empty((len(lines), 1), lines.dtype)
    products = np.empty(len(lines), lines.dtype)

    def work(i: int, j: int) -> None:
        np.matmul(g[i:j], ones, out=sums[i:j])
        np.vecdot(g[i:j], lines[i:j] - mean[i:j], out=products[i:j])

    parallel_blocks(work, len(lines), lines[:1].nbytes)
    return sums[:, 0].astype(np.float64), products.astype(np.float64)


def _gradient_of_lines(
    g: Array, lines: Array, mean: Array, slope: Array, shift: Array, factor: Array
) -> Array:
    """factor * g + slope * (lines - mean) + shift."""
    dx = np.empty_like(lines)

    def work(i: int, j: int) -> None:
        block = dx[i:j]
        np.subtract(lines[i:j], mean[i:j], out=block)
        block *= slope[i:j]
        block += shift[i:j]
        block += g[i:j] * factor[i:j]

    parallel_blocks(work, len(lines), lines[:1].nbytes)
    return dx
