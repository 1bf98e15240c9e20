"""Addition at indices that may occur several times, in an order that depends on them only."""

import math
from typing import Any

import cupy

from ..base import NativeArray as Array
from .embedding import add_segments
from .layout import contiguous


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
    axes = _indexed_axes(x.ndim, key)
    lead, rest = x.shape[:axes], x.shape[axes:]
    rows, size = math.prod(lead), math.prod(rest)
    ids = cupy.arange(rows, dtype=cupy.int64).reshape(lead)[key]  # of rows of x (rows, size)
    terms = cupy.empty((*ids.shape, *rest), x.dtype)
    terms[...] = values
    ids = contiguous(ids).reshape(-1)
    add_segments(x.reshape(rows, size), terms.reshape(ids.size, size), ids)


def _indexed_axes(ndim: int, key: Any) -> int:
    """How many of the first axes a key may select from; the others are whole."""
    axes = 0
    for part in key if isinstance(key, tuple) else (key,):
        if part is Ellipsis:
            return ndim
        if part is not None:
            is_mask = getattr(part, "dtype", None) == cupy.bool_
            axes += part.ndim if is_mask else 1
    return axes
