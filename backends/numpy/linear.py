"""NumPy kernel for the linear layer, y = x W^T + b."""

from typing import Any

from ..base import Array, KernelTable, Namespace
from .gemm import concurrent_if_large, gemm
from .rows import column_sum

KERNELS = KernelTable()


@KERNELS.forward
def linear(xp: Namespace, x: Array, weight: Array, bias: Array | None = None) -> Any:
    """x (..., in), weight (out, in), bias (out,) -> (..., out)."""
    rows = x.reshape(-1, x.shape[-1])  # (N, in)
    y = gemm(rows, weight.T)  # (N, out)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], weight.shape[0]), (rows, weight, x.shape)


@KERNELS.gradient(linear)
def linear_gradient(
    xp: Namespace, g: Array, rows: Array, weight: Array, shape: tuple[int, ...]
) -> Any:
    """dx = g W, dW = g^T x, db = the sum of g over N."""
    g = g.reshape(-1, g.shape[-1])  # (N, out)
    multiplications = g.size * weight.shape[1]
    return (
        concurrent_if_large(multiplications, lambda: gemm(g, weight).reshape(shape)),
        concurrent_if_large(multiplications, lambda: gemm(g.T, rows)),  # (out, in)
        lambda: column_sum(g),
    )
