"""Sums over the rows of a matrix on CUDA, see reductions.cuh."""

from typing import Any

import cupy

from ..base import NativeArray as Array
from .launch import launch

MAX_PARTS = 128  # into which the rows are divided: as many as keep a GPU busy


def column_sums(kernel: str, like: Array, *arguments: Any) -> Array:
    """Sum over the rows of a matrix whose elements `kernel` computes: (size,).

    The order of summation depends on the shape only, so equal inputs give equal bits.

    Args:
        kernel: the name of a kernel that calls `sum_rows` of reductions.cuh.
        like: an array with the matrix's dtype and shape (rows, size).
        arguments: of the kernel, up to its `partial`.
    """
    rows, size = like.shape
    parts = max(1, min(MAX_PARTS, rows // 32))
    blocks = -(-size // (32 * (16 // like.itemsize)))  # a warp has 16 bytes of columns a lane
    y = cupy.empty(size, like.dtype)
    partial = y if parts == 1 else cupy.empty((parts, size), like.dtype)
    if size:
        launch(kernel, like.dtype, (blocks, parts), (32, 8), *arguments, partial, rows, size)
    if size and parts > 1:
        launch("column_sums", like.dtype, (blocks,), (32, 32), partial, y, parts, size)
    return y
