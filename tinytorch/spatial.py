"""Lesson 09: layers for images, which are tensors (N, C, H, W): convolution, pooling, batch norm.

A convolution is a linear layer on every patch of an image: `unfold` copies the patches to the
columns of a matrix, and one matrix product computes all outputs. Its gradient adds the columns back
with `fold`.

Source: Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998).
"""

import math
from typing import Any

from .arguments import ShapeError, check_flag, check_integer, check_number, shown
from .autograd import no_grad
from .backends.base import Array, Namespace
from .functions.creation import ones, zeros
from .functions.padding import pad
from .modules.hooks import STATEFUL
from .modules.module import Module, Parameter
from .ops import random
from .ops.op import op
from .ops.operators import constant
from .ops.reductions import _mean
from .ops.windows import (
    Window,
    as_batch,
    check_convolution,
    check_images,
    check_padding,
    like_input,
    pad_images,
    padded_size,
    same_padding,
    sizes,
    taps,
    unpad,
    window_of,
)
from .tensor import Tensor

__all__ = ["AvgPool2d", "BatchNorm2d", "Conv2d", "Flatten", "MaxPool2d"]


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


@op(promote="float")
def convolution(
    xp: Namespace,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    window: Window,
    groups: int = 1,
) -> Any:
    """x (N, C, H, W), weight (O, C / groups, KH, KW), bias (O,) -> (N, O, OH, OW).

    With G groups, the first O / G outputs are computed from the first C / G channels, and so on.
    """
    columns = grouped_columns(xp, x, window, groups)  # (N, G, C / G * KH * KW, OH * OW)
    y = matrices(xp, weight, groups) @ columns  # (N, G, O / G, OH * OW)
    y = xp.reshape(y, (x.shape[0], weight.shape[0], *window.output))
    if bias is not None:
        y = y + xp.reshape(bias, (-1, 1, 1))
    return y, (x, weight, window, groups)


@convolution.gradient
def convolution_gradient(
    xp: Namespace, g: Array, x: Array, weight: Array, window: Window, groups: int
) -> Any:
    (N, C, _, _), K, L = x.shape, math.prod(window.kernel), math.prod(window.output)
    rows = grouped_rows(xp, g, groups)  # (N, G, O / G, OH * OW)

    def x_gradient() -> Array:
        columns = xp.matrix_transpose(matrices(xp, weight, groups)) @ rows
        return fold(xp, xp.reshape(columns, (N, C, K, L)), window)

    def weight_gradient() -> Array:
        columns = grouped_columns(xp, x, window, groups)
        products = rows @ xp.matrix_transpose(columns)  # (N, G, O / G, C / G * K)
        return xp.reshape(xp.sum(products, axis=0), weight.shape)

    return x_gradient, weight_gradient, lambda: xp.sum(g, axis=(0, 2, 3))


