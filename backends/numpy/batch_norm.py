"""Batch and group normalisation in NumPy, on images as lines (N * C, H * W).

The statistics of each line are combined to those of a channel or a group, so that the images are
read twice: for the statistics, and for the result.

Only if a mean is large compared with the deviations from it, it is subtracted before these are
squared and scaled, and no digits are lost. That *centre* is None otherwise, which saves a pass.
"""

import math
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from . import compiled
from .rows import constant_column
from .threads import parallel_long_blocks

KERNELS = KernelTable()

LARGE_MEAN = 4  # standard deviations


@KERNELS.forward
def batch_normalization(
    xp: Namespace, x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float
) -> Any:
    """x (N, C, ...) -> y, mean and variance (C,). Saves x, mean, centre and 1 / deviation."""
    if not x.size:
        return NotImplemented
    N, C = x.shape[:2]
    lines = _lines(x)
    means, squares, is_large = _moments(lines)
    mean, variance = _combined(means.reshape(N, C), squares.reshape(N, C), lines.shape[1])
    scale = 1 / np.sqrt(variance + eps)
    factor = scale if weight is None else scale * weight
    centre = mean.astype(x.dtype) if is_large else None
    shift = -factor * (mean - (centre if is_large else 0))
    shift = shift if bias is None else shift + bias
    y = _linear(lines, *(_of_lines(v, N, x.dtype) for v in (centre, factor, shift)))
    statistics = mean.astype(x.dtype), variance.astype(x.dtype)
    return (y.reshape(x.shape), *statistics), (x, mean, centre, scale, weight)


