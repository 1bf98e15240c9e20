"""The part that Conv1d, Conv2d and ConvTranspose2d share: arguments, parameters and repr."""

import math
from typing import Any

from ..arguments import check_flag, check_integer, shown
from ..functions.padding import pad
from ..ops import random
from ..ops.window_arguments import check_padding, same_padding, sizes
from ..tensor import Tensor
from .module import Module, Parameter

PADDING_MODES = {  # PyTorch's name -> the name in `pad`
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


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
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
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
