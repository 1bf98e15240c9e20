"""Convolutions in NumPy: matrix products with lifted images, one block of images at a time.

Three functions compute everything: `convolve`, and the gradients of its input and of its weight. A
transposed convolution is the gradient of the input, and the other way around.

The reference copies each patch to a column, which takes KH * KW times the memory of the image, and
almost as long as the product. Here an image is copied only KW times, once for each column of the
kernel, shifted by it: the *lifted* image (C * KW, lines, OW) has the elements under one line of the
kernel, for all its positions on one line of the output, in one of its columns. The lines that a
line of the kernel meets are neighbours in memory, so that (C * KW, OH * OW) is a matrix without a
copy, and the convolution is the sum of KH products. For a stride of 2 the even and the odd lines
are kept apart, and so on.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from .gemm import MIN_PARALLEL_MULTIPLICATIONS
from .rows import column_sums
from .threads import limit_blas_threads, parallel_ranges

KERNELS = KernelTable()

LIFTED_BYTES = 2**19  # of the lifted images of a block: a part of the L2 cache


@KERNELS.forward
def convolution(
    xp: Namespace,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    window: Any,
    groups: int = 1,
) -> Any:
    """x (N, C, H, W), weight (O, C / groups, KH, KW), bias (O,) -> (N, O, OH, OW)."""
    return convolve(x, weight, bias, window, groups), (x, weight, window, groups)


@KERNELS.gradient(convolution)
def convolution_gradient(
    xp: Namespace, g: Array, x: Array, weight: Array, window: Any, groups: int
) -> Any:
    return (
        lambda: input_gradient(g, weight, None, window, groups),
        lambda: weight_gradient(g, x, weight.shape, window, groups),
        lambda: channel_sums(g),
    )


@KERNELS.forward
def transposed_convolution(
    xp: Namespace,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    window: Any,
    groups: int = 1,
) -> Any:
    """x (N, O, OH, OW), weight (O, C / groups, KH, KW), bias (C,) -> (N, C, H, W)."""
    return input_gradient(x, weight, bias, window, groups), (x, weight, window, groups)


@KERNELS.gradient(transposed_convolution)
def transposed_convolution_gradient(
    xp: Namespace, g: Array, x: Array, weight: Array, window: Any, groups: int
) -> Any:
    return (
        lambda: convolve(g, weight, None, window, groups),
        lambda: weight_gradient(x, g, weight.shape, window, groups),
        lambda: channel_sums(g),
    )


def convolve(x: Array, weight: Array, bias: Array | None, window: Any, groups: int) -> Array:
    """The convolution of images x (N, C, H, W) -> (N, O, OH, OW)."""
    (N, C, _, _), O = x.shape, len(weight)  # noqa: E741
    y = np.empty((N, O, *window.output), x.dtype)
    lines = _lines_of(weight, groups)  # (KH, G, O / G, C / G * KW)

    def work(start: int, stop: int) -> None:
        lifted = _Lifted(C, stop - start, window, groups, x.dtype)
        part = np.empty((lifted.block, groups, O // groups, lifted.positions), x.dtype)
        for images in lifted.blocks(start, stop):
            lifted.load(x[images])
            out = y[images].reshape(-1, *part.shape[1:])
            np.matmul(lines[0], lifted.under(0), out=out)
            for i in range(1, len(lines)):
                np.matmul(lines[i], lifted.under(i), out=part[: len(out)])
                out += part[: len(out)]
            if bias is not None:
                out += bias.reshape(groups, -1, 1)

    _parallel_images(work, N, _cost(weight, window))
    return y


def input_gradient(g: Array, weight: Array, bias: Array | None, window: Any, groups: int) -> Array:
    """The gradient of a convolution's input, plus a bias (C,): g (N, O, OH, OW) -> (N, C, H, W)."""
    turned = _turned(window) if groups == 1 else None
    if turned is not None:
        return convolve(g, weight[:, :, ::-1, ::-1].swapaxes(0, 1), bias, turned, 1)
    (N, O, _, _), C = g.shape, weight.shape[1] * groups  # noqa: E741
    g = np.ascontiguousarray(g)
    dx = np.zeros((N, C, *window.image), g.dtype)
    lines = _lines_of(weight, groups).swapaxes(2, 3)  # (KH, G, C / G * KW, O / G)

    def work(start: int, stop: int) -> None:
        lifted = _Lifted(C, stop - start, window, groups, g.dtype, is_sum=True)
        part = np.empty((lifted.block, *lines.shape[1:3], lifted.positions), g.dtype)
        for images in lifted.blocks(start, stop):
            rows = g[images].reshape(-1, groups, O // groups, lifted.positions)
            lifted.clear(len(rows))
            for i in range(len(lines)):
                np.matmul(lines[i], rows, out=part[: len(rows)])
                under = lifted.under(i)
                under += part[: len(rows)]
            lifted.add_to(dx[images])
        if bias is not None:
            dx[start:stop] += bias.reshape(-1, 1, 1)

    _parallel_images(work, N, _cost(weight, window))
    return dx


def weight_gradient(g: Array, x: Array, shape: tuple[int, ...], window: Any, groups: int) -> Array:
    """The gradient of a convolution's weight: g (N, O, OH, OW), x (N, C, H, W) -> `shape`."""
    (N, C, _, _), (O, per_group, KH, KW) = x.shape, shape  # noqa: E741
    g = np.ascontiguousarray(g)
    parts = {}

    def work(start: int, stop: int) -> None:
        lifted = _Lifted(C, stop - start, window, groups, x.dtype)
        total = np.zeros((KH, groups, per_group * KW, O // groups), x.dtype)
        for images in lifted.blocks(start, stop):
            lifted.load(x[images])
            rows = g[images].reshape(-1, groups, O // groups, lifted.positions).swapaxes(2, 3)
            for i in range(KH):
                total[i] += (lifted.under(i) @ rows).sum(axis=0)
        parts[start] = total

    _parallel_images(work, N, O * per_group * KH * KW * math.prod(window.output))
    total = sum(parts[start] for start in sorted(parts))  # always in the same order
    total = total.reshape(KH, groups, per_group, KW, O // groups)
    return np.ascontiguousarray(total.transpose(1, 4, 2, 0, 3)).reshape(shape)


def channel_sums(g: Array) -> Array:
    """Sum g (N, C, H, W) over all axes but the channels -> (C,)."""
    N, C, H, W = g.shape
    lines = np.ascontiguousarray(g).reshape(N * C, H * W)
    sums: Array = column_sums((lines @ np.ones(H * W, g.dtype)).reshape(N, C))
    return sums


def _turned(window: Any) -> Any:
    """The window of the gradient of the input as a convolution of g with the kernel turned by 180
    degrees; None if it is none."""
    settings = zip(window.kernel, window.dilation, window.padding, strict=True)
    padding = tuple([d * (k - 1) - p for k, d, p in settings])
    if window.stride != (1, 1) or min(padding) < 0:
        return None
    return window._replace(image=window.output, output=window.image, padding=padding)


def _lines_of(weight: Array, groups: int) -> Array:
    """A weight (O, C / G, KH, KW) as matrices for each line: (KH, G, O / G, C / G * KW)."""
    O, C, KH, KW = weight.shape  # noqa: E741
    parts = weight.reshape(groups, O // groups, C, KH, KW).transpose(3, 0, 1, 2, 4)
    return np.ascontiguousarray(parts).reshape(KH, groups, O // groups, C * KW)


def _cost(weight: Array, window: Any) -> int:
    """The multiplications for one image; copies take as long as those for a few outputs."""
    return int(math.prod(window.output)) * max(weight.size, 16 * math.prod(weight.shape[1:]))


def _parallel_images(work: Callable[[int, int], None], images: int, multiplications: int) -> None:
    """Call ``work(start, stop)`` for ranges of the images, in threads if there is enough to do."""
    if images * multiplications < MIN_PARALLEL_MULTIPLICATIONS or not limit_blas_threads():
        work(0, images)
    else:
        parallel_ranges(work, images)


class _Lifted:
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
            columns, from_columns = _inside(W, OW, SW, j * self.window.dilation[1] - left)
            for phase in {phase for _, phase in self.offsets}:
                at, from_lines = _inside(H, lines, SH, phase - top)
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


def _inside(size: int, count: int, stride: int, offset: int) -> tuple[slice, slice]:
    """Which i < count have 0 <= i * stride + offset < size, and these numbers."""
    first = min(count, max(0, -(offset // stride)))
    last = max(first, min(count, (size - 1 - offset) // stride + 1))
    start = first * stride + offset
    return slice(first, last), slice(start, start + (last - first) * stride, stride)
