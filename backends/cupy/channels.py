"""Batch and group normalisation on CUDA; the kernels are in channels.cu."""

import math
from typing import Any, NamedTuple

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import launch_rows
from .layout import contiguous
from .reductions import column_sums

KERNELS = KernelTable()


class _Groups(NamedTuple):
    """Which lines of images (N * C, size) have common statistics; see channels.cu.

    Attributes:
        lines: N * C.
        size: the elements of a line.
        channels: C.
        divide: line l is in group l // divide % groups.
        groups: their number.
        members: the lines of a group: group q has start_step * q + i * step for i < members.
    """

    lines: int
    size: int
    channels: int
    divide: int
    groups: int
    members: int
    start_step: int
    step: int

    def settings(self) -> tuple[int, ...]:
        """The arguments of kernels that find the group of each line."""
        return self.lines, self.size, self.channels, self.divide, self.groups


def _of_channels(shape: tuple[int, ...]) -> _Groups:
    """A group for each channel of images of this shape."""
    N, C = shape[:2]
    return _Groups(N * C, math.prod(shape[2:]), C, 1, C, N, 1, C)


def _of_neighbours(shape: tuple[int, ...], num_groups: int) -> _Groups:
    """Groups of neighbouring channels of one image."""
    (N, C), size = shape[:2], math.prod(shape[2:])
    members = C // num_groups
    return _Groups(N * C, size, C, members, N * num_groups, members, members, 1)


@KERNELS.forward
def batch_normalization(
    xp: Namespace, x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float
) -> Any:
    """x (N, C, ...) -> y, mean and variance (C,)."""
    if not x.size:
        return NotImplemented
    groups = _of_channels(x.shape)
    y, x, mean, variance = _normalize(x, weight, bias, groups, eps)
    return (y, mean, variance), (x, mean, variance, weight, groups, eps)


@KERNELS.gradient(batch_normalization)
def batch_normalization_gradient(
    xp: Namespace,
    gs: Any,
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None,
    groups: _Groups,
    eps: float,
) -> Any:
    g, g_mean, g_variance = gs
    g = cupy.zeros(x.shape, x.dtype) if g is None else contiguous(g)
    return _gradient(g, x, mean, variance, weight, groups, eps, g_mean, g_variance)


@KERNELS.forward
def group_normalization(
    xp: Namespace,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    num_groups: int,
    eps: float,
) -> Any:
    """x (N, C, ...) -> y."""
    if not x.size:
        return NotImplemented
    groups = _of_neighbours(x.shape, num_groups)
    y, x, mean, variance = _normalize(x, weight, bias, groups, eps)
    return y, (x, mean, variance, weight, groups, eps)


@KERNELS.gradient(group_normalization)
def group_normalization_gradient(
    xp: Namespace,
    g: Array,
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None,
    groups: _Groups,
    eps: float,
) -> Any:
    return _gradient(contiguous(g), x, mean, variance, weight, groups, eps)


def _normalize(
    x: Array, weight: Array | None, bias: Array | None, groups: _Groups, eps: float
) -> tuple[Array, Array, Array, Array]:
    """y, x as a contiguous array, and mean and variance of each group."""
    x, lines, size = contiguous(x), groups.lines, groups.size
    means, squares = cupy.empty(lines, x.dtype), cupy.empty(lines, x.dtype)
    launch_rows("line_moments", x, lines, x, means, squares, lines, size)
    mean, variance = cupy.empty(groups.groups, x.dtype), cupy.empty(groups.groups, x.dtype)
    launch_rows(
        "combine_moments", x, groups.groups, means, squares, mean, variance, groups.groups,
        groups.members, groups.start_step, groups.step, size,
    )  # fmt: skip
    y = cupy.empty_like(x)
    given = (x, mean, variance, _optional(weight), _optional(bias), y)
    launch_rows("normalize_lines", x, lines, *given, *groups.settings(), eps)
    return y, x, mean, variance


def _gradient(
    g: Array,
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None,
    groups: _Groups,
    eps: float,
    g_mean: Array | None = None,
    g_variance: Array | None = None,
) -> Any:
    lines, size, channels = groups.lines, groups.size, groups.channels
    sums, products = cupy.empty(lines, x.dtype), cupy.empty(lines, x.dtype)
    launch_rows(
        "line_gradient_sums", x, lines, g, x, mean, variance, sums, products, lines, size,
        groups.divide, groups.groups, eps,
    )  # fmt: skip

    def x_gradient() -> Array:
        elements = size * groups.members
        of_d, of_dx = cupy.empty(groups.groups, x.dtype), cupy.empty(groups.groups, x.dtype)
        launch_rows(
            "combine_gradient_sums", x, groups.groups, sums, products, _optional(weight), of_d,
            of_dx, groups.groups, groups.members, groups.start_step, groups.step, channels,
        )  # fmt: skip
        if g_mean is not None:
            of_d = of_d - g_mean * cupy.sqrt(variance + eps)
        if g_variance is not None:
            of_dx = of_dx - 2 * g_variance * (variance + eps)
        dx = cupy.empty_like(x)
        given = (g, x, mean, variance, _optional(weight), of_d, of_dx, dx)
        launch_rows("normalize_lines_gradient", x, lines, *given, *groups.settings(), elements, eps)
        return dx

    def of_channels(values: Array) -> Array:
        return channel_sums(values.reshape(lines // channels, channels))

    return x_gradient, lambda: of_channels(products), lambda: of_channels(sums)


def channel_sums(sums: Array) -> Array:
    """Sum the sums of lines (N, C) over N -> (C,)."""
    return column_sums(sums)


def _optional(x: Array | None) -> Array | None:
    return None if x is None else contiguous(x)
