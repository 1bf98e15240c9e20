"""Sums over the rows of a matrix on CUDA, see reductions.cuh."""

from typing import Any

import cupy

from ..base import NativeArray as Array
from .launch import launch

MAX_PARTS = 128  # of the rows that column_sums adds up apart: as many as keep a GPU busy


def column_sums(kernel: str, like: Array, *arguments: Any) -> Array:
    """What `kernel` of columns.cu makes of arrays (rows, size), summed over the rows: (size,)."""
    rows, size = like.shape
    parts = max(1, min(MAX_PARTS, rows // 32))
    columns = -(-size // (32 * (16 // like.itemsize)))  # of a warp with 16 bytes a lane
    y = cupy.empty(size, like.dtype)
    partial = y if parts == 1 else cupy.empty((parts, size), like.dtype)
    if size:
        launch(kernel, like.dtype, (columns, parts), (32, 8), *arguments, partial, rows, size)
    if size and parts > 1:
        launch("column_sums", like.dtype, (columns,), (32, 32), partial, y, parts, size)
    return y