@KERNELS.gradient(batch_normalization)
def batch_normalization_gradient(
    xp: Namespace,
    gs: Any,
    x: Array,
    mean: Array,
    centre: Array | None,
    scale: Array,
    weight: Array | None,
) -> Any:
    g, g_mean, g_variance = gs
    (N, C), count = x.shape[:2], x.size // x.shape[1]
    lines = _lines(x)
    gradient = np.zeros_like(lines) if g is None else _lines(g)
    offset = mean - (0 if centre is None else centre)
    sums, products = _gradient_sums(gradient, lines, _of_lines(centre, N, x.dtype))
    d_bias = sums.reshape(N, C).sum(axis=0)
    d_weight = (products.reshape(N, C).sum(axis=0) - offset * d_bias) * scale

    def x_gradient() -> Array:
        # dx = factor g + slope (x - mean) + shift
        factor = scale if weight is None else scale * weight
        slope, shift = -factor * scale * d_weight / count, -factor * d_bias / count
        if g_mean is not None:
            shift = shift + g_mean / count
        if g_variance is not None:
            slope = slope + g_variance * (2 / count)
        given = (centre, slope, shift - slope * offset, factor)
        columns = (_of_lines(v, N, x.dtype) for v in given)
        return _gradient_of_lines(gradient, lines, *columns).reshape(x.shape)

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
    """x (N, C, ...) -> y. Saves x, and for each line the mean, the centre and 1 / deviation."""
    if not x.size:
        return NotImplemented
    (N, C), lines = x.shape[:2], _lines(x)
    means, squares, is_large = _moments(lines)
    means, squares = (v.reshape(N * num_groups, -1).T for v in (means, squares))
    mean, variance = _combined(means, squares, lines.shape[1])  # (N * groups,)
    mean, scale = (
        np.repeat(v, C // num_groups) for v in (mean, 1 / np.sqrt(variance + eps))
    )  # (N * C,)
    factor = scale if weight is None else scale * np.tile(weight, N)
    centre = mean.astype(x.dtype) if is_large else None
    shift = -factor * (mean - (centre if is_large else 0))
    shift = shift if bias is None else shift + np.tile(bias, N)
    y = _linear(lines, *(_of_lines(v, 1, x.dtype) for v in (centre, factor, shift)))
    return y.reshape(x.shape), (x, mean, centre, scale, weight, num_groups)


@KERNELS.gradient(group_normalization)
def group_normalization_gradient(
    xp: Namespace,
    g: Array,
    x: Array,
    mean: Array,
    centre: Array | None,
    scale: Array,
    weight: Array | None,
    num_groups: int,
) -> Any:
    (N, C), count = x.shape[:2], math.prod(x.shape[1:]) // num_groups
    lines, gradient = _lines(x), _lines(g)
    offset = mean - (0 if centre is None else centre)
    sums, products = _gradient_sums(gradient, lines, _of_lines(centre, 1, x.dtype))
    products -= offset * sums
    weights = np.ones(N * C) if weight is None else np.tile(weight, N)

    def group_sums(values: Array) -> Array:
        total = (values * weights).reshape(N * num_groups, -1).sum(axis=1)
        return np.repeat(total, C // num_groups)

    def x_gradient() -> Array:
        slope = -(scale**3) * group_sums(products) / count
        shift = -scale * group_sums(sums) / count
        given = (centre, slope, shift - slope * offset, scale * weights)
        columns = (_of_lines(v, 1, x.dtype) for v in given)
        return _gradient_of_lines(gradient, lines, *columns).reshape(x.shape)

    return (
        x_gradient,
        lambda: (products * scale).reshape(N, C).sum(axis=0).astype(x.dtype),
        lambda: sums.reshape(N, C).sum(axis=0).astype(x.dtype),
    )


def _lines(x: Array) -> Array:
    """x (N, C, ...) as (N * C, size)."""
    return np.ascontiguousarray(x).reshape(x.shape[0] * x.shape[1], -1)


def _of_lines(values: Array | None, images: int, dtype: Any) -> Any:
    """Values of the lines of one image, repeated for all images, as a column (lines, 1)."""
    return None if values is None else np.tile(values.astype(dtype), images)[:, None]


def _moments(lines: Array) -> tuple[Array, Array, bool]:
    """The mean of each line, and its sum of squared deviations: float64 (lines,).

    Returns also whether a mean is large compared with the deviations.
    """
    size = lines.shape[1]
    average = constant_column(size, 1 / size, lines.dtype)
    mean = np.empty((len(lines), 1), lines.dtype)
    squares = np.empty(len(lines), lines.dtype)

    def work(i: int, j: int) -> None:
        np.matmul(lines[i:j], average, out=mean[i:j])
        np.vecdot(lines[i:j], lines[i:j], out=squares[i:j])

    if not compiled.run("line_moments", lines, mean, squares, len(lines), size):
        parallel_long_blocks(work, len(lines), lines[:1].nbytes)
    means = mean[:, 0].astype(np.float64)
    of_mean = size * means * means
    deviations = squares - of_mean
    if (of_mean <= LARGE_MEAN**2 * deviations).all():
        return means, deviations, False
    rest = np.empty_like(mean)

    def work_exactly(i: int, j: int) -> None:
        block = lines[i:j] - mean[i:j]
        np.matmul(block, average, out=rest[i:j])
        np.vecdot(block, block, out=squares[i:j])

    parallel_long_blocks(work_exactly, len(lines), lines[:1].nbytes)
    correction = rest[:, 0].astype(np.float64)
    return means + correction, squares - size * correction * correction, True


def _combined(means: Array, squares: Array, size: int) -> tuple[Array, Array]:
    """Mean and variance of the lines in one column of `means` (n, C) and `squares` (n, C): (C,)."""
    mean = means.mean(axis=0)
    total = squares.sum(axis=0) + size * ((means - mean) ** 2).sum(axis=0)
    return mean, total / (size * len(means))


def _linear(lines: Array, centre: Array | None, factor: Array, shift: Array) -> Array:
    """(lines - centre) * factor + shift; all but the lines are columns (lines, 1)."""
    y = np.empty_like(lines)

    def work(i: int, j: int) -> None:
        block = y[i:j]
        if centre is None:
            np.multiply(lines[i:j], factor[i:j], out=block)
        else:
            np.subtract(lines[i:j], centre[i:j], out=block)
            block *= factor[i:j]
        block += shift[i:j]

    if not compiled.run("line_transform", lines, centre, factor, shift, y, *y.shape):
        parallel_long_blocks(work, len(lines), lines[:1].nbytes)
    return y


def _gradient_sums(g: Array, lines: Array, centre: Array | None) -> tuple[Array, Array]:
    """The sum of g, and of g * (lines - centre), for each line: float64 (lines,)."""
    ones = constant_column(lines.shape[1], 1.0, lines.dtype)
    sums = np.empty((len(lines), 1), lines.dtype)
    products = np.empty(len(lines), lines.dtype)

    def work(i: int, j: int) -> None:
        block = lines[i:j] if centre is None else lines[i:j] - centre[i:j]
        np.matmul(g[i:j], ones, out=sums[i:j])
        np.vecdot(g[i:j], block, out=products[i:j])

    if not compiled.run("line_gradient_sums", g, lines, centre, sums, products, *lines.shape):
        parallel_long_blocks(work, len(lines), lines[:1].nbytes)
    return sums[:, 0].astype(np.float64), products.astype(np.float64)


def _gradient_of_lines(
    g: Array, lines: Array, centre: Array | None, slope: Array, shift: Array, factor: Array
) -> Array:
    """factor * g + slope * (lines - centre) + shift."""
    dx = np.empty_like(lines)

    def work(i: int, j: int) -> None:
        block = dx[i:j]
        if centre is None:
            np.multiply(lines[i:j], slope[i:j], out=block)
        else:
            np.subtract(lines[i:j], centre[i:j], out=block)
            block *= slope[i:j]
        block += shift[i:j]
        block += g[i:j] * factor[i:j]

    columns = slope, shift, factor
    if not compiled.run("line_gradient", g, lines, centre, *columns, dx, *dx.shape):
        parallel_long_blocks(work, len(lines), lines[:1].nbytes)
    return dx
