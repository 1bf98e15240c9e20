"""Linear layers and matrix products on CUDA: products by cuBLAS, the bias by linear.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .gemm import gemm
from .launch import launch_rows
from .layout import as_rows, contiguous
from .reductions import column_sums

KERNELS = KernelTable()


@KERNELS.forward
def linear(xp: Namespace, x: Array, weight: Array, bias: Array | None = None) -> Any:
    """x (..., in), weight (out, in), bias (out,) -> (..., out). Saves x as rows (N, in)."""
    rows = x.reshape(-1, x.shape[-1]) if x.size else as_rows(x)  # (N, in)
    y = gemm(rows, weight.T)  # (N, out)
    if bias is not None:
        launch_rows("add_bias", y, len(y), y, contiguous(bias), *y.shape)
    return y.reshape(*x.shape[:-1], weight.shape[0]), (rows, weight, x.shape)


@KERNELS.gradient(linear)
def linear_gradient(
    xp: Namespace, g: Array, rows: Array, weight: Array, shape: tuple[int, ...]
) -> Any:
    g = as_rows(g)  # (N, out)
    return (
        lambda: gemm(g, weight).reshape(shape),
        lambda: gemm(g.T, rows),
        lambda: column_sums(g),
    )


@KERNELS.forward
def matmul(xp: Namespace, x: Array, y: Array) -> Any:
    """x (..., M, K) @ y (..., K, N) -> (..., M, N), and vectors (K,), as `numpy.matmul`."""
    if x.ndim == 1 or y.ndim == 1:
        return cupy.matmul(x, y), (x, y)
    if y.ndim == 2 and x.ndim > 2:
        rows = as_rows(x)  # (N, K): one large product instead of a stack of small ones
        return gemm(rows, y).reshape(*x.shape[:-1], y.shape[-1]), (x, y)
    return gemm(x, y), (x, y)


@KERNELS.gradient(matmul)
def matmul_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    if x.ndim == 1 and y.ndim == 1:
        return lambda: g * y, lambda: g * x
    if x.ndim == 1:  # (K,) @ (..., K, N) -> (..., N)
        return lambda: cupy.matmul(y, g[..., None])[..., 0], lambda: x[:, None] * g[..., None, :]
    if y.ndim == 1:  # (..., M, K) @ (K,) -> (..., M)
        x_t = x.swapaxes(-1, -2)
        return lambda: g[..., None] * y, lambda: cupy.matmul(x_t, g[..., None])[..., 0]
    if y.ndim == 2 and x.ndim > 2:
        rows = as_rows(g)  # (..., M, N) -> (rows, N)
        return lambda: gemm(rows, y.T).reshape(x.shape), lambda: gemm(as_rows(x).T, rows)
    return lambda: gemm(g, y.swapaxes(-1, -2)), lambda: gemm(x.swapaxes(-1, -2), g)
