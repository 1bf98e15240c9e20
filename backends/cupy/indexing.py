"""Indices in arrays: checked on the device, and added at in an order that depends on them only."""

import math
from typing import Any

import cupy
import numpy as np

from ..base import NativeArray as Array
from ..indices import selections
from .embedding import add_segments
from .errors import error_flag
from .launch import MAX_BLOCKS, THREADS, launch
from .layout import as_ids, contiguous


def check_ids(ids: Array, least: int, limit: int) -> None:
    """Record an error for the next copy to the host if an id is outside of [least, limit).

    CuPy itself reads another element: its indices wrap around.
    """
    count, dtype = ids.size, np.dtype("float32")  # the kernel does not use T
    if count:
        blocks = min(MAX_BLOCKS, -(-count // THREADS))
        arguments = as_ids(ids), count, least, limit, error_flag()
        launch("check_ids", dtype, (blocks,), (THREADS,), *arguments)


def check_key(x: Array, key: Any) -> None:
    """`check_ids` for the arrays of a key of x; CuPy checks its integers."""
    for part, axis in selections(x.shape, key):
        if isinstance(part, cupy.ndarray):
            check_ids(part, -x.shape[axis], x.shape[axis])


def is_supported(x: Array) -> bool:
    """True for floating arrays, whose sums depend on the order of their terms."""
    return bool(x.dtype.char in "efd")


def add_at(x: Array, key: Any, values: Any) -> None:
    """Add `values` to x[key] in place; where an index occurs several times, all are added.

    `cupy.add.at` adds atomically, so the last bits of its sums differ from run to run.
    """
    if x.dtype.char == "e" or not x.flags.c_contiguous:
        copy = cupy.ascontiguousarray(x, cupy.float32 if x.dtype.char == "e" else x.dtype)
        add_at(copy, key, values)
        x[...] = copy
        return
    parts = key if isinstance(key, tuple) else (key,)
    axes = _indexed_axes(x.ndim, parts)
    lead, rest = x.shape[:axes], x.shape[axes:]
    rows, size = math.prod(lead), math.prod(rest)
    ids = _row_ids(lead, parts)
    terms = cupy.empty((*ids.shape, *rest), x.dtype)
    terms[...] = values
    ids = contiguous(ids).reshape(-1)
    add_segments(x.reshape(rows, size), terms.reshape(ids.size, size), ids)


def _indexed_axes(ndim: int, parts: tuple[Any, ...]) -> int:
    """How many of the first axes a key may select from; the others are whole."""
    axes = 0
    for part in parts:
        if part is Ellipsis:
            return ndim
        if part is not None:
            axes += part.ndim if _is_mask(part) else 1
    return axes


def _row_ids(lead: tuple[int, ...], parts: tuple[Any, ...]) -> Array:
    """The numbers that the key selects from those of all rows, in the shape `lead`: int64."""
    if not all(isinstance(p, int | np.integer) or _is_ids(p) for p in parts):
        return cupy.arange(math.prod(lead), dtype=cupy.int64).reshape(lead)[parts]
    ids: Any = 0  # the same, without an array of all rows
    for n, part in zip(lead, parts, strict=True):
        index = part.astype(cupy.int64) if _is_ids(part) else int(part)
        ids = ids * n + index % n
    return ids


def _is_mask(part: Any) -> bool:
    return isinstance(part, cupy.ndarray) and part.dtype == cupy.bool_


def _is_ids(part: Any) -> bool:
    return isinstance(part, cupy.ndarray) and part.dtype != cupy.bool_
