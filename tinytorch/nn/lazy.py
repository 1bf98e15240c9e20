"""LazyLinear, whose number of inputs is that of its first input."""

from typing import Any

from ..layers import Linear
from ..modules.module import Parameter
from ..tensor import Tensor

__all__ = ["LazyLinear"]


class UninitializedParameter(Parameter):
    """A parameter that has no shape yet."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<UninitializedParameter>"


class LazyLinear(Linear):
    """A `Linear` that is initialised by its first call, from the last axis of its input.

    >>> from tinytorch import nn, ones
    >>> layer = nn.LazyLinear(3)
    >>> layer(ones(2, 5)).shape
    (2, 3)
    >>> layer
    Linear(in_features=5, out_features=3, bias=True)
    """

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(0, out_features, bias, device, dtype)
        self.weight.__class__ = UninitializedParameter

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-1] if x.ndim else 0
        place: Any = {"dtype": self.weight.dtype, "backend": self.weight.backend}
        drawn = Linear(size, self.out_features, self.bias is not None, **place)
        self.in_features = size
        # The same objects, because an optimizer may have them already.
        self.weight.__class__ = Parameter
        self.weight._set_array(drawn.weight._array)
        if self.bias is not None and drawn.bias is not None:
            self.bias._set_array(drawn.bias._array)
        self.__class__ = Linear  # type: ignore[assignment]
        return Linear.forward(self, x)
