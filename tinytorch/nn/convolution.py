"""PyTorch's convolutions: Conv2d of lesson 09, Conv1d and ConvTranspose2d."""

import math
from typing import Any

from ..arguments import ShapeError, check_integer, shown
from ..backends.arrays import Array, Namespace
from ..modules.convolution import Convolution
from ..ops.convolution import grouped_columns, grouped_rows, matrices
from ..ops.op import op
from ..ops.window_arguments import (
    as_batch,
    check_convolution,
    check_images,
    like_input,
    sizes,
)
from ..ops.windows import Window, fold
from ..spatial import Conv2d, conv2d
from ..tensor import Tensor

__all__ = ["Conv1d", "Conv2d", "ConvTranspose2d"]


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`conv2d` of sequences (N, C, L) or (C, L) as images of height 1.

    The weight is (O, C / groups, K).
    """
    bias_shape = None if bias is None else bias.shape
    check_convolution("conv1d", "L", input.shape, weight.shape, bias_shape, groups)
    stride = (1, *sizes("conv1d: stride", stride, 1))
    dilation = (1, *sizes("conv1d: dilation", dilation, 1))
    if not isinstance(padding, str):
        padding = (0, *sizes("conv1d: padding", padding, 1, 0))
    x, w = input.unsqueeze(-2), weight.unsqueeze(-2)
    return conv2d(x, w, bias, stride, padding, dilation, groups).squeeze(-2)


class Conv1d(Convolution):
    """Multiply every patch of sequences by a weight: (N, C, L) -> (N, O, OL).

    The arguments are those of `Conv2d`; the weight is (O, C / groups, K).

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import Conv1d
    >>> Conv1d(4, 8, kernel_size=3, padding="same")(zeros(2, 4, 10)).shape
    (2, 8, 10)
    """

    axes = 1

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, L) -> (N, O, OL); one sequence has no N."""
        x, padding = self.padded(input)
        return conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


@op(promote="float")
def transposed_convolution(
    xp: Namespace,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    window: Window,
    groups: int = 1,
) -> Any:
    """x (N, O, OH, OW), weight (O, C / groups, KH, KW), bias (C,) -> (N, C, H, W).

    The gradient of the input of a convolution with this weight and window, for the output's
    gradient x.
    """
    N, C, L = x.shape[0], weight.shape[1], math.prod(window.output)
    columns = xp.matrix_transpose(matrices(xp, weight, groups)) @ grouped_rows(xp, x, groups)
    columns = xp.reshape(columns, (N, C * groups, math.prod(window.kernel), L))
    y = fold(xp, columns, window)
    if bias is not None:
        y = y + xp.reshape(bias, (-1, 1, 1))
    return y, (x, weight, window, groups)


