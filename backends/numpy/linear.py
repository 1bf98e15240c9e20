"""Linear layers and matrix products in NumPy."""

from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from .gemm import Product, batched_gemm, gemm
from .rows import as_matrix, column_sums
from .threads import limit_blas_threads, parallel_blocks

KERNELS = KernelTable()

INT8_BLOCK_BYTES = 2**20  # of floats, to which the rows of an int8 weight are converted at once


@KERNELS.forward
def linear(xp: Namespace, x: Array, weight: Array, bias: Array | None = None) -> Any:
    """x (..., in), weight (out, in), bias (out,) -> (..., out)."""
    rows = as_matrix(x)  # (N, in)
    y = gemm(rows, weight.T)  # (N, out)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], weight.shape[0]), (rows, weight, x.shape)


@KERNELS.gradient(linear)
def linear_gradient(
    xp: Namespace, g: Array, rows: Array, weight: Array, shape: tuple[int, ...]
) -> Any:
    """dx = g W, dW = g^T x, db = the sum of g over N."""
    g = as_matrix(g)  # (N, out)
    return (
        Product(g, weight, shape),
        Product(g.T, rows),  # (out, in)
        lambda: column_sums(g),
    )


@KERNELS.forward
def int8_linear(
    xp: Namespace, x: Array, weight: Array, scale: Array, bias: Array | None = None
) -> Any:
    """x (..., in), weight (out, in) int8, scale and bias (out,) -> (..., out).

    Only a few rows of the weight at a time become floats.
    """
    rows, limited = as_matrix(x), limit_blas_threads()  # (N, in)
    y = np.empty((len(rows), len(weight)), x.dtype)

    def work(i: int, j: int) -> None:
        np.matmul(rows, weight[i:j].astype(x.dtype).T, out=y[:, i:j])
        y[:, i:j] *= scale[i:j]
        if bias is not None:
            y[:, i:j] += bias[i:j]

    if limited and weight.size:
        parallel_blocks(work, len(weight), weight.shape[1] * x.itemsize, INT8_BLOCK_BYTES)
    else:
        work(0, len(weight))
    return y.reshape(*x.shape[:-1], len(weight)), (weight, scale, x.shape)


@KERNELS.gradient(int8_linear)
def int8_linear_gradient(
    xp: Namespace, g: Array, weight: Array, scale: Array, shape: tuple[int, ...]
) -> Any:
    """dx = (g scale) W, db = the sum of g over N."""
    g = as_matrix(g)  # (N, out)
    return (
        lambda: gemm(g * scale, weight.astype(g.dtype)).reshape(shape),
        None,
        None,
        lambda: column_sums(g),
    )


@KERNELS.forward
def matmul(xp: Namespace, x: Array, y: Array) -> Any:
    """x (..., M, K) @ y (..., K, N) -> (..., M, N); a vector (K,) has no M or no N."""
    if y.ndim == 2 and x.ndim > 2:
        rows = as_matrix(x)  # (..., M, K) -> (rows, K)
        return gemm(rows, y).reshape(*x.shape[:-1], y.shape[-1]), (x, y)
    return batched_gemm(x, y), (x, y)


@KERNELS.gradient(matmul)
def matmul_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    """dx = g y^T, dy = x^T g; autograd sums over broadcast axes."""
    if x.ndim == 1 or y.ndim == 1:
        return _vector_gradient(g, x, y)
    if y.ndim == 2 and x.ndim > 2:
        rows = as_matrix(g)  # (..., M, N) -> (rows, N)
        return Product(rows, y.T, x.shape), Product(as_matrix(x).T, rows)
    return Product(g, np.swapaxes(y, -1, -2)), Product(np.swapaxes(x, -1, -2), g)


def _vector_gradient(g: Array, x: Array, y: Array) -> Any:
    """The gradient if x or y has one axis: insert the missing axis, multiply, remove it."""
    if x.ndim == 1 and y.ndim == 1:
        return g * y, g * x
    if x.ndim == 1:  # (K,) @ (..., K, N) -> (..., N)
        return (y @ g[..., None])[..., 0], x[:, None] * g[..., None, :]
    return g[..., None] * y, (np.swapaxes(x, -1, -2) @ g[..., None])[..., 0]
