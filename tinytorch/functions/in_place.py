"""In-place operations: ``x += y``, ``x.add_(y)``, ``x.zero_()``."""

import sys
from typing import TYPE_CHECKING, Any

from .. import autograd
from ..arguments import DtypeError, ShapeError
from ..ops import elementwise
from ..ops.promotion import is_floating

if TYPE_CHECKING:
    from ..tensor import Tensor


def update(x: "Tensor", result: "Tensor") -> "Tensor":
    """Store `result`, which an in-place operator computed from this tensor, in this tensor.

    Without a gradient, it is written to this tensor's memory, so that views see it too. In the
    graph, this tensor becomes `result`, with its memory and its node, so that values that a
    gradient needs stay as they were. Views would not see that, so they are an error.

    Raises:
        RuntimeError: this tensor is a leaf that requires a gradient, or a view of a tensor, or
            the tensor of a view, that is in use.
        TypeError: `result` is floating and this tensor is not, or it is boolean.
        ValueError: `result` has another shape, because the operand has more axes or elements.
    """
    if result.shape != x.shape:
        raise ShapeError(
            f"an in-place operator cannot change the shape {x.shape} to {result.shape};"
            " write x = x + y instead of x += y"
        )
    if result.dtype != x.dtype:
        if _kind(result) > _kind(x):
            raise DtypeError(
                f"an in-place operator cannot store {result.dtype} in a tensor of {x.dtype};"
                " write x = x + y instead of x += y"
            )
        result = elementwise.cast(result, dtype=x.dtype)
    if not (autograd.is_grad_enabled() and (x._requires_grad or result._requires_grad)):
        x._write(..., result._array)
        return x
    if x._requires_grad and x._node is None:
        raise RuntimeError(
            "a leaf that requires a gradient cannot be updated in place, which has no gradient;"
            " update it under no_grad(), or write x = x + y instead of x += y"
        )
    # The count includes the reference that is passed to getrefcount.
    if sys.getrefcount(x._version) > 2:
        raise RuntimeError(
            "an in-place operator with a gradient cannot update a tensor that shares its memory"
            " with a view or detach() of it; write x = x + y instead of x += y, or where(...)"
        )
    x._array, x._version = result._array, result._version
    x._node, x._output_nr = result._node, result._output_nr
    x._requires_grad = result._requires_grad
    return x


def add_(x: "Tensor", other: Any) -> "Tensor":
    return update(x, x + other)


def sub_(x: "Tensor", other: Any) -> "Tensor":
    return update(x, x - other)


def mul_(x: "Tensor", other: Any) -> "Tensor":
    return update(x, x * other)


def div_(x: "Tensor", other: Any) -> "Tensor":
    return update(x, x / other)


def pow_(x: "Tensor", other: Any) -> "Tensor":
    return update(x, x**other)


def and_(x: "Tensor", other: Any) -> "Tensor":
    return update(x, x & other)


def or_(x: "Tensor", other: Any) -> "Tensor":
    return update(x, x | other)


def clamp_(x: "Tensor", min: float | None = None, max: float | None = None) -> "Tensor":
    """Limit each element to [min, max] in place.

    Raises:
        ValueError: there is neither a minimum nor a maximum.
    """
    if min is None and max is None:
        raise ValueError("clamp_ needs a minimum or a maximum")
    return update(x, x.clip(min, max))


def copy_(x: "Tensor", source: Any) -> "Tensor":
    """Set all elements to `source`, broadcast to this tensor's shape."""
    x[...] = source
    return x


def fill_(x: "Tensor", value: Any) -> "Tensor":
    """Set every element to `value`."""
    x[...] = value
    return x


def zero_(x: "Tensor") -> "Tensor":
    """Set every element to 0."""
    return x.fill_(0)


def _kind(tensor: "Tensor") -> int:
    """0 for booleans, 1 for integers, 2 for floats; a tensor cannot store a higher kind."""
    return 2 if is_floating(tensor.dtype) else int(tensor.dtype != tensor._backend.xp.bool)
