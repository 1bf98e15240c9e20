"""Pooling: the largest element of each patch of an image, or their mean."""

import math
from typing import Any

from ..backends.arrays import Array, Namespace
from .op import op
from .windows import Window, pad_images, padded_size, taps, unpad


@op(promote="float")
def max_pooling(xp: Namespace, x: Array, *, window: Window) -> Any:
    """The largest element under the kernel: (N, C, H, W) -> (N, C, OH, OW)."""
    y, place = largest(xp, x, window)
    return y, (place, window)


@max_pooling.gradient
def max_pooling_gradient(xp: Namespace, g: Array, place: Array, window: Window) -> Any:
    padded = xp.zeros((*g.shape[:2], *padded_size(window)), dtype=g.dtype)
    for k, key in enumerate(taps(window)):
        padded = xp.index_add(padded, key, xp.where(place == k, g, xp.zeros_like(g)))
    return unpad(padded, window)


def largest(xp: Namespace, x: Array, window: Window) -> tuple[Array, Array]:
    """The largest element under the kernel, and its place in the kernel: (N, C, OH, OW) each.

    The place is that of the first one if several are equal. NaN wins over all numbers; of several
    NaN, the last one wins.
    """
    padded = pad_images(xp, x, window, -math.inf)
    y = xp.full((*x.shape[:2], *window.output), -math.inf, dtype=x.dtype)
    place = xp.broadcast_to(first_place(xp, window), y.shape)  # for -inf, as PyTorch
    for k, key in enumerate(taps(window)):
        value = padded[key]
        is_larger = (value > y) | (value != value)
        y = xp.where(is_larger, value, y)
        place = xp.where(is_larger, xp.full_like(place, k), place)
    return y, place


def first_place(xp: Namespace, window: Window) -> Array:
    """The place in the kernel of its first element inside of the image: integers (OH, OW)."""
    first = []
    for size, stride, padding, dilation in zip(
        window.output, window.stride, window.padding, window.dilation, strict=True
    ):
        start = xp.arange(size) * stride - padding
        first.append(xp.where(start < 0, -(start // dilation), xp.zeros_like(start)))
    return xp.expand_dims(first[0], axis=1) * window.kernel[1] + first[1]


def places(xp: Namespace, x: Array, window: Window) -> Array:
    """The places of the largest elements in images of shape (H * W,)."""
    _, place = largest(xp, x, window)
    found = []
    for axis, tap in enumerate((place // window.kernel[1], place % window.kernel[1])):
        start = xp.arange(window.output[axis]) * window.stride[axis] - window.padding[axis]
        found.append(
            xp.reshape(start, (-1, 1) if axis == 0 else (-1,)) + tap * window.dilation[axis]
        )
    return found[0] * window.image[1] + found[1]


@op(promote="float")
def average_pooling(
    xp: Namespace,
    x: Array,
    *,
    window: Window,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Any:
    """The mean of the elements under the kernel: (N, C, H, W) -> (N, C, OH, OW).

    The sum is divided by the number of elements in the image, or with `count_include_pad` in the
    padded image; or by `divisor`.
    """
    padded = pad_images(xp, x, window)
    total = xp.zeros((*x.shape[:2], *window.output), dtype=x.dtype)
    for key in taps(window):
        total = total + padded[key]
    count: Any = divisor
    if divisor is None:
        rows, columns = (covered(xp, window, axis, count_include_pad) for axis in (0, 1))
        count = xp.astype(xp.expand_dims(rows, axis=1) * columns, x.dtype)  # (OH, OW)
    return total / count, (count, window)


@average_pooling.gradient
def average_pooling_gradient(xp: Namespace, g: Array, count: Any, window: Window) -> Any:
    share = g / count
    padded = xp.zeros((*g.shape[:2], *padded_size(window)), dtype=g.dtype)
    for key in taps(window):
        padded = xp.index_add(padded, key, share)
    return unpad(padded, window)


def covered(xp: Namespace, window: Window, axis: int, count_include_pad: bool) -> Array:
    """How many elements each position of the kernel covers along one axis: integers (output,)."""
    size, padding = window.image[axis], window.padding[axis]
    outside = padding if count_include_pad else 0  # elements on each side that count
    start = xp.arange(window.output[axis]) * window.stride[axis] - padding
    count = xp.zeros_like(start)
    for i in range(window.kernel[axis]):
        at = start + i
        count = count + xp.astype((at >= -outside) & (at < size + outside), xp.int64)
    return count
