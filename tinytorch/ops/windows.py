"""Windows, or kernels, that slide over images: where they go, and the patches under them.

Images are arrays (N, C, H, W).
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..backends.arrays import Array, Namespace


class Window(NamedTuple):
    """How a kernel slides over an image; each size is (vertical, horizontal).

    Attributes:
        image: (H, W), the size of the image.
        kernel: (KH, KW), the size of the kernel.
        stride: the distance between two positions of the kernel.
        padding: the number of elements added on both sides of the image.
        dilation: the distance between two elements of the kernel.
        output: (OH, OW), the number of positions.
    """

    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    output: tuple[int, int]


def output_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool = False
) -> int:
    """The number of positions of a kernel along one axis of an image; less than 1 if it is larger.

    Args:
        size: of the image.
        kernel: the number of elements of the kernel.
        stride: the distance between two positions.
        padding: the number of elements on each side of the image.
        dilation: the distance between two elements of the kernel.
        ceil_mode: whether a last position may end outside of the padded image. It must still begin
            in the image, or in the padding before it.
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1  # what is left at the first position
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return count


def pad_images(xp: Namespace, x: Array, window: Window, value: float = 0.0) -> Array:
    """x (N, C, H, W) with `value` around each image, so that the kernel is inside everywhere."""
    H, W = padded_size(window)
    (top, left), (_, _, height, width) = window.padding, x.shape
    rows, columns = (top, H - top - height), (left, W - left - width)
    return xp.pad(x, ((0, 0), (0, 0), rows, columns), value)


def padded_size(window: Window) -> tuple[int, int]:
    """The size of an image with its padding, and with what the last position needs besides."""
    H, W = [
        max(size + padding, (output - 1) * stride + (kernel - 1) * dilation + 1)
        for size, kernel, stride, padding, dilation, output in zip(*window, strict=True)
    ]
    return H, W


def unpad(x: Array, window: Window) -> Array:
    """The images (N, C, H, W) in padded ones."""
    (top, left), (H, W) = window.padding, window.image
    return x[:, :, top : top + H, left : left + W]


def taps(window: Window) -> Iterator[tuple[Any, ...]]:
    """For each element of the kernel, the key of the elements of a padded image that it meets."""
    (KH, KW), (down, right) = window.kernel, window.dilation
    (OH, OW), (SH, SW) = window.output, window.stride
    for i in range(0, KH * down, down):
        for j in range(0, KW * right, right):
            yield ..., slice(i, i + (OH - 1) * SH + 1, SH), slice(j, j + (OW - 1) * SW + 1, SW)


def unfold(xp: Namespace, x: Array, window: Window) -> Array:
    """The patches under the kernel as columns: (N, C, H, W) -> (N, C, KH * KW, OH * OW)."""
    padded = pad_images(xp, x, window)
    patches = xp.stack([padded[key] for key in taps(window)], axis=2)
    return xp.reshape(patches, (*x.shape[:2], math.prod(window.kernel), math.prod(window.output)))


def fold(xp: Namespace, columns: Array, window: Window) -> Array:
    """Add columns up where `unfold` takes them from: (N, C, KH * KW, OH * OW) -> (N, C, H, W)."""
    N, C, K, _ = columns.shape
    patches = xp.reshape(columns, (N, C, K, *window.output))
    padded = xp.zeros((N, C, *padded_size(window)), dtype=columns.dtype)
    for k, key in enumerate(taps(window)):
        padded = xp.index_add(padded, key, patches[:, :, k, ...])
    return unpad(padded, window)
