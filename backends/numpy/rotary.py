"""Rotary position embedding in NumPy."""

from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from .rows import SMALL_SIZE

KERNELS = KernelTable()


@KERNELS.forward
def rotary(xp: Namespace, x: Array, cos: Array, sin: Array) -> Any:
    """x (..., T, hs), cos and sin (T, hs / 2) -> (..., T, hs)."""
    return _rotate(x, cos, sin), (cos, sin)


@KERNELS.gradient(rotary)
def rotary_gradient(xp: Namespace, g: Array, cos: Array, sin: Array) -> Any:
    """Rotate by the negative angles."""
    return _rotate(g, cos, -sin), None, None


def _rotate(x: Array, cos: Array, sin: Array) -> Array:
    """Rotate the pairs (x[i], x[i + hs / 2]) of the last axis."""
    half = x.shape[-1] // 2
    if x.size <= SMALL_SIZE:
        pairs = x.reshape(*x.shape[:-1], 2, half)  # (..., T, 2, hs / 2)
        signed = np.empty((len(sin), 2, half), sin.dtype)
        np.negative(sin, out=signed[:, 0])
        signed[:, 1] = sin
        y = pairs * cos[:, None]
        y += pairs[..., ::-1, :] * signed
        return y.reshape(x.shape)
    # x * (cos, cos) + (second, first) * (-sin, sin) on contiguous arrays: NumPy's inner loops run
    # over T * hs elements instead of hs / 2.
    y, swapped = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    y[...] = x
    swapped[..., :half], swapped[..., half:] = x[..., half:], x[..., :half]
    y *= np.concatenate([cos, cos], axis=-1)
    swapped *= np.concatenate([-sin, sin], axis=-1)
    y += swapped
    return y