@transposed_convolution.gradient
def transposed_convolution_gradient(
    xp: Namespace, g: Array, x: Array, weight: Array, window: Window, groups: int
) -> Any:
    columns = grouped_columns(xp, g, window, groups)  # (N, G, C / G * KH * KW, OH * OW)

    def weight_gradient() -> Array:
        products = grouped_rows(xp, x, groups) @ xp.matrix_transpose(columns)
        return xp.reshape(xp.sum(products, axis=0), weight.shape)

    return (
        lambda: xp.reshape(matrices(xp, weight, groups) @ columns, x.shape),
        weight_gradient,
        lambda: xp.sum(g, axis=(0, 2, 3)),
    )


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The gradient of a convolution as a function of its own: each element of the input adds the
    kernel, times itself, to the output.

    Args:
        input: images (N, C, H, W), or one image (C, H, W).
        weight: (C, O / groups, KH, KW).
        bias: (O,).
        stride: the distance in the output between the kernels of two elements.
        padding: how much is cut off from each side of the output.
        output_padding: how much is added to the output's end, to choose among the sizes from which
            a convolution with this stride makes H x W; smaller than stride or dilation.
        groups: in how many groups the channels are divided.
        dilation: the distance between two elements of the kernel.
    """
    name = "conv_transpose2d"
    groups = check_integer(f"{name}: groups", groups, 1)
    if weight.ndim != 4 or weight.shape[0] % groups:
        raise ShapeError(
            f"{name} needs a weight (C, O / groups, KH, KW) with C divisible by groups={groups},"
            f" got shape {weight.shape}"
        )
    check_images(f"{name} with a weight {weight.shape}", "HW", input.shape, weight.shape[0])
    channels = weight.shape[1] * groups
    if bias is not None and bias.shape != (channels,):
        raise ShapeError(
            f"{name} with a weight {weight.shape} and groups={groups} needs a bias ({channels},),"
            f" got {bias.shape}"
        )
    x = as_batch(input)
    window = transposed_window(
        x.shape[2:], weight.shape[2:], stride, padding, output_padding, dilation
    )
    return like_input(transposed_convolution(x, weight, bias, window=window, groups=groups), input)


def transposed_window(
    output: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
) -> Window:
    """The window of the convolution whose output has the size of the input of conv_transpose2d."""
    name = "conv_transpose2d"
    stride, dilation = sizes(f"{name}: stride", stride), sizes(f"{name}: dilation", dilation)
    padding = sizes(f"{name}: padding", padding, least=0)
    more = sizes(f"{name}: output_padding", output_padding, least=0)
    settings = list(zip(output, kernel, stride, padding, more, dilation, strict=True))
    if any(m >= max(s, d) for _, _, s, _, m, d in settings):
        raise ValueError(
            f"{name}: output_padding {more} must be smaller than stride {stride} or dilation"
            f" {dilation}"
        )
    H, W = ((n - 1) * s - 2 * p + d * (k - 1) + m + 1 for n, k, s, p, m, d in settings)
    if min(H, W) < 1:
        raise ShapeError(
            f"{name}: the output of an image {output} with kernel {kernel}, stride {stride} and"
            f" padding {padding} would have the size {(H, W)}"
        )
    return Window((H, W), kernel, stride, padding, dilation, output)  # type: ignore[arg-type]


class ConvTranspose2d(Convolution):
    """Add a kernel for every element of the images: (N, C, H, W) -> (N, O, OH, OW).

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: the size of the kernel, an integer or (KH, KW); pairs are possible below too.
        stride: the distance in the output between the kernels of two elements.
        padding: how much is cut off from each side of the output.
        output_padding: how much is added to the output's end.
        groups: in how many groups the channels are divided.
        bias: whether to add a bias to each output channel.
        dilation: the distance between two elements of the kernel.
        padding_mode: only "zeros".
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        weight: (C, O / groups, KH, KW).
        bias: (O,) or None.

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import ConvTranspose2d
    >>> ConvTranspose2d(8, 4, kernel_size=2, stride=2)(zeros(1, 8, 7, 7)).shape
    (1, 4, 14, 14)
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f"ConvTranspose2d: padding_mode must be 'zeros', not {padding_mode!r}")
        if isinstance(padding, str):
            raise ValueError(f"ConvTranspose2d: padding must be numbers, not {padding!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip
        self.output_padding = sizes("ConvTranspose2d: output_padding", output_padding, least=0)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """(N, C, H, W) -> (N, O, OH, OW); one image has no N.

        Args:
            input: the images.
            output_size: (OH, OW), instead of the module's `output_padding`.
        """
        more = self.output_padding
        if output_size is not None:
            more = self._output_padding(input, tuple(output_size)[-2:])
        return conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups,
            self.dilation,
        )  # fmt: skip

    def _output_padding(self, input: Tensor, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """The output padding for an output of the size that is wanted."""
        given = (input.shape[-2:], self.kernel_size, self.stride, self.padding, self.dilation)
        least = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in zip(*given, strict=True)
        ]
        most = [size + step - 1 for size, step in zip(least, self.stride, strict=True)]
        if len(wanted) != 2 or any(
            not low <= size <= high for low, size, high in zip(least, wanted, most, strict=True)
        ):
            raise ValueError(
                f"ConvTranspose2d: output_size must be between {tuple(least)} and {tuple(most)} for"
                f" an input of shape {input.shape}, not {shown(wanted)}"
            )
        return tuple(size - low for size, low in zip(wanted, least, strict=True))
