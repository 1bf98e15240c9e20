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
from collections.abc import Callable
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from . import blas, winograd
from .gemm import MIN_PARALLEL_MULTIPLICATIONS as MIN_CONCURRENT_MULTIPLICATIONS
from .lifted import MIN_PARALLEL_MULTIPLICATIONS, Lifted, parallel_images
from .rows import column_sums
from .threads import Concurrent, threads_to_use

KERNELS = KernelTable()


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
        _concurrent_if_short(
            len(x), weight, window, lambda: input_gradient(g, weight, None, window, groups)
        ),
        _concurrent_if_short(
            len(x), weight, window, lambda: weight_gradient(g, x, weight.shape, window, groups)
        ),
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
    if winograd.is_faster(len(x), weight.shape, window, groups):
        found = winograd.convolve(x, weight, bias, window, _cost(weight, window))
        if found is not None:
            return found
    (N, C, _, _), O = x.shape, len(weight)  # noqa: E741
    y = np.empty((N, O, *window.output), x.dtype)
    lines = _lines_of(weight, groups)  # (KH, G, O / G, C / G * KW)
    if _run_in_c("convolve", window, x, lines, bias, y):
        return y

    def work(start: int, stop: int) -> None:
        lifted = Lifted(C, stop - start, window, groups, x.dtype)
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

    parallel_images(work, N, _cost(weight, window))
    return y


def input_gradient(g: Array, weight: Array, bias: Array | None, window: Any, groups: int) -> Array:
    """The gradient of a convolution's input, plus a bias (C,): g (N, O, OH, OW) -> (N, C, H, W)."""
    turned = _turned(window) if groups == 1 else None
    turned_weight = weight[:, :, ::-1, ::-1].swapaxes(0, 1)
    if turned and winograd.is_faster(len(g), turned_weight.shape, turned, 1):
        return convolve(g, turned_weight, bias, turned, 1)
    (N, O, _, _), C = g.shape, weight.shape[1] * groups  # noqa: E741
    g = np.ascontiguousarray(g)
    dx = np.empty((N, C, *window.image), g.dtype)
    lines = _lines_of(weight, groups)  # (KH, G, O / G, C / G * KW)
    if _run_in_c("convolution_input_gradient", window, g, lines, bias, dx):
        return dx
    if turned:
        return convolve(g, turned_weight, bias, turned, 1)
    dx[...] = 0
    lines = lines.swapaxes(2, 3)

    def work(start: int, stop: int) -> None:
        lifted = Lifted(C, stop - start, window, groups, g.dtype, is_sum=True)
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

    parallel_images(work, N, _cost(weight, window))
    return dx


def weight_gradient(g: Array, x: Array, shape: tuple[int, ...], window: Any, groups: int) -> Array:
    """The gradient of a convolution's weight: g (N, O, OH, OW), x (N, C, H, W) -> `shape`."""
    (N, C, _, _), (O, per_group, KH, KW) = x.shape, shape  # noqa: E741
    multiplications = O * per_group * KH * KW * math.prod(window.output)
    if winograd.is_faster(len(x), shape, window, groups):
        found = winograd.weight_gradient(g, x, shape, window, multiplications)
        if found is not None:
            return found
    g = np.ascontiguousarray(g)
    in_c = _weight_gradient_in_c(g, x, shape, window, groups)
    if in_c is not None:
        return in_c
    parts = {}

    def work(start: int, stop: int) -> None:
        lifted = Lifted(C, stop - start, window, groups, x.dtype)
        total = np.zeros((KH, groups, per_group * KW, O // groups), x.dtype)
        for images in lifted.blocks(start, stop):
            lifted.load(x[images])
            rows = g[images].reshape(-1, groups, O // groups, lifted.positions).swapaxes(2, 3)
            for i in range(KH):
                total[i] += (lifted.under(i) @ rows).sum(axis=0)
        parts[start] = total

    parallel_images(work, N, multiplications)
    total: Any = sum(parts[start] for start in sorted(parts))  # always in the same order
    total = total.reshape(KH, groups, per_group, KW, O // groups)
    return np.ascontiguousarray(total.transpose(1, 4, 2, 0, 3)).reshape(shape)


def _run_in_c(
    name: str, window: Any, images: Array, lines: Array, bias: Array | None, out: Array
) -> bool:
    """Run a function of convolution.c, if it supports the arrays, with the lines of a weight."""
    if not images.size * out.size * lines.size:
        return False
    numbers, images = np.array(window, np.int64), np.ascontiguousarray(images)
    bias = None if bias is None else np.ascontiguousarray(bias)
    sizes = len(images), lines.shape[1], lines.shape[3] // window.kernel[1], lines.shape[2]
    block = max(1, len(images) // (2 * threads_to_use()))
    given = numbers.ctypes.data, images, lines, bias, out
    return blas.run(name, *given, *sizes, block=block)


def _weight_gradient_in_c(
    g: Array, x: Array, shape: tuple[int, ...], window: Any, groups: int
) -> Array | None:
    """`weight_gradient` by compiled code, if it supports the arrays."""
    if not x.size * g.size:
        return None
    O, C, KH, KW = shape  # noqa: E741
    numbers, x = np.array(window, np.int64), np.ascontiguousarray(x)
    block = -(-len(x) // threads_to_use())
    totals = blas.Totals(len(x), block, math.prod(shape))
    given = numbers.ctypes.data, x, g, totals.array
    sizes = len(x), groups, C, O // groups
    if not blas.run("convolution_weight_gradient", *given, *sizes, block=block):
        return None
    total = totals.sum().reshape(KH, groups, O // groups, C, KW)
    return np.ascontiguousarray(total.transpose(1, 2, 3, 0, 4)).reshape(shape)


def _concurrent_if_short(
    images: int, weight: Array, window: Any, function: Callable[[], Array]
) -> Any:
    """Let a gradient that is too short for several threads run next to the other one."""
    if blas.is_available():  # which divides each of the two
        return function
    size = images * _cost(weight, window)
    is_short = MIN_CONCURRENT_MULTIPLICATIONS <= size < MIN_PARALLEL_MULTIPLICATIONS
    return Concurrent(function) if is_short else function


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
    inputs = math.prod(weight.shape[1:])
    return int(math.prod(window.output) * inputs * max(len(weight), 16))
