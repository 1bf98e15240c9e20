"""RMSNorm on CUDA; the kernels are in rms_norm.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import launch_rows
from .layout import as_rows, contiguous
from .reductions import column_sums

KERNELS = KernelTable()


@KERNELS.forward
def rms_norm(xp: Namespace, x: Array, weight: Array | None = None, *, eps: float) -> Any:
    """x (..., C), weight (C,) -> (..., C).

    Saves x as rows (N, C), the weight, and of each row 1 / root mean square.
    """
    if getattr(weight, "shape", x.shape[-1:]) != x.shape[-1:]:
        return NotImplemented  # broadcast
    rows, weight = as_rows(x), None if weight is None else contiguous(weight)
    y, scale = cupy.empty_like(rows), cupy.empty(len(rows), rows.dtype)
    launch_rows("rms_norm", rows, len(rows), rows, weight, y, scale, *rows.shape, eps)
    return y.reshape(x.shape), (rows, weight, scale)


@KERNELS.gradient(rms_norm)
def rms_norm_gradient(
    xp: Namespace, g: Array, rows: Array, weight: Array | None, scale: Array
) -> Any:
    shape, g, dx = g.shape, as_rows(g), cupy.empty_like(rows)
    products = None if weight is None else cupy.empty_like(rows)
    arguments = g, rows, weight, scale, dx, products
    launch_rows("rms_norm_gradient", rows, len(rows), *arguments, *rows.shape)
    return dx.reshape(shape), None if products is None else lambda: column_sums(products)
