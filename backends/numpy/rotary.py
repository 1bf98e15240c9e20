"""Rotary position embedding in NumPy."""

from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from . import compiled
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
    if (rotated := _rotate_in_c(x, cos, sin)) is not None:
        return rotated
    # x * (cos, cos) + (second, first) * (-sin, sin) on contiguous arrays: NumPy's inner loops run
    # over T * hs elements instead of hs / 2.
    y, swapped = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    y[...] = x
    swapped[..., :half], swapped[..., half:] = x[..., half:], x[..., :half]
    y *= np.concatenate([cos, cos], axis=-1)
    swapped *= np.concatenate([-sin, sin], axis=-1)
    y += swapped
    return y


def _rotate_in_c(x: Array, cos: Array, sin: Array) -> Array | None:
    """`_rotate` in one pass, divided among threads by positions, of which every head has its own.

    None if there is no compiled library, or C cannot read the arrays; x may be a part of a larger
    array, with other strides than those of its shape, such as the queries of a joint projection.
    """
    library = compiled.load()
    if library is None or x.ndim > 4 or cos.shape != (x.shape[-2], x.shape[-1] // 2):
        return None
    stack = x[(None,) * (4 - x.ndim)]  # (B, nh, T, hs)
    if not (stack.strides[3] == 4 and all(map(_is_readable, (stack, cos, sin)))):
        return None
    if not (cos.flags.c_contiguous and sin.flags.c_contiguous and sin.shape == cos.shape):
        return None
    (B, heads, T, _), half = stack.shape, cos.shape[1]
    y, strides = np.empty(x.shape, np.float32), [stride // 4 for stride in stack.strides[:3]]
    addresses = map(compiled.address, (x, cos, sin, y))
    steps = stack.strides[2], 4 * half, 4 * half, 8 * half, compiled.COUNT, *[0] * 7
    compiled.divide(
        library, library.functions["rotary"], (*addresses, T, B, heads, T, half, *strides),
        compiled.pack_steps(steps), T, max(1, T * compiled.PART_BYTES // x.nbytes),
    )  # fmt: skip
    return y


def _is_readable(x: Array) -> bool:
    whole = not any(stride % 4 for stride in x.strides)
    return x.dtype == compiled.FLOAT32 and x.flags.aligned and whole
