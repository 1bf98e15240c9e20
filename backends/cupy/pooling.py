"""Pooling on CUDA; the kernels are in windows.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import launch_elementwise
from .layout import contiguous

KERNELS = KernelTable()


@KERNELS.forward
def max_pooling(xp: Namespace, x: Array, *, window: Any) -> Any:
    """(N, C, H, W) -> (N, C, OH, OW). Saves the place of each maximum in the kernel."""
    N, C = x.shape[:2]
    y = cupy.empty((N, C, *window.output), x.dtype)
    places = cupy.empty(y.shape, cupy.int64)
    launch_elementwise("max_pooling", y, contiguous(x), y, places, N * C, *_numbers(window))
    return y, (places, window)


@KERNELS.gradient(max_pooling)
def max_pooling_gradient(xp: Namespace, g: Array, places: Array, window: Any) -> Any:
    N, C = g.shape[:2]
    dx = cupy.empty((N, C, *window.image), g.dtype)
    given = (contiguous(g), places, dx, N * C)
    launch_elementwise("max_pooling_gradient", dx, *given, *_numbers(window))
    return dx


@KERNELS.forward
def average_pooling(
    xp: Namespace,
    x: Array,
    *,
    window: Any,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Any:
    """(N, C, H, W) -> (N, C, OH, OW)."""
    N, C = x.shape[:2]
    y = cupy.empty((N, C, *window.output), x.dtype)
    settings = (int(count_include_pad), divisor or 0)
    given = (contiguous(x), y, *settings, N * C)
    launch_elementwise("average_pooling", y, *given, *_numbers(window))
    return y, (settings, window)


@KERNELS.gradient(average_pooling)
def average_pooling_gradient(xp: Namespace, g: Array, settings: Any, window: Any) -> Any:
    N, C = g.shape[:2]
    dx = cupy.empty((N, C, *window.image), g.dtype)
    given = (contiguous(g), dx, *settings, N * C)
    launch_elementwise("average_pooling_gradient", dx, *given, *_numbers(window))
    return dx


def _numbers(window: Any) -> tuple[int, ...]:
    """A window as a kernel takes it."""
    return tuple([number for pair in window for number in pair])
