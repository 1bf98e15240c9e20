"""LayerNorm on CUDA; the kernels are in layer_norm.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import launch_rows
from .layout import as_rows, contiguous
from .reductions import column_sums

KERNELS = KernelTable()


@KERNELS.forward
def layer_norm(
    xp: Namespace, x: Array, weight: Array, bias: Array | None = None, *, eps: float = 1e-5
) -> Any:
    """x (..., C), weight (C,), bias (C,) -> (..., C).

    Saves x as rows (N, C), the weight, and of each row the mean and rstd, 1 / standard deviation.
    """
    rows, weight = as_rows(x), contiguous(weight)
    bias = None if bias is None else contiguous(bias)
    N, C = rows.shape
    y = cupy.empty_like(rows)
    mean, rstd = cupy.empty(N, rows.dtype), cupy.empty(N, rows.dtype)
    kernel = "layer_norm_wide" if _is_wide(rows) else "layer_norm"
    if C:  # the kernel reads the first element of each row
        launch_rows(kernel, rows, N, rows, weight, bias, y, mean, rstd, N, C, eps)
    return y.reshape(x.shape), (rows, weight, mean, rstd)


@KERNELS.gradient(layer_norm)
def layer_norm_gradient(
    xp: Namespace, g: Array, rows: Array, weight: Array, mean: Array, rstd: Array
) -> Any:
    shape, g = g.shape, as_rows(g)
    N, C = rows.shape

    def x_gradient() -> Array:
        dx = cupy.empty_like(rows)
        kernel = "layer_norm_gradient_wide" if _is_wide(rows) else "layer_norm_gradient"
        launch_rows(kernel, rows, N, g, rows, weight, mean, rstd, dx, N, C)
        return dx.reshape(shape)

    return (
        x_gradient,
        lambda: column_sums("layer_norm_weight_gradient", g, g, rows, mean, rstd),
        lambda: column_sums("column_sums", g, g),
    )


def _is_wide(rows: Array) -> bool:
    """True if a row has more than four, but at most eight packs of 16 bytes for each lane."""
    return bool(4 * 16 * 32 < rows.shape[1] * rows.itemsize <= 8 * 16 * 32)
