"""LayerNorm on CUDA; the kernels are in layer_norm.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import WARPS, launch, launch_rows
from .layout import as_rows, contiguous, is_supported

KERNELS = KernelTable()

MAX_BLOCKS = 256  # of the gradients' kernel: two for each multiprocessor of a large GPU
MIN_ROWS = 2 * WARPS  # that a block processes, if there are several


@KERNELS.forward
def layer_norm(
    xp: Namespace, x: Array, weight: Array, bias: Array | None = None, *, eps: float = 1e-5
) -> Any:
    """x (..., C), weight (C,), bias (C,) -> (..., C).

    Saves x as rows (N, C), the weight, of each row the mean and rstd, 1 / standard deviation, and
    whether there is a bias.
    """
    rows, weight = as_rows(x), contiguous(weight)
    bias = None if bias is None else contiguous(bias)
    N, C = rows.shape
    y = cupy.empty_like(rows)
    mean, rstd = cupy.empty(N, rows.dtype), cupy.empty(N, rows.dtype)
    kernel = "layer_norm_wide" if _is_wide(rows) else "layer_norm"
    if C:  # the kernel reads the first element of each row
        launch_rows(kernel, rows, N, rows, weight, bias, y, mean, rstd, N, C, eps)
    return y.reshape(x.shape), (rows, weight, mean, rstd, bias is not None)


@KERNELS.gradient(layer_norm)
def layer_norm_gradient(
    xp: Namespace,
    g: Array,
    rows: Array,
    weight: Array,
    mean: Array,
    rstd: Array,
    has_bias: bool,
    skip: Array | None = None,
) -> Any:
    """All three gradients in one pass over the rows, then one over the sums of all blocks.

    The order of summation depends on the shape only, so equal inputs give equal bits.

    Args:
        skip: added to the gradient of x.
    """
    shape, g = g.shape, as_rows(g)
    skip = None if skip is None else as_rows(skip)
    (N, C), dtype = rows.shape, rows.dtype
    dx, dweight = cupy.empty_like(rows), cupy.empty(C, dtype)
    dbias = cupy.empty(C, dtype) if has_bias else None
    blocks = max(1, min(MAX_BLOCKS, N // MIN_ROWS))
    sums: Any = dweight, dbias
    if blocks > 1:
        partial = cupy.empty((1 + has_bias, blocks, C), dtype)
        sums = partial[0], partial[1] if has_bias else None
    kernel = "layer_norm_gradient_wide" if _is_wide(rows) else "layer_norm_gradient"
    if C:
        arguments = (g, rows, weight, mean, rstd, skip, dx, *sums, N, C)
        launch(kernel, dtype, (blocks,), (32, WARPS), *arguments)
    if C and blocks > 1:
        grid = (-(-C // (32 * (16 // rows.itemsize))), 1, 1 + has_bias)  # a lane sums 16 bytes
        launch("layer_norm_sums", dtype, grid, (32, 32), partial, dweight, dbias, blocks, C)
    return dx.reshape(shape), dweight, dbias


@KERNELS.forward
def fork_layer_norm(
    xp: Namespace, x: Array, weight: Array, bias: Array | None = None, *, eps: float
) -> Any:
    """x itself, and its `layer_norm`."""
    if not is_supported(x) or any(p is not None and p.dtype != x.dtype for p in (weight, bias)):
        return NotImplemented
    y, saved = layer_norm(xp, x, weight, bias, eps=eps)
    return (x, y), saved


@KERNELS.gradient(fork_layer_norm)
def fork_layer_norm_gradient(xp: Namespace, gs: Any, *saved: Any) -> Any:
    """The gradient of x is the sum of that of x itself and that of the norm, in the same pass."""
    skip, g = gs
    if g is None:
        return skip, None, None
    return layer_norm_gradient(xp, g, *saved, skip=skip)


def _is_wide(rows: Array) -> bool:
    """True if a row has more than four, but at most eight packs of 16 bytes for each lane."""
    return bool(4 * 16 * 32 < rows.shape[1] * rows.itemsize <= 8 * 16 * 32)
