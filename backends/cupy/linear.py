"""CUDA kernel for the linear layer, y = x W^T + b: products by cuBLAS, the bias see linear.cu."""

from typing import Any

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .gemm import gemm
from .launch import launch_rows
from .layout import as_rows, contiguous
from .reductions import column_sums

KERNELS = KernelTable()


@KERNELS.forward
def linear(xp: Namespace, x: Array, weight: Array, bias: Array | None = None) -> Any:
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
        lambda: column_sums("column_sums", g, g),
    )
