"""Convolutions on CUDA: patches as columns (im2col) by windows.cu, products by cuBLAS.

Columns take KH * KW times the memory of the images, so they are computed for some images at a time.
"""

import math
from collections.abc import Iterator
from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .channels import channel_sums
from .gemm import gemm
from .launch import launch_elementwise, launch_rows
from .layout import contiguous
from .reductions import column_sums

KERNELS = KernelTable()

COLUMN_BYTES = 2**28  # of the columns that are in memory at a time


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
    x = contiguous(x)
    return _convolve(x, weight, bias, window, groups), (x, weight, window, groups)


@KERNELS.gradient(convolution)
def convolution_gradient(
    xp: Namespace, g: Array, x: Array, weight: Array, window: Any, groups: int
) -> Any:
    g = contiguous(g)
    return (
        lambda: _input_gradient(g, weight, None, window, groups),
        lambda: _weight_gradient(g, x, weight.shape, window, groups),
        lambda: _bias_gradient(g),
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
    x = contiguous(x)
    return _input_gradient(x, weight, bias, window, groups), (x, weight, window, groups)


@KERNELS.gradient(transposed_convolution)
def transposed_convolution_gradient(
    xp: Namespace, g: Array, x: Array, weight: Array, window: Any, groups: int
) -> Any:
    g = contiguous(g)
    return (
        lambda: _convolve(g, weight, None, window, groups),
        lambda: _weight_gradient(x, g, weight.shape, window, groups),
        lambda: _bias_gradient(g),
    )


def _convolve(x: Array, weight: Array, bias: Array | None, window: Any, groups: int) -> Array:
    """x (N, C, H, W) -> y (N, O, OH, OW)."""
    N, O = len(x), len(weight)  # noqa: E741
    y = cupy.empty((N, O, *window.output), x.dtype)
    matrices = _matrices(weight, groups)
    results = y.reshape(N, *matrices.shape[:-1], math.prod(window.output))
    for images in _blocks(x, window):
        gemm(matrices, _columns(x[images], window, groups), out=results[images])
    if bias is not None:
        lines, size = N * O, math.prod(window.output)
        launch_rows("add_channel_bias", y, lines, y, contiguous(bias), lines, size, O)
    return y


def _input_gradient(g: Array, weight: Array, bias: Array | None, window: Any, groups: int) -> Array:
    """g (N, O, OH, OW) -> dx (N, C, H, W), plus a bias (C,)."""
    N, C = len(g), weight.shape[1] * groups
    dx = cupy.empty((N, C, *window.image), g.dtype)
    matrices = _matrices(weight, groups).swapaxes(-1, -2)
    rows = g.reshape(N, *matrices.shape[:-2], matrices.shape[-1], math.prod(window.output))
    bias = None if bias is None else contiguous(bias)
    for images in _blocks(dx, window):
        columns = gemm(matrices, rows[images])
        part = dx[images]
        planes = len(part) * C
        launch_elementwise("fold", part, columns, bias, part, planes, C, *_numbers(window))
    return dx


def _weight_gradient(g: Array, x: Array, shape: tuple[int, ...], window: Any, groups: int) -> Array:
    """g (N, O, OH, OW), x (N, C, H, W) -> dw (O, C / groups, KH, KW)."""
    N, O = g.shape[:2]  # noqa: E741
    lead = (groups, O // groups) if groups > 1 else (O,)
    rows = g.reshape(N, *lead, math.prod(window.output))
    total = cupy.zeros(shape, x.dtype)
    for images in _blocks(x, window):
        columns = _columns(x[images], window, groups)
        products = gemm(rows[images], columns.swapaxes(-1, -2))  # (n, ..., O / G, C / G * KH * KW)
        products = products.reshape(len(products), total.size)
        total += column_sums(products).reshape(shape)
    return total


def _bias_gradient(g: Array) -> Array:
    """The sum of g (N, C, H, W) over all axes but the channels: (C,)."""
    N, C, H, W = g.shape
    sums = cupy.empty((N, C), g.dtype)
    launch_rows("line_sums", g, N * C, g, sums, N * C, H * W)
    return channel_sums(sums)


def _matrices(weight: Array, groups: int) -> Array:
    """A weight as a matrix (O, C * KH * KW), or several: (G, O / G, C / G * KH * KW)."""
    O, size = len(weight), math.prod(weight.shape[1:])  # noqa: E741
    return weight.reshape((groups, O // groups, size) if groups > 1 else (O, size))


def _columns(x: Array, window: Any, groups: int) -> Array:
    """Patches (n, C * KH * KW, OH * OW), or (n, G, C / G * KH * KW, OH * OW)."""
    n, C = x.shape[:2]
    K, L = math.prod(window.kernel), math.prod(window.output)
    shape = (n, groups, C // groups * K, L) if groups > 1 else (n, C * K, L)
    if K == 1 and window.stride == (1, 1) and window.padding == (0, 0):
        return x.reshape(shape)
    columns = cupy.empty(shape, x.dtype)
    numbers = _numbers(window)
    launch_elementwise("unfold", columns, x, columns, n * C, *numbers, count=columns.size)
    return columns


def _blocks(images: Array, window: Any) -> Iterator[slice]:
    """Ranges of images (N, C, H, W) whose columns fit into COLUMN_BYTES."""
    N, C = images.shape[:2]
    size = C * math.prod(window.kernel) * math.prod(window.output) * images.itemsize
    step = max(1, COLUMN_BYTES // max(1, size))
    for first in range(0, N, step):
        yield slice(first, min(first + step, N))


def _numbers(window: Any) -> tuple[int, ...]:
    """A window as a kernel takes it."""
    return tuple([number for pair in window for number in pair])