def grouped_columns(xp: Namespace, x: Array, window: Window, groups: int) -> Array:
    """`unfold` with the columns of each group together: (N, G, C / G * KH * KW, OH * OW)."""
    columns = unfold(xp, x, window)
    N, C, K, L = columns.shape
    return xp.reshape(columns, (N, groups, C // groups * K, L))


def grouped_rows(xp: Namespace, y: Array, groups: int) -> Array:
    """Images (N, O, OH, OW) with the channels of each group together: (N, G, O / G, OH * OW)."""
    N, O, OH, OW = y.shape  # noqa: E741
    return xp.reshape(y, (N, groups, O // groups, OH * OW))


def matrices(xp: Namespace, weight: Array, groups: int) -> Array:
    """A weight (O, C / G, KH, KW) as one matrix for each group: (G, O / G, C / G * KH * KW)."""
    O, *rest = weight.shape  # noqa: E741
    return xp.reshape(weight, (groups, O // groups, math.prod(rest)))


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Multiply every patch of the images by a weight.

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        weight: (O, C / groups, KH, KW).
        bias: (O,).
        stride: the distance between two positions of the kernel: an integer, or a pair of them for
            the vertical and the horizontal; likewise padding and dilation.
        padding: zeros on each side of an image; or "valid" for none, or "same" for as many as make
            the output as large as the input.
        dilation: the distance between two elements of the kernel.
        groups: in how many groups the channels are divided.
    """
    bias_shape = None if bias is None else bias.shape
    check_convolution("conv2d", "HW", input.shape, weight.shape, bias_shape, groups)
    x, kernel = as_batch(input), weight.shape[2:]
    if isinstance(padding, str):
        x, padding = _pad_as_named(x, kernel, stride, padding, dilation)
    window = window_of("conv2d", x.shape[2:], kernel, stride, padding, dilation)
    return like_input(convolution(x, weight, bias, window=window, groups=groups), input)


def _pad_as_named(
    x: Tensor, kernel: tuple[int, ...], stride: Any, padding: str, dilation: Any
) -> tuple[Tensor, Any]:
    """x, and the padding "valid" or "same" in numbers; uneven padding is added to x here."""
    check_padding("conv2d", padding, stride)
    if padding == "valid":
        return x, 0
    pairs = same_padding(kernel, sizes("conv2d: dilation", dilation))
    if all(before == after for before, after in pairs):
        return x, tuple([before for before, _ in pairs])
    return pad(x, [width for pair in reversed(pairs) for width in pair]), 0


class Convolution(Module):
    """What Conv1d, Conv2d and ConvTranspose2d have in common: arguments, parameters and repr.

    Attributes:
        weight: uniform in ±1/sqrt(fan_in), as in PyTorch, where fan_in is the number of elements of
            weight[0].
        bias: (out_channels,), initialised like the weight, or None.
    """

    axes = 2
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name, axes = type(self).__name__, self.axes
        self.in_channels = check_integer(f"{name}: in_channels", in_channels, 1)
        self.out_channels = check_integer(f"{name}: out_channels", out_channels, 1)
        self.groups = check_integer(f"{name}: groups", groups, 1)
        if self.in_channels % groups or self.out_channels % groups:
            raise ValueError(
                f"{name}: in_channels={in_channels} and out_channels={out_channels} must be"
                f" divisible by groups={groups}"
            )
        if padding_mode not in PADDING_MODES:
            modes = ", ".join(map(repr, PADDING_MODES))
            raise ValueError(f"{name}: padding_mode must be {modes}, not {shown(padding_mode)}")
        self.kernel_size = sizes(f"{name}: kernel_size", kernel_size, axes)
        self.stride = sizes(f"{name}: stride", stride, axes)
        self.dilation = sizes(f"{name}: dilation", dilation, axes)
        self.padding: Any = padding
        if isinstance(padding, str):
            check_padding(name, padding, self.stride)
        else:
            self.padding = sizes(f"{name}: padding", padding, axes, 0)
        self.padding_mode = padding_mode
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        shape = (first, second // groups, *self.kernel_size)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        place: Any = {"dtype": dtype, "backend": device}
        self.weight = Parameter(random.uniform(shape, -bound, bound), **place)
        self.bias = None
        if check_flag(f"{name}: bias", bias):
            self.bias = Parameter(random.uniform((self.out_channels,), -bound, bound), **place)

    def padded(self, x: Tensor) -> tuple[Tensor, Any]:
        """x and the padding of zeros; x is padded here for another `padding_mode`."""
        if self.padding_mode == "zeros":
            return x, self.padding
        if self.padding == "same":
            pairs = same_padding(self.kernel_size, self.dilation)
        elif self.padding == "valid":
            return x, 0
        else:
            pairs = [(p, p) for p in self.padding]
        widths = [width for pair in reversed(pairs) for width in pair]
        return pad(x, widths, PADDING_MODES[self.padding_mode]), 0

    def extra_repr(self) -> str:
        zeros, ones = (0,) * self.axes, (1,) * self.axes
        defaults = {"padding": zeros, "dilation": ones, "output_padding": zeros, "groups": 1}
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        for name, default in defaults.items():
            value = getattr(self, name, default)
            text += "" if value == default else f", {name}={value}"
        text += "" if self.bias is not None else ", bias=False"
        return text + (
            f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else ""
        )


PADDING_MODES = {  # PyTorch's name -> the name in `pad`
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


class Conv2d(Convolution):
    """Multiply every patch of the images by a weight: (N, C, H, W) -> (N, O, OH, OW).

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: the size of a patch, an integer or (KH, KW); pairs are possible below too.
        stride: the distance between two patches.
        padding: zeros on each side of an image, or "valid" or "same"; see `conv2d`.
        dilation: the distance between two elements of a patch.
        groups: in how many groups the channels are divided.
        bias: whether to add a bias to each output channel.
        padding_mode: what is added instead of "zeros": "reflect", "replicate" or "circular".
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        weight: (O, C / groups, KH, KW).
        bias: (O,) or None.

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import Conv2d
    >>> Conv2d(1, 6, kernel_size=5, padding=2)(zeros(8, 1, 28, 28)).shape
    (8, 6, 28, 28)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, OH, OW); one image has no N."""
        x, padding = self.padded(input)
        return conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


# Pooling


@op(promote="float")
def max_pooling(xp: Namespace, x: Array, *, window: Window) -> Any:
    """The largest element under the kernel: (N, C, H, W) -> (N, C, OH, OW)."""
    y, place = _largest(xp, x, window)
    return y, (place, window)


@max_pooling.gradient
def max_pooling_gradient(xp: Namespace, g: Array, place: Array, window: Window) -> Any:
    padded = xp.zeros((*g.shape[:2], *padded_size(window)), dtype=g.dtype)
    for k, key in enumerate(taps(window)):
        padded = xp.index_add(padded, key, xp.where(place == k, g, xp.zeros_like(g)))
    return unpad(padded, window)


def _largest(xp: Namespace, x: Array, window: Window) -> tuple[Array, Array]:
    """The largest element under the kernel, and its place in the kernel: the first, or of NaN the
    last."""
    padded = pad_images(xp, x, window, -math.inf)
    y = xp.full((*x.shape[:2], *window.output), -math.inf, dtype=x.dtype)
    first = xp.expand_dims(_first(xp, window, 0), axis=1) * window.kernel[1] + _first(xp, window, 1)
    place = xp.broadcast_to(first, y.shape)  # for -inf, as PyTorch
    for k, key in enumerate(taps(window)):
        value = padded[key]
        is_larger = (value > y) | (value != value)
        y = xp.where(is_larger, value, y)
        place = xp.where(is_larger, xp.full_like(place, k), place)
    return y, place


def _first(xp: Namespace, window: Window, axis: int) -> Array:
    """The first element of the kernel inside of the image, at each of its positions on an axis."""
    start = xp.arange(window.output[axis]) * window.stride[axis] - window.padding[axis]
    return xp.where(start < 0, -(start // window.dilation[axis]), xp.zeros_like(start))


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every patch of the images.

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        kernel_size: the size of a patch, an integer or (KH, KW); pairs are possible below too.
        stride: the distance between two patches, by default the size of one.
        padding: elements on each side of an image, which are never the largest.
        dilation: the distance between two elements of a patch.
        ceil_mode: whether patches may end outside of an image.
        return_indices: whether to return a pair of the result and the places of its elements in
            images of shape (H * W,).
    """
    window = _pooling_window("max_pool2d", input, kernel_size, stride, padding, dilation, ceil_mode)
    x = as_batch(input)
    y = like_input(max_pooling(x, window=window), input)
    if not return_indices:
        return y
    places = constant(x, _places(x._backend.xp, x._array, window))
    return y, like_input(places, input)


def _places(xp: Namespace, x: Array, window: Window) -> Array:
    """The places of the largest elements in images of shape (H * W,)."""
    _, place = _largest(xp, x, window)
    found = []
    for axis, tap in enumerate((place // window.kernel[1], place % window.kernel[1])):
        start = xp.arange(window.output[axis]) * window.stride[axis] - window.padding[axis]
        found.append(
            xp.reshape(start, (-1, 1) if axis == 0 else (-1,)) + tap * window.dilation[axis]
        )
    return found[0] * window.image[1] + found[1]


def _pooling_window(
    name: str,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Window:
    """The window of a pooling function, with its arguments checked."""
    check_images(name, "HW", input.shape)
    stride = kernel_size if stride is None or stride in ((), []) else stride
    window = window_of(name, input.shape[-2:], kernel_size, stride, padding, dilation, ceil_mode)
    for kernel, most, d in zip(window.kernel, window.padding, window.dilation, strict=True):
        if 2 * most > d * (kernel - 1) + 1:
            raise ValueError(
                f"{name}: padding {window.padding} must be at most half of the kernel"
                f" {window.kernel} with dilation {window.dilation}"
            )
    return window


class MaxPool2d(Module):
    """The largest element of every patch: (N, C, H, W) -> (N, C, OH, OW); see `max_pool2d`.

    >>> from tinytorch import tensor
    >>> from tinytorch.nn import MaxPool2d
    >>> MaxPool2d(2)(tensor([[[1.0, 2, 3, 4], [5, 6, 7, 8]]]))
    Tensor([[[6., 8.]]])
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.padding, self.dilation = kernel_size, padding, dilation
        self.stride = kernel_size if stride is None else stride
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        return max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            self.return_indices,
        )  # fmt: skip

    def extra_repr(self) -> str:
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{sizes}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


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
        rows, columns = (_count(xp, window, axis, count_include_pad) for axis in (0, 1))
        count = xp.astype(xp.expand_dims(rows, axis=1) * columns, x.dtype)  # (OH, OW)
    return total / count, (count, window)


@average_pooling.gradient
def average_pooling_gradient(xp: Namespace, g: Array, count: Any, window: Window) -> Any:
    share = g / count
    padded = xp.zeros((*g.shape[:2], *padded_size(window)), dtype=g.dtype)
    for key in taps(window):
        padded = xp.index_add(padded, key, share)
    return unpad(padded, window)


def _count(xp: Namespace, window: Window, axis: int, count_include_pad: bool) -> Array:
    """How many elements each position of the kernel covers along one axis: integers (output,)."""
    size, padding = window.image[axis], window.padding[axis]
    outside = padding if count_include_pad else 0  # elements on each side that count
    start = xp.arange(window.output[axis]) * window.stride[axis] - padding
    count = xp.zeros_like(start)
    for i in range(window.kernel[axis]):
        at = start + i
        count = count + xp.astype((at >= -outside) & (at < size + outside), xp.int64)
    return count


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every patch of the images.

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        kernel_size: the size of a patch, an integer or (KH, KW); pairs are possible below too.
        stride: the distance between two patches, by default the size of one.
        padding: zeros on each side of an image.
        ceil_mode: whether patches may end outside of an image.
        count_include_pad: whether the zeros of the padding count as elements.
        divisor_override: what sums are divided by, instead of the number of elements.
    """
    window = _pooling_window("avg_pool2d", input, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override == 0:
        raise ValueError("avg_pool2d: divisor_override must not be 0")
    settings: Any = {"count_include_pad": count_include_pad, "divisor": divisor_override}
    y = average_pooling(as_batch(input), window=window, **settings)
    return like_input(y, input)


class AvgPool2d(Module):
    """The mean of every patch: (N, C, H, W) -> (N, C, OH, OW); see `avg_pool2d`.

    >>> from tinytorch import tensor
    >>> from tinytorch.nn import AvgPool2d
    >>> AvgPool2d(2)(tensor([[[1.0, 2, 3, 4], [5, 6, 7, 8]]]))
    Tensor([[[3.5, 5.5]]])
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.padding, self.ceil_mode = kernel_size, padding, ceil_mode
        self.stride = kernel_size if stride is None else stride
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return avg_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


# Batch normalisation


@op(promote="float")
def batch_normalization(
    xp: Namespace, x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float
) -> Any:
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel of x (N, C, ...).

    Mean and variance are those of the channel in the whole batch, and are returned too.

    Source: S. Ioffe and C. Szegedy, "Batch Normalization" (2015), algorithm 1.
    """
    axes, C = (0, *range(2, x.ndim)), x.shape[1]
    mean = _mean(xp, x, axes)  # (1, C, 1, ...)
    centred = x - mean
    variance = _mean(xp, centred * centred, axes)
    scale = 1 / xp.sqrt(variance + eps)
    normal = centred * scale
    y = normal if weight is None else normal * xp.reshape(weight, mean.shape)
    if bias is not None:
        y = y + xp.reshape(bias, mean.shape)
    statistics = xp.reshape(mean, (C,)), xp.reshape(variance, (C,))
    return (y, *statistics), (normal, scale, weight)


@batch_normalization.gradient
def batch_normalization_gradient(
    xp: Namespace, gs: Any, normal: Array, scale: Array, weight: Array | None
) -> Any:
    g, g_mean, g_variance = gs  # of y, mean and variance; None where the loss does not depend on it
    g = xp.zeros_like(normal) if g is None else g
    axes, count = (0, *range(2, g.ndim)), g.size // max(1, g.shape[1])

    def x_gradient() -> Array:
        d = g if weight is None else g * xp.reshape(weight, scale.shape)
        dx = (d - _mean(xp, d, axes) - normal * _mean(xp, d * normal, axes)) * scale
        if g_mean is not None:
            dx = dx + xp.reshape(g_mean, scale.shape) / count
        if g_variance is not None:
            dx = dx + normal / scale * xp.reshape(g_variance, scale.shape) * (2 / count)
        return dx

    return x_gradient, lambda: xp.sum(g * normal, axis=axes), lambda: xp.sum(g, axis=axes)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of x (N, C, ...) to mean 0 and variance 1, then scale and shift it.

    In training the mean and variance are those of the batch, and the running ones are moved towards
    them, in place, by the fraction `momentum`. Otherwise the running ones are used.
    """
    if input.ndim < 2:
        raise ShapeError(f"batch_norm needs x (N, C, ...), got shape {input.shape}")
    C, count = input.shape[1], input.size // max(1, input.shape[1])
    given = {"running_mean": running_mean, "running_var": running_var}
    for name, value in {**given, "weight": weight, "bias": bias}.items():
        if value is not None and value.shape != (C,):
            raise ShapeError(
                f"batch_norm of shape {input.shape} needs {name} ({C},), got {value.shape}"
            )
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm outside of training needs running_mean and running_var")
        scale = (running_var + eps) ** -0.5
        scale = scale if weight is None else scale * weight
        shift = -running_mean * scale if bias is None else bias - running_mean * scale
        shape = (1, C, *[1] * (input.ndim - 2))
        return input * scale.reshape(shape) + shift.reshape(shape)
    if count == 1:
        raise ValueError(
            f"batch_norm in training needs more than 1 value per channel, got shape {input.shape};"
            " use eval() for single examples"
        )
    y, mean, variance = batch_normalization(input, weight, bias, eps=eps)
    if count:
        with no_grad():
            unbiased = variance * (count / (count - 1))
            for running, now in ((running_mean, mean), (running_var, unbiased)):
                if running is not None:
                    running += momentum * (now - running)
    return y


class BatchNorm(Module):
    """What BatchNorm1d and BatchNorm2d have in common; see `batch_norm`.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how far the running mean and variance move towards those of each batch; None for
            the average of all batches.
        affine: whether to scale each channel, and to shift it if `bias` is true too.
        track_running_stats: whether there are running mean and variance, for evaluation.
        device: of parameters and buffers.
        dtype: of parameters and buffers.
        bias: whether to shift.
    """

    shapes: tuple[str, ...] = ()  # of the input, after (N, C)

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_features = check_integer(f"{name}: num_features", num_features)
        self.eps = float(check_number(f"{name}: eps", eps))
        self.momentum, self.affine = momentum, affine
        self.track_running_stats = track_running_stats
        place: Any = {"backend": device, **({} if dtype is None else {"dtype": dtype})}
        self.weight = Parameter(ones(num_features, **place)) if affine else None
        self.bias = Parameter(zeros(num_features, **place)) if affine and bias else None
        buffers: Any = (None, None, None)
        if track_running_stats:
            counter = Tensor(0, dtype="int64", backend=device)
            buffers = zeros(num_features, **place), ones(num_features, **place), counter
        names = "running_mean", "running_var", "num_batches_tracked"
        for buffer, value in zip(names, buffers, strict=True):
            self.register_buffer(buffer, value)

    def reset_running_stats(self) -> None:
        """Forget all batches."""
        if self.running_mean is not None:
            with no_grad():
                for name, value in (("mean", 0), ("var", 1)):
                    getattr(self, f"running_{name}")[...] = value
                self.num_batches_tracked[...] = 0  # type: ignore[index]

    def reset_parameters(self) -> None:
        """Forget all batches, and set the weight to 1 and the bias to 0."""
        self.reset_running_stats()
        with no_grad():
            for parameter, value in ((self.weight, 1), (self.bias, 0)):
                if parameter is not None:
                    parameter[...] = value

    def forward(self, input: Tensor) -> Tensor:
        axes = [shape.count(",") for shape in self.shapes]
        if input.ndim - 2 not in axes or input.shape[1] != self.num_features:
            needed = " or ".join(f"(N, {self.num_features}{shape})" for shape in self.shapes)
            raise ShapeError(
                f"{type(self).__name__}({self.num_features}) needs x {needed}, got shape"
                f" {input.shape}"
            )
        momentum: Any = self.momentum
        if self.training and self.num_batches_tracked is not None:
            with no_grad():
                self.num_batches_tracked += 1
            if momentum is None:
                momentum = 1 / self.num_batches_tracked
        return batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine},"
            f" bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


STATEFUL.add(BatchNorm)


class BatchNorm2d(BatchNorm):
    """Normalise each channel of images (N, C, H, W) over the batch; the arguments of `BatchNorm`.

    >>> from tinytorch import Tensor
    >>> from tinytorch.nn import BatchNorm2d
    >>> norm = BatchNorm2d(1)
    >>> y = norm(Tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]]))
    >>> round(y.mean().item(), 3), round(y.var(correction=0).item(), 3)
    (0.0, 1.0)
    >>> norm.running_mean  # moved from 0 towards the batch's mean, 2.5
    Tensor([0.25])
    """

    shapes = (", H, W",)


class Flatten(Module):
    """Merge the axes from `start_dim` to `end_dim`: (N, C, H, W) -> (N, C * H * W) by default.

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import Flatten
    >>> Flatten()(zeros(2, 3, 4)).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
