"""Activation functions in NumPy."""

import math
from typing import Any

import numpy as np

from ..arrays import Axis
from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from . import compiled
from .rows import as_rows, constant_column, keep_where
from .threads import parallel_blocks, parallel_long_blocks

KERNELS = KernelTable()

GELU_A, GELU_C = 0.044715, math.sqrt(2 / math.pi)
MIN_BLOCKED_SIZE = 2**15  # of tanh: a smaller array is in the cache anyway
MIN_TOTAL = 1e-20  # of exponentials in a row: float32 is exact far below it


@KERNELS.forward
def gelu(xp: Namespace, x: Array) -> Any:
    """(..., C) -> (..., C), the tanh approximation. Saves the rows of x (N, C), and y."""
    rows = as_rows(x)
    y = np.empty_like(rows)
    if not compiled.run("gelu", rows, y, x.size):
        parallel_blocks(lambda i, j: _gelu_block(rows[i:j], y[i:j]), len(rows), rows[:1].nbytes)
    result = y.reshape(x.shape)
    return result, (rows, result)


def _gelu_block(x: Array, y: Array) -> None:
    """Write y = x s, where s = (1 + tanh u) / 2 and u = c (x + a x^3)."""
    np.multiply(x, x, out=y)
    y *= GELU_A * GELU_C
    y += GELU_C
    y *= x
    np.tanh(y, out=y)
    y += 1
    y *= 0.5
    y *= x


@KERNELS.gradient(gelu)
def gelu_gradient(xp: Namespace, g: Array, rows: Array, y: Array) -> Any:
    """dy/dx = s + 2 x u' s (1 - s), with s recovered as y / x.

    Saving s would take as much memory as the activations; y is saved by the next layer anyway.
    """
    gradient, y = as_rows(g), as_rows(y)
    dx = np.empty_like(rows)

    def work(i: int, j: int) -> None:
        xb, yb, db = rows[i:j], y[i:j], dx[i:j]
        s = yb / xb
        slope = xb * xb
        if not slope.min() > 0:  # x is 0, so that s is 0 / 0, or so small that y is rounded
            np.copyto(s, 0.5, where=slope == 0)
        slope *= 6 * GELU_A * GELU_C
        slope += 2 * GELU_C  # 2 u'
        np.subtract(1, s, out=db)
        db *= s
        db *= xb  # before slope: x^3 overflows for x = 1e13, where s (1 - s) is 0
        db *= slope
        db += s
        db *= gradient[i:j]

    if rows.size and not compiled.run("gelu_gradient", gradient, rows, y, dx, rows.size):
        parallel_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return dx.reshape(g.shape)


@KERNELS.forward
def squared_relu(xp: Namespace, x: Array) -> Any:
    """(..., C) -> (..., C). Saves max(x, 0) as rows (N, C)."""
    rows = as_rows(x)
    rectified, y = np.empty_like(rows), np.empty_like(rows)

    def work(i: int, j: int) -> None:
        np.maximum(rows[i:j], 0, out=rectified[i:j])
        np.multiply(rectified[i:j], rectified[i:j], out=y[i:j])

    parallel_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return y.reshape(x.shape), (rectified,)


@KERNELS.gradient(squared_relu)
def squared_relu_gradient(xp: Namespace, g: Array, rectified: Array) -> Any:
    """dy/dx = 2 max(x, 0)."""
    gradient, dx = as_rows(g), np.empty_like(rectified)

    def work(i: int, j: int) -> None:
        np.multiply(rectified[i:j], gradient[i:j], out=dx[i:j])
        dx[i:j] *= 2

    parallel_blocks(work, len(dx), dx.itemsize * dx.shape[1])
    return dx.reshape(g.shape)


@KERNELS.forward
def relu(xp: Namespace, x: Array) -> Any:
    """(...) -> (...). Saves y, which is 0 where x is at most 0, and NaN where x is."""
    if x.dtype.char not in "fd":
        return NotImplemented
    flat = np.ascontiguousarray(x).reshape(-1)
    y = np.empty_like(flat)

    def work(i: int, j: int) -> None:
        np.maximum(flat[i:j], 0, out=y[i:j])

    if not compiled.run("relu", flat, y, y.size):
        parallel_long_blocks(work, len(y), y.itemsize)
    result = y.reshape(x.shape)
    return result, (result,)


