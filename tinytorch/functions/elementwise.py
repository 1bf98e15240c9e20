"""Functions of each element."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..ops import elementwise
from ..ops.op import Op
from ..ops.operators import same_backend

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["abs", "clip", "cos", "exp", "log", "masked_fill", "sin", "sqrt"]


def _function_of(op: Op) -> "Callable[[Tensor], Tensor]":
    """An op of one tensor as a function, which, unlike an op, can be a method of a class."""

    def function(x: "Tensor") -> "Tensor":
        return op(x)

    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.__doc__
    return function


abs = _function_of(elementwise.abs)
cos = _function_of(elementwise.cos)
exp = _function_of(elementwise.exp)
log = _function_of(elementwise.log)
sin = _function_of(elementwise.sin)
sqrt = _function_of(elementwise.sqrt)


def clip(x: "Tensor", min: float | None = None, max: float | None = None) -> "Tensor":
    """Limit each element to [min, max]; integers with floating limits become float32.

    Limits that are tensors are written ``minimum(maximum(x, low), high)``.
    """
    low, high = _limit(min), _limit(max)
    if isinstance(low, float) or isinstance(high, float):
        x = x if x.is_floating_point() else x.to("float32")
    return elementwise.clip(x, min=low, max=high)


def masked_fill(x: "Tensor", mask: "Tensor", value: float) -> "Tensor":
    """`value` where the boolean `mask` is true, this tensor elsewhere; the dtype stays."""
    fill = same_backend(x, value, x.dtype).to(x.dtype)
    return elementwise.where(mask, fill, x)


def _limit(value: Any) -> int | float | None:
    """A limit of clip as a Python number; NumPy scalars and tensors of one element are read."""
    if getattr(value, "size", 0) == 1:
        value = value.item()
    if value is None or isinstance(value, int | float):
        return value
    raise TypeError(
        f"clip needs numbers as min and max, not {type(value).__name__};"
        " with tensors write minimum(maximum(x, low), high)"
    )
