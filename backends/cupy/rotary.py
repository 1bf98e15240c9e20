"""Rotary position embedding on CUDA; the kernel is in rotary.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import MAX_GRID_YZ, WARPS, launch
from .layout import contiguous, with_strides

KERNELS = KernelTable()


@KERNELS.forward
def rotary(xp: Namespace, x: Array, cos: Array, sin: Array) -> Any:
    """Rotate each pair (x[i], x[i + hs / 2]) by the angle of its position.

    x (..., T, hs), cos and sin (T, hs / 2) -> (..., T, hs).
    """
    return _rotate(x, cos, sin, 1), (cos, sin)


@KERNELS.gradient(rotary)
def rotary_gradient(xp: Namespace, g: Array, cos: Array, sin: Array) -> Any:
    return _rotate(g, cos, sin, -1), None, None


def _rotate(x: Array, cos: Array, sin: Array, direction: int) -> Array:
    """x (..., T, hs) rotated, or rotated back if direction is -1; a view with four axes is not
    copied first."""
    cos, sin = (contiguous(a.astype(x.dtype, copy=False)) for a in (cos, sin))
    y, half = cupy.empty(x.shape, x.dtype), x.shape[-1] // 2
    if not y.size:
        return y
    if x.ndim != 4:
        x = contiguous(x).reshape(-1, 1, *x.shape[-2:])
    B, nh, T, _ = x.shape
    grid = (-(-T // WARPS), nh, min(B, MAX_GRID_YZ))
    launch(
        "rotary", x.dtype, grid, (32, WARPS), *with_strides(x), cos, sin, y, B, T, half, direction
    )
    return y
