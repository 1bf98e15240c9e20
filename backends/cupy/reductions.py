"""Sums over the rows of a matrix on CUDA; see reductions.cuh."""

from typing import Any

import cupy

from ..base import NativeArray as Array
from .launch import launch

MAX_PARTS = 128  # parts of the rows, each summed by its own blocks: enough to keep a GPU busy


def column_sums(kernel: str, like: Array, *arguments: Any) -> Array:
    """Sum over the rows of a matrix whose elements `kernel` computes: (size,).

    The order of summation depends on the shape only, so equal inputs give equal bits.

    Args:
        kernel: name of a kernel that calls `sum_rows` of reductions.cuh.
        like: an array with the matrix's dtype and shape (rows, size).
        arguments: the kernel's arguments before `partial`.
    """
    rows, size = like.shape
    parts = max(1, min(MAX_PARTS, rows // 32))
    blocks = -(-size // (32 * (16 // like.itemsize)))  # a lane sums 16 bytes of columns
    y = cupy.empty(size, like.dtype)
    partial = y if parts == 1 else cupy.empty((parts, size), like.dtype)
    if size:
        launch(kernel, like.dtype, (blocks, parts), (32, 8), *arguments, partial, rows, size)
    if size and parts > 1:
        launch("column_sums", like.dtype, (blocks,), (32, 32), partial, y, parts, size)
    return y
