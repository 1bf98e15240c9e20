"""Token embedding and segment sums on CUDA; the kernels are in embedding.cu and segments.cu."""

from typing import Any

import cupy
import numpy as np

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .errors import error_flag
from .launch import MAX_GRID_YZ, WARPS, launch, launch_rows
from .layout import as_ids, contiguous, is_supported
from .reductions import column_sums

SCAN_LIMIT = 2**25  # id comparisons in embedding_gradient; beyond it, ids are sorted
SCAN_COLUMNS = 128  # of a block, as in embedding.cu
MAX_UNDIVIDED = 1024  # ids; for fewer, a launch that adds up parts takes longer than it saves
MIN_PART, MAX_PARTS = 512, 32  # ids in a part, and number of parts
DIGIT_BITS, CHUNK = 8, 32  # as in segments.cu
MAX_TILES = 1024  # parts of the ids that are sorted separately in each pass

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

    The order of summation depends on the ids only, so equal inputs give equal bits.
    """
    if not is_supported(values):  # float16
        return segment_sum(values.astype(cupy.float32), ids, rows).astype(values.dtype)
    (N, C), values, ids = values.shape, contiguous(values), as_ids(ids)
    if rows * N * -(-C // SCAN_COLUMNS) > SCAN_LIMIT:
        return add_segments(cupy.zeros((rows, C), values.dtype), values, ids)
    return _sum_by_scanning(values, ids, rows)


def _sum_by_scanning(values: Array, ids: Array, rows: int) -> Array:
    """`segment_sum` for few rows, in one or two launches, where `add_segments` needs at least six.

    The ids are divided into parts, so that the sum for a frequent id, as the space in text, is
    computed by several blocks.
    """
    N, C = values.shape
    # Not more rows of partial sums than rows of values.
    part = N if N <= MAX_UNDIVIDED else max(MIN_PART, rows, -(-N // MAX_PARTS))
    parts = -(-N // part) if N else 1
    sums = cupy.empty((parts, rows * C), values.dtype)
    grid = (rows, -(-C // SCAN_COLUMNS), parts)
    launch("embedding_gradient", values.dtype, grid, (32, 8), values, ids, sums, N, C, part)
    return (sums if parts == 1 else column_sums(sums)).reshape(rows, C)


def add_segments(sums: Array, values: Array, ids: Array) -> Array:
    """Add each of values (N, C) to the row of sums (rows, C) that ids (N,) names, in place.

    All three are contiguous. Ids out of range are ignored. The order of summation depends on the
    ids only.
    """
    (rows, C), N = sums.shape, ids.size
    if N and sums.size:
        order, chunks = _stable_order(ids, rows), -(-N // CHUNK)
        parts = cupy.empty((chunks, 2, C), sums.dtype)  # of sums that several chunks have parts of
        grid, block = (-(-chunks // WARPS), min(MAX_GRID_YZ, -(-C // 32))), (32, WARPS)
        sizes = N, rows, C
        launch("add_segments", sums.dtype, grid, block, values, ids, order, sums, parts, *sizes)
        launch("join_segments", sums.dtype, grid, block, ids, order, parts, sums, *sizes)
    return sums


def _stable_order(ids: Array, rows: int) -> Array:
    """The positions (N,) that sort the ids; equal ids keep their order.

    Ids out of the range [0, rows) are last.
    """
    N, dtype = ids.size, np.dtype("float32")  # the kernels do not use T
    tile = max(512, -(-N // (32 * MAX_TILES)) * 32)
    tiles = -(-N // tile)
    counts, order = cupy.empty((tiles, 2**DIGIT_BITS), cupy.int64), None
    for shift in range(0, rows.bit_length(), DIGIT_BITS):
        digit = N, tile, rows, shift
        launch("count_digits", dtype, (tiles,), (32,), ids, order, counts, *digit)
        launch("digit_offsets", dtype, (1,), (2**DIGIT_BITS,), counts, tiles)
        moved = cupy.empty(N, cupy.int64)
        launch("move_by_digit", dtype, (tiles,), (32,), ids, order, moved, counts, *digit)
        order = moved
    return order
