"""Token embedding and segment sums on CUDA; the kernels are in embedding.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .errors import error_flag
from .launch import launch, launch_rows
from .layout import as_ids, contiguous, is_supported

SCAN_LIMIT = 2**33  # id comparisons in embedding_gradient; beyond it, additions are atomic

KERNELS = KernelTable()


@KERNELS.forward
def embedding(xp: Namespace, weight: Array, ids: Array) -> Any:
    """weight (V, C), ids (...) -> (..., C)."""
    if not is_supported(weight):
        return NotImplemented
    flat, weight = as_ids(ids), contiguous(weight)
    (V, C), N = weight.shape, ids.size
    y = cupy.empty((*ids.shape, C), weight.dtype)
    launch_rows("embedding", weight, N, weight, flat, y, N, V, C, error_flag())
    return y, (flat, weight.shape)


@KERNELS.gradient(embedding)
def embedding_gradient(xp: Namespace, g: Array, ids: Array, shape: tuple[int, int]) -> Any:
    return segment_sum(g.reshape(len(ids), shape[1]), ids, shape[0]), None


def segment_sum(values: Array, ids: Array, rows: int) -> Array:
    """values (N, C), ids (N,) -> (rows, C): row i is the sum of the values whose id is i.

    The order of summation, and so the last bits, may differ between runs for a large table.
    """
    if not is_supported(values):  # float16
        return segment_sum(values.astype(cupy.float32), ids, rows).astype(values.dtype)
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
