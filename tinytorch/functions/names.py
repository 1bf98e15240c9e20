"""PyTorch's names of arguments: ``dim`` for ``axis`` and ``keepdim`` for ``keepdims``."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..ops import reductions

if TYPE_CHECKING:
    from ..tensor import Tensor

R = TypeVar("R")
_NAMES = {"dim": "axis", "keepdim": "keepdims"}


def accepts_dim(function: Callable[..., R]) -> Callable[..., R]:
    """Decorator for a function with an argument `axis`, and perhaps `keepdims`, that also accepts
    PyTorch's names `dim` and `keepdim`.

    >>> from tinytorch import Tensor
    >>> Tensor([[1.0, 2.0]]).sum(dim=1, keepdim=True)
    Tensor([[3.]])
    """

    @functools.wraps(function)
    def renamed(*arguments: Any, **keywords: Any) -> R:
        if keywords:
            for theirs, ours in _NAMES.items():
                if theirs in keywords:
                    if ours in keywords:
                        raise TypeError(
                            f"{function.__name__} takes {theirs} or {ours}, which mean the same,"
                            " not both"
                        )
                    keywords[ours] = keywords.pop(theirs)
        return function(*arguments, **keywords)

    return renamed


def axis_of(x: "Tensor", axis: int) -> int:
    """`axis` as a non-negative number; a scalar is treated as having one axis."""
    count, axis = x.ndim or 1, reductions.axis_index(axis)
    if not -count <= axis < count:
        raise IndexError(f"axis {axis} does not exist in a tensor of shape {x.shape}")
    return axis % count
