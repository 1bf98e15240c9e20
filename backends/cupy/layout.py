"""Array layouts that CUDA kernels accept: contiguous arrays, rows of a matrix, strided views."""

import math
from typing import Any

import cupy

from ..base import NativeArray as Array


def contiguous(x: Array) -> Array:
    """x itself if its elements are contiguous in C order, else a copy that is."""
    return x if x.flags.c_contiguous else cupy.ascontiguousarray(x)


def as_rows(x: Array) -> Array:
    """x (..., C) as a contiguous matrix (N, C); a scalar as (1, 1)."""
    size = x.shape[-1] if x.ndim else 1
    return contiguous(x).reshape(math.prod(x.shape[:-1]), size)


def as_ids(x: Array) -> Array:
    """Integers of any dtype and shape as a contiguous int64 array (N,)."""
    return contiguous(x.astype(cupy.int64, copy=False)).reshape(-1)


def with_strides(x: Array | None) -> tuple[Any, ...]:
    """A kernel's arguments for a view x (B, nh, T, hs): x, and its strides over batch, heads and
    tokens in elements. x is copied unless its last axis is contiguous; None gives a null pointer.
    """
    if x is None:
        return None, 0, 0, 0
    x = x if x.strides[3] == x.itemsize else contiguous(x)
    return x, *(stride // x.itemsize for stride in x.strides[:3])


def is_supported(x: Array) -> bool:
    """True for float32 and float64, the dtypes that the CUDA kernels are compiled for.

    For other dtypes a kernel returns NotImplemented, and the op runs as written.
    """
    return bool(x.dtype.char in "fd")
