"""Modules that change only the shape of their input, or nothing."""

from typing import Any

from ..modules.module import Module
from ..spatial import Flatten
from ..tensor import Tensor

__all__ = ["Flatten", "Identity", "Unflatten"]


class Identity(Module):
    """Return the input; any arguments are accepted and ignored."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return x


class Unflatten(Module):
    """Split one axis into several; one size may be -1.

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import Unflatten
    >>> Unflatten(1, (3, -1))(zeros(2, 12)).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
