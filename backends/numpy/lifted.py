"""Lifted images: copies of an image, shifted by each column of a kernel; see `convolution`."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..base import NumpyArray as Array
from .threads import limit_blas_threads, parallel_ranges

LIFTED_BYTES = 2**19  # of the lifted images of a block: a part of the L2 cache
# A smaller convolution consists of so short calls that threads mostly wait for each other's GIL.
MIN_PARALLEL_MULTIPLICATIONS = 2**26


def parallel_images(work: Callable[[int, int], None], images: int, multiplications: int) -> None:
    """Call ``work(start, stop)`` for ranges of the images, in threads if there is enough to do."""
    if images * multiplications < MIN_PARALLEL_MULTIPLICATIONS or not limit_blas_threads():
        work(0, images)
    else:
        parallel_ranges(work, images)


class Lifted:
    """The lifted images of a block, in a buffer that is used again for the next block.

    Elements in the padding are never written and stay 0.

    Attributes:
        block: number of images in a block.
        positions: OH * OW.
    """

    def __init__(
        self,
        channels: int,
        images: int,
        window: Any,
        groups: int,
        dtype: Any,
        is_sum: bool = False,
    ) -> None:
        (_, KW), (SH, SW), (OH, OW) = window.kernel, window.stride, window.output
        self.window, self.positions = window, OH * OW
        self.offsets = [divmod(i * window.dilation[0], SH) for i in range(window.kernel[0])]
        lines = OH + max(line for line, _ in self.offsets)
        shape = (channels, KW, SH, lines, OW)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        self.block = max(1, min(images, LIFTED_BYTES // max(1, size)))
        self.is_copy = is_sum or (*window.kernel, SH, SW, *window.padding) != (1, 1, 1, 1, 0, 0)
        self.images = np.zeros((self.block if self.is_copy else 0, *shape), dtype)
        self.matrix_shape = (groups, channels // groups * KW, SH, lines * OW)
        self.matrices = self.images.reshape(-1, *self.matrix_shape)
        self.keys = [*self._keys()]

    def _keys(self) -> Iterator[tuple[Any, Any]]:
        """The key of a part of `images`, and that of the elements of images (n, C, H, W) in it."""
        (H, W), (SH, SW), (top, left) = self.window.image, self.window.stride, self.window.padding
        *_, lines, OW = self.images.shape
        for j in range(self.window.kernel[1]):
            columns, from_columns = inside(W, OW, SW, j * self.window.dilation[1] - left)
            for phase in {phase for _, phase in self.offsets}:
                at, from_lines = inside(H, lines, SH, phase - top)
                yield (..., j, phase, at, columns), (..., from_lines, from_columns)

    def blocks(self, start: int, stop: int) -> Iterator[slice]:
        """The images from start to stop in blocks."""
        for first in range(start, stop, self.block):
            yield slice(first, min(first + self.block, stop))

    def load(self, x: Array) -> None:
        """Copy images (n, C, H, W)."""
        if not self.is_copy:
            self.matrices = np.ascontiguousarray(x).reshape(len(x), *self.matrix_shape)
            return
        self.matrices = self.images[: len(x)].reshape(len(x), *self.matrix_shape)
        for at, inside in self.keys:
            self.images[: len(x)][at] = x[inside]

    def clear(self, count: int) -> None:
        """Begin the sums for `count` images."""
        self.images[:count] = 0
        self.matrices = self.images[:count].reshape(count, *self.matrix_shape)

    def add_to(self, dx: Array) -> None:
        """Add to images (n, C, H, W) what was computed for their lifted ones."""
        for at, inside in self.keys:
            dx[inside] += self.images[: len(dx)][at]

    def under(self, line: int) -> Array:
        """The elements under a line of the kernel: (n, groups, C / groups * KW, OH * OW)."""
        start, phase = self.offsets[line]
        start *= self.window.output[1]
        return self.matrices[:, :, :, phase, start : start + self.positions]


def inside(size: int, count: int, stride: int, offset: int) -> tuple[slice, slice]:
    """Which i < count have 0 <= i * stride + offset < size, and these numbers."""
    first = min(count, max(0, -(offset // stride)))
    last = max(first, min(count, (size - 1 - offset) // stride + 1))
    start = first * stride + offset
    return slice(first, last), slice(start, start + (last - first) * stride, stride)
