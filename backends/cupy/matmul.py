"""CUDA kernel for the op `matmul`: stacks of matrices by cuBLAS, vectors by CuPy."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .gemm import gemm
from .layout import as_rows

KERNELS = KernelTable()


@KERNELS.forward
def matmul(xp: Namespace, x: Array, y: Array) -> Any:
    if x.ndim == 1 or y.ndim == 1:
        return cupy.matmul(x, y), (x, y)
    if y.ndim == 2 and x.ndim > 2:
        rows = as_rows(x)
        return gemm(rows, y).reshape(*x.shape[:-1], y.shape[-1]), (x, y)
    return gemm(x, y), (x, y)


@KERNELS.gradient(matmul)
def matmul_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    if x.ndim == 1 and y.ndim == 1:
        return lambda: g * y, lambda: g * x
    if x.ndim == 1:  # (K,) @ (..., K, N) -> (..., N)
        return lambda: cupy.matmul(y, g[..., None])[..., 0], lambda: x[:, None] * g[..., None, :]
    if y.ndim == 1:  # (..., M, K) @ (K,) -> (..., M)
        return lambda: g[..., None] * y, lambda: cupy.matmul(x.swapaxes(-1, -2), g[..., None])[
            ..., 0
        ]
    if y.ndim == 2 and x.ndim > 2:
        rows = as_rows(g)
        return lambda: gemm(rows, y.T).reshape(x.shape), lambda: gemm(as_rows(x).T, rows)
    return lambda: gemm(g, y.swapaxes(-1, -2)), lambda: gemm(x.swapaxes(-1, -2), g)
