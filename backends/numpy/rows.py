"""Helpers for arrays as rows (N, C): contiguous views, and fast forms of NumPy functions."""

import functools
import math
from typing import Any

import numpy as np

from ..base import NumpyArray as Array

SMALL_SIZE = 4096  # elements; up to this size, plain NumPy calls beat blocked, in-place code
EXP_RANGE = 60  # exp(-60) is still a normal float32; the kernels do not run in float16


def as_matrix(x: Array) -> Array:
    """Reshape x (..., C) to (N, C), where N may be 0, and C too."""
    if x.size:
        return x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def as_stack(x: Array) -> Array:
    """Reshape x (..., M, N) to a stack of matrices (L, M, N), any of which may be 0."""
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def as_rows(x: Array) -> Array:
    """View x (..., C) as C-contiguous rows (N, C); copy it if it is not contiguous."""
    rows = as_matrix(x)
    return rows if rows.flags.c_contiguous else np.ascontiguousarray(rows)


@functools.lru_cache(maxsize=64)
def constant_column(size: int, value: float, dtype: Any) -> Array:
    """Return a cached read-only column (size, 1) filled with `value`.

    ``x @ column`` sums (value 1) or averages (value 1 / size) the rows of x, many times faster
    than NumPy reduces a short last axis.
    """
    column = np.full((size, 1), value, dtype)
    column.flags.writeable = False
    return column


def column_sums(x: Array) -> Array:
    """Sum x (N, C) over N -> (C,), as a product: BLAS adds rows faster than a reduction."""
    return np.ones(x.shape[0], x.dtype) @ x


def common_maximum(scores: Array) -> Any:
    """Return the maximum of all scores if it can replace the maximum of each row, else None.

    A softmax may subtract it from every row if no exponential underflows. NumPy finds one maximum
    ten times as fast as one for each row.
    """
    if scores.size > SMALL_SIZE and (high := scores.max()) - scores.min() < EXP_RANGE:
        return high
    return None


def keep_where(keep: Array, x: Array, out: Array) -> None:
    """Write x where `keep` is 1 or True, and 0 where it is 0 or False, to `out`.

    `keep` broadcasts to x. The bits of floats are multiplied as integers, which is exact for
    infinities and NaN too, and ten times as fast as `np.where`.
    """
    integer = INTEGERS[x.dtype.char]
    np.multiply(x.view(integer), keep, out=out.view(integer))


INTEGERS = {"f": np.int32, "d": np.int64}  # by type code of floats: integers of the same size
