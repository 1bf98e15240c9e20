"""Modules that change only the shape of their input, or nothing."""

from typing import Any

from ..modules.module import Module
from ..tensor import Tensor

__all__ = ["Flatten", "Identity", "Unflatten"]


class Identity(Module):
    """Return the input; any arguments are accepted and ignored."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return x


class Flatten(Module):
    """Merge the axes from `start_dim` to `end_dim`: (B, C, H, W) -> (B, C * H * W) by default.

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