@KERNELS.gradient(relu)
def relu_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    gradient, y = np.ascontiguousarray(g).reshape(-1), y.reshape(-1)
    dx = np.empty_like(gradient)

    def work(i: int, j: int) -> None:
        keep_where(y[i:j] != 0, gradient[i:j], dx[i:j])

    if not compiled.run("relu_gradient", gradient, y, dx, dx.size):
        parallel_long_blocks(work, len(dx), dx.itemsize)
    return dx.reshape(g.shape)


@KERNELS.forward
def tanh(xp: Namespace, x: Array) -> Any:
    """(...) -> (...). Saves y."""
    if x.dtype.char not in "fd" or x.size <= MIN_BLOCKED_SIZE:
        return NotImplemented
    flat = np.ascontiguousarray(x).reshape(-1)
    y = np.empty_like(flat)

    def work(i: int, j: int) -> None:
        np.tanh(flat[i:j], out=y[i:j])

    parallel_long_blocks(work, len(y), y.itemsize)
    result = y.reshape(x.shape)
    return result, (result,)


@KERNELS.gradient(tanh)
def tanh_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    """dx = g (1 - y^2)."""
    gradient, y = np.ascontiguousarray(g).reshape(-1), y.reshape(-1)
    dx = np.empty_like(gradient)

    def work(i: int, j: int) -> None:
        np.multiply(y[i:j], y[i:j], out=dx[i:j])
        np.subtract(1, dx[i:j], out=dx[i:j])
        dx[i:j] *= gradient[i:j]

    parallel_long_blocks(work, len(dx), dx.itemsize)
    return dx.reshape(g.shape)


@KERNELS.forward
def softmax(xp: Namespace, x: Array, *, axis: Axis = -1) -> Any:
    """Softmax of (..., C) over the last axis; returns NotImplemented for others."""
    if x.ndim == 0 or axis not in (-1, x.ndim - 1):
        return NotImplemented
    rows = as_rows(x)
    y = np.empty_like(rows)

    def work(i: int, j: int) -> None:
        _softmax_block(rows[i:j], y[i:j])

    if x.size and not compiled.run("softmax", rows, y, *rows.shape):
        parallel_blocks(work, len(rows), rows[:1].nbytes)
    result = y.reshape(x.shape)
    return result, (result,)


def _softmax_block(x: Array, y: Array) -> None:
    """Write the softmax of x (N, C) to y; rows of only -inf become zeros.

    One shift for the block replaces the maximum of each row, which takes longer than all the rest,
    if no row underflows.
    """
    ones = constant_column(x.shape[1], 1.0, x.dtype)
    np.exp(np.subtract(x, x.max(), out=y), out=y)
    total = y @ ones  # (N, 1)
    if not total.min() > MIN_TOTAL:  # a row is far below the maximum, or contains NaN or inf
        largest = np.maximum.reduce(x, axis=1, keepdims=True)
        np.copyto(largest, 0, where=largest == -np.inf)
        np.exp(np.subtract(x, largest, out=y), out=y)
        total = y @ ones
        np.copyto(total, 1, where=total == 0)
    y *= np.divide(1, total, out=total)


@KERNELS.gradient(softmax)
def softmax_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    """dx = y (g - sum(g y)), with the sum over the last axis."""
    gradient, weights = as_rows(g), as_rows(y)
    dx = np.empty_like(weights)

    def work(i: int, j: int) -> None:
        gb, yb, db = gradient[i:j], weights[i:j], dx[i:j]
        np.subtract(gb, np.vecdot(gb, yb)[:, None], out=db)
        db *= yb

    if not compiled.run("softmax_gradient", gradient, weights, dx, *dx.shape):
        parallel_blocks(work, len(dx), dx[:1].nbytes)
    return dx.reshape(y.shape)
