"""Lesson 09: layers for images, which are tensors (N, C, H, W): convolution, pooling, batch norm.

Their ops, which compute on arrays, are in `ops/convolution.py`, `ops/pooling.py` and
`ops/batch_norm.py`, on the windows of `ops/windows.py`.

Source: Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998).
"""

from typing import Any

from .arguments import ShapeError, check_integer, check_number
from .autograd import no_grad
from .functions.creation import ones, zeros
from .functions.padding import pad
from .modules.convolution import Convolution
from .modules.hooks import STATEFUL
from .modules.module import Module, Parameter
from .ops.batch_norm import batch_normalization, move_statistics, scale_and_shift
from .ops.convolution import convolution
from .ops.operators import constant
from .ops.pooling import average_pooling, max_pooling, places
from .ops.update import write_update
from .ops.window_arguments import (
    as_batch,
    check_convolution,
    check_images,
    check_padding,
    like_input,
    same_padding,
    sizes,
    window_of,
)
from .ops.windows import Window
from .tensor import Tensor

__all__ = ["AvgPool2d", "BatchNorm2d", "Conv2d", "Flatten", "MaxPool2d"]


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

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import Conv2d
    >>> Conv2d(1, 6, kernel_size=5, padding=2)(zeros(8, 1, 28, 28)).shape
    (8, 6, 28, 28)
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, OH, OW); one image has no N."""
        x, padding = self.padded(input)
        return conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


# Pooling


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
    indices = constant(x, places(x._backend.xp, x._array, window))
    return y, like_input(indices, input)


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
        scale, shift = scale_and_shift(running_mean, running_var, weight, bias, eps)
        shape = (1, C, *[1] * (input.ndim - 2))
        y: Tensor = input * scale.reshape(shape) + shift.reshape(shape)
        return y
    if count == 1:
        raise ValueError(
            f"batch_norm in training needs more than 1 value per channel, got shape {input.shape};"
            " use eval() for single examples"
        )
    y, mean, variance = batch_normalization(input, weight, bias, eps=eps)
    if count:
        with no_grad():
            running = running_mean, running_var
            moved: Any = tuple(None if kept is None else kept.clone() for kept in running)
            move_statistics(moved, mean, variance, count, momentum)
            for kept, new in zip(running, moved, strict=True):
                if kept is not None and new is not None:
                    write_update(kept, new)
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
                write_update(self.num_batches_tracked, self.num_batches_tracked + 1)
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
