"""Layer normalisation in NumPy, with separate code for one row, few rows and many."""

import math
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from . import compiled
from .rows import SMALL_SIZE, as_rows, column_sums, constant_column
from .threads import parallel_blocks

KERNELS = KernelTable()

MIN_INVERTIBLE_WEIGHT = 1e-6  # the output is never divided by a smaller weight
LARGE_MEAN = 10  # standard deviations; the rounding of a larger mean matters


@KERNELS.forward
def layer_norm(
    xp: Namespace, x: Array, weight: Array, bias: Array | None = None, *, eps: float = 1e-5
) -> Any:
    """x (..., C), weight (C,), bias (C,) -> (..., C).

    Saves the normalised rows (N, C), 1 / standard deviation (N, 1), the weight, and None; or, to
    save memory, the output instead of the normalised rows, and 1 / weight instead of None.
    """
    vectors = (weight,) if bias is None else (weight, bias)
    if any(getattr(vector, "shape", None) != x.shape[-1:] for vector in vectors):
        return NotImplemented  # broadcast
    rows = as_rows(x)  # (N, C)
    if not x.size:
        return x.copy(), (rows, np.ones((len(rows), 1), x.dtype), weight, None)
    if len(rows) == 1:
        return _layer_norm_row(x, weight, bias, eps)
    size = rows.shape[1]
    if x.size <= SMALL_SIZE:
        normal, scale = _normalise(rows, eps)
        y = normal * weight if bias is None else normal * weight + bias
        return y.reshape(x.shape), (normal, scale, weight, None)
    y = np.empty_like(rows)
    # Without a bias, the normalised rows are y / weight, and the next layer saves y anyway.
    invertible = bias is None and np.abs(weight).min() > MIN_INVERTIBLE_WEIGHT
    inverse = 1 / weight if invertible else None
    normal = np.empty_like(rows) if inverse is None else y
    scale = np.empty((len(rows), 1), rows.dtype)
    if not compiled.run(
        "layer_norm", rows, weight, bias, scale, normal, y, len(rows), size, eps, LARGE_MEAN
    ):
        _normalise_blocks(rows, weight, bias, eps, (scale, normal, y))
    return y.reshape(x.shape), (normal, scale, weight, inverse)


def _normalise_blocks(
    rows: Array, weight: Array, bias: Array | None, eps: float, outputs: tuple[Array, ...]
) -> None:
    """Write 1 / standard deviation (N, 1), the normalised rows and y, a block of rows at a time."""
    scale, normal, y = outputs
    size = rows.shape[1]
    mean, squares = np.empty_like(scale), np.empty_like(scale)
    average = constant_column(size, 1 / size, rows.dtype)

    def work(i: int, j: int) -> None:
        nb, yb, sb = normal[i:j], y[i:j], scale[i:j]
        np.matmul(rows[i:j], average, out=mean[i:j])
        np.subtract(rows[i:j], mean[i:j], out=nb)
        np.vecdot(nb, nb, out=squares[i:j, 0])
        np.add(squares[i:j], size * eps, out=sb)
        np.sqrt(sb, out=sb)
        np.divide(math.sqrt(size), sb, out=sb)
        nb *= sb
        np.multiply(nb, weight, out=yb)
        if bias is not None:
            yb += bias

    parallel_blocks(work, len(rows), rows.itemsize * size)
    # The mean, a product, is off by some 1e-7 of itself.
    # Not compared by squares: those of small means underflow.
    limit = np.sqrt(squares, out=squares)
    limit *= LARGE_MEAN / math.sqrt(size)
    inexact = np.abs(mean, out=mean) > limit
    if np.logical_or.reduce(inexact, axis=None):
        chosen = np.flatnonzero(inexact)
        normal[chosen], scale[chosen] = _normalise(rows[chosen], eps)
        y[chosen] = normal[chosen] * weight if bias is None else normal[chosen] * weight + bias


def _normalise(rows: Array, eps: float) -> tuple[Array, Array]:
    """The normalised rows (N, C), and 1 / standard deviation (N, 1).

    The first element is subtracted before the mean. That is exact for numbers close to each other,
    so a large mean costs no digits, and equal numbers become exactly 0.
    """
    size = rows.shape[1]
    normal = rows - rows[:, :1]
    normal -= normal @ constant_column(size, 1 / size, rows.dtype)
    scale = 1 / np.sqrt(np.vecdot(normal, normal)[:, None] / size + eps)
    normal *= scale
    return normal, scale


def centred_row(row: Array, average: Array) -> tuple[Array, float]:
    """A row (C,) minus its mean, and the sum of squares of the result.

    Args:
        average: (C,), 1 / C.
    """
    mean = float(row.dot(average))
    centred: Array = row - mean
    squares = float(centred.dot(centred))
    if mean * mean * len(row) > LARGE_MEAN**2 * squares:  # as in `_normalise`
        centred = row - row[0]
        centred -= centred.dot(average)
        squares = float(centred.dot(centred))
    return centred, squares


def _layer_norm_row(x: Array, weight: Array, bias: Array | None, eps: float) -> Any:
    """`layer_norm` of one row (..., 1, C), as in generation token by token.

    Uses a vector and scalars: broadcasting a (1, 1) array takes NumPy longer than the work itself.
    """
    row = x.reshape(-1)  # (C,)
    size = len(row)
    normal, squares = centred_row(row, constant_column(size, 1 / size, row.dtype)[:, 0])
    scale = row.dtype.type(1 / math.sqrt(squares / size + eps))
    normal *= scale
    y = normal * weight
    if bias is not None:
        y += bias
    return y.reshape(x.shape), (normal.reshape(1, size), scale.reshape(1, 1), weight, None)


@KERNELS.gradient(layer_norm)
def layer_norm_gradient(
    xp: Namespace, g: Array, normal: Array, scale: Array, weight: Array, inverse: Array | None
) -> Any:
    """dx = scale (d - mean(d) - n mean(d n)) with d = g weight and n the normalised row."""
    gradient, dx = as_rows(g), np.empty_like(normal)  # (N, C)
    size = normal.shape[1]

    def work(i: int, j: int) -> None:
        gb, nb, db = gradient[i:j], normal[i:j], dx[i:j]
        if inverse is not None:
            nb = nb * inverse
        np.multiply(gb, weight, out=db)
        projection = np.vecdot(db, nb)[:, None]
        projection /= size
        db -= gb @ (weight / size)[:, None]  # the mean of db
        db -= nb * projection
        db *= scale[i:j]

    given = gradient, normal, scale, weight, inverse
    if dx.size and not compiled.run("layer_norm_gradient", *given, dx, len(dx), size):
        parallel_blocks(work, len(dx), dx.itemsize * size)

    def weight_gradient() -> Array:
        total = np.empty(size, normal.dtype)
        if not compiled.run("layer_norm_weight_gradient", gradient, normal, total, len(dx), size):
            total = column_sums(gradient * normal)
        return total if inverse is None else total * inverse

    return dx.reshape(g.shape), weight_gradient, lambda: column_sums(gradient)
