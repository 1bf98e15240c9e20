"""Sums over the rows of a matrix on CUDA; see reductions.cuh."""

import cupy

from ..base import NativeArray as Array
from .launch import launch

MAX_PARTS = 128  # parts of the rows, each summed by its own blocks: enough to keep a GPU busy


def column_sums(x: Array) -> Array:
    """The sum over the rows of a contiguous matrix (rows, size): (size,).

    The order of summation depends on the shape only, so equal inputs give equal bits.
    """
    rows, size = x.shape
    parts = max(1, min(MAX_PARTS, rows // 32))
    blocks = -(-size // (32 * (16 // x.itemsize)))  # a lane sums 16 bytes of columns
    y = cupy.empty(size, x.dtype)
    partial = y if parts == 1 else cupy.empty((parts, size), x.dtype)
    if size:
        launch("column_sums", x.dtype, (blocks, parts), (32, 8), x, partial, rows, size)
    if size and parts > 1:
        launch("column_sums", x.dtype, (blocks,), (32, 32), partial, y, parts, size)
    return y
