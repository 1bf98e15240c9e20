"""The argument `out` of functions: an existing tensor that takes the result."""

from typing import TYPE_CHECKING

from .. import autograd
from ..arguments import DtypeError, ShapeError
from ..ops.promotion import is_floating

if TYPE_CHECKING:
    from ..tensor import Tensor


def stored(result: "Tensor", out: "Tensor | None") -> "Tensor":
    """`result`, or `out` after the result is copied to its memory.

    Raises:
        RuntimeError: the result has another shape, is floating where `out` is not, or one of them
            requires a gradient.
    """
    if out is None:
        return result
    if autograd.is_grad_enabled() and (result._requires_grad or out._requires_grad):
        raise RuntimeError("out= has no gradient: use the result, or no_grad()")
    if result.shape != out.shape:
        raise ShapeError(f"out= has shape {out.shape}, and the result {result.shape}")
    if is_floating(result._array.dtype) and not is_floating(out._array.dtype):
        raise DtypeError(f"out= has dtype {out.dtype}, which cannot store {result.dtype}")
    out._write(..., result._backend.xp.astype(result._array, out._array.dtype))
    return out
