"""`where` in NumPy, if one of its values is a scalar, as of masked_fill."""

from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from .rows import INTEGERS, SMALL_SIZE, keep_where
from .threads import parallel_blocks

KERNELS = KernelTable()


@KERNELS.forward
def where(xp: Namespace, condition: Array, x: Any, y: Any) -> Any:
    """For a condition that broadcasts to one of x and y, if the other is a scalar.

    Returns NotImplemented for other arguments, and for small arrays.
    """
    if condition.dtype != np.bool_ or _is_scalar(x) == _is_scalar(y):
        return NotImplemented
    keep, value, scalar = (condition, x, y) if _is_scalar(y) else (~condition, y, x)
    if not _is_supported(keep, value) or getattr(scalar, "dtype", value.dtype) != value.dtype:
        return NotImplemented
    bits: Any = np.asarray(scalar, value.dtype).reshape(()).view(INTEGERS[value.dtype.char])
    out, filled = _kept(keep, value), ~keep * bits
    out.view(bits.dtype)[...] |= filled
    return out, (condition,)


@KERNELS.gradient(where)
def where_gradient(xp: Namespace, g: Array, condition: Array) -> Any:
    return None, lambda: _kept(condition, g), lambda: _kept(~condition, g)


def _is_scalar(x: Any) -> bool:
    return isinstance(x, int | float) or x.ndim == 0


def _is_supported(keep: Array, x: Array) -> bool:
    if x.dtype.char not in INTEGERS or x.size <= SMALL_SIZE or keep.ndim > x.ndim:
        return False
    pairs = zip(reversed(keep.shape), reversed(x.shape), strict=False)
    return all(n in (1, size) for n, size in pairs)


def _kept(keep: Array, x: Array) -> Array:
    """x where `keep`, which broadcasts to it, is true, else 0."""
    out = np.empty(x.shape, x.dtype)
    if keep.size < x.size:  # a boolean factor would be cast again wherever it is repeated
        keep = keep.astype(INTEGERS[x.dtype.char])
    keep = np.broadcast_to(keep, x.shape)

    def work(i: int, j: int) -> None:
        keep_where(keep[i:j], x[i:j], out[i:j])

    parallel_blocks(work, len(x), x[:1].nbytes)
    return out
