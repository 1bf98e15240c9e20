"""CUDA kernels for token embedding and rotary position embedding, see embeddings.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .errors import error_flag
from .launch import MAX_GRID_YZ, WARPS, launch, launch_rows
from .layout import as_ids, contiguous, with_strides

SCAN_LIMIT = 2**33  # ids that embedding_gradient may look at; a larger table adds atomically

KERNELS = KernelTable()


@KERNELS.forward
def embedding(xp: Namespace, weight: Array, ids: Array) -> Any:
    flat, weight = as_ids(ids), contiguous(weight)
    (V, C), N = weight.shape, ids.size
    y = cupy.empty((*ids.shape, C), weight.dtype)
    launch_rows("embedding", weight, N, weight, flat, y, N, V, C, error_flag())
    return y, (flat, weight.shape)


@KERNELS.gradient(embedding)
def embedding_gradient(xp: Namespace, g: Array, ids: Array, shape: tuple[int, int]) -> Any:
    return segment_sum(g.reshape(-1, shape[1]), ids, shape[0]), None


def segment_sum(values: Array, ids: Array, rows: int) -> Array:
    """(rows, C) zeros to which values (N, C) are added at ids (N,); repeats add up."""
    (N, C), values, ids = values.shape, contiguous(values), as_ids(ids)
    if rows * N * -(-C // 32) > SCAN_LIMIT:
        dw = cupy.zeros((rows, C), values.dtype)
        launch_rows("embedding_gradient_atomic", values, N, values, ids, dw, N, rows, C)
        return dw
    dw = cupy.empty((rows, C), values.dtype)
    if dw.size:
        grid = (rows, -(-C // 32))
        launch("embedding_gradient", values.dtype, grid, (32, 8), values, ids, dw, N, C)
    return dw


@KERNELS.forward
def rotary(xp: Namespace, x: Array, cos: Array, sin: Array) -> Any:
    return _rotate(x, cos, sin, 1), (cos, sin)


@KERNELS.gradient(rotary)
def rotary_gradient(xp: Namespace, g: Array, cos: Array, sin: Array) -> Any:
    return _rotate(g, cos, sin, -1), None, None


def _rotate(x: Array, cos: Array, sin: Array, direction: int) -> Array:
    """x (..., T, hs), turned; where it has four axes it is read in place."""
    cos, sin = (contiguous(a.astype(x.dtype, copy=False)) for a in (cos, sin))
    y, half = cupy.empty(x.shape, x.dtype), x.shape[-1] // 2
    if not y.size:
        return y
    if x.ndim != 4:
        x = contiguous(x).reshape(-1, 1, *x.shape[-2:])
    B, nh, T, _ = x.shape
    grid = (-(-T // WARPS), nh, min(B, MAX_GRID_YZ))
    launch(
        "rotary", x.dtype, grid, (32, WARPS), *with_strides(x), cos, sin, y, B, T, half, direction
    )
    return y
