"""PyTorch's names of arguments: ``dim`` for ``axis`` and ``keepdim`` for ``keepdims``."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..arguments import shown
from ..autograd import Variable
from ..ops import reductions

if TYPE_CHECKING:
    from ..tensor import Tensor

R = TypeVar("R")
Function = Callable[..., R]


def accepts_names(**names: str) -> Callable[[Function[R]], Function[R]]:
    """Decorator for a function that also accepts PyTorch's names of some keyword arguments.

    The first argument can also be given as `input`, PyTorch's name of a function's tensor.

    Args:
        **names: PyTorch's name -> the name of the function's parameter.
    """

    def decorate(function: Function[R]) -> Function[R]:
        inner: Any = getattr(function, "__wrapped__", function)
        takes_tensor = inner.__code__.co_varnames[:1] == ("x",)

        @functools.wraps(function)
        def renamed(*arguments: Any, **keywords: Any) -> R:
            if keywords:
                for theirs, ours in names.items():
                    if theirs in keywords:
                        if ours in keywords:
                            raise TypeError(
                                f"{function.__name__} takes {theirs} or {ours}, which mean the"
                                " same, not both"
                            )
                        keywords[ours] = keywords.pop(theirs)
                if "input" in keywords:
                    arguments = (keywords.pop("input"), *arguments)
            try:
                return function(*arguments, **keywords)
            except AttributeError as error:
                if takes_tensor and arguments and not isinstance(arguments[0], Variable):
                    raise TypeError(
                        f"{function.__name__} takes a tensor, not {shown(arguments[0])};"
                        " make one with tensor(...)"
                    ) from error
                raise

        renamed.torch_names = {*names, "input"}  # type: ignore[attr-defined]
        return renamed

    return decorate


def accepts_dim(function: Function[R]) -> Function[R]:
    """Decorator for a function with an argument `axis`, and perhaps `keepdims`, that also accepts
    PyTorch's names `dim` and `keepdim`.

    >>> from tinytorch import Tensor
    >>> Tensor([[1.0, 2.0]]).sum(dim=1, keepdim=True)
    Tensor([[3.]])
    """
    return accepts_names(dim="axis", keepdim="keepdims")(function)


def axis_of(x: "Tensor", axis: int) -> int:
    """`axis` as a non-negative number; a scalar is treated as having one axis."""
    count, axis = x.ndim or 1, reductions.axis_index(axis)
    if not -count <= axis < count:
        raise IndexError(f"axis {axis} does not exist in a tensor of shape {x.shape}")
    return axis % count
