"""Reductions over axes."""

from typing import TYPE_CHECKING

from ..backends.arrays import Axis
from ..ops import reductions
from ..ops.operators import constant
from .names import accepts_dim

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["all", "any", "argmax", "argmin", "cumsum", "logsumexp", "max", "min", "std", "var"]


@accepts_dim
def var(x: "Tensor", axis: Axis = None, correction: float = 1, keepdims: bool = False) -> "Tensor":
    return reductions.var(x, axis=axis, correction=correction, keepdims=keepdims)


@accepts_dim
def std(x: "Tensor", axis: Axis = None, correction: float = 1, keepdims: bool = False) -> "Tensor":
    return reductions.std(x, axis=axis, correction=correction, keepdims=keepdims)


def max(x: "Tensor", axis: Axis = None, keepdims: bool = False) -> "Tensor":
    return reductions.max(x, axis=axis, keepdims=keepdims)


def min(x: "Tensor", axis: Axis = None, keepdims: bool = False) -> "Tensor":
    return reductions.min(x, axis=axis, keepdims=keepdims)


@accepts_dim
def logsumexp(x: "Tensor", axis: Axis = None, keepdims: bool = False) -> "Tensor":
    return reductions.logsumexp(x, axis=axis, keepdims=keepdims)


@accepts_dim
def cumsum(x: "Tensor", axis: int) -> "Tensor":
    return reductions.cumsum(x, axis=axis)


@accepts_dim
def argmax(x: "Tensor", axis: int | None = None, keepdims: bool = False) -> "Tensor":
    """The index of the largest element along `axis`; the first one of equal elements."""
    return _choose(x, "argmax", axis, keepdims)


@accepts_dim
def argmin(x: "Tensor", axis: int | None = None, keepdims: bool = False) -> "Tensor":
    """The index of the smallest element along `axis`; the first one of equal elements."""
    return _choose(x, "argmin", axis, keepdims)


def _choose(x: "Tensor", name: str, axis: int | None, keepdims: bool) -> "Tensor":
    """argmax or argmin; booleans are compared as integers."""
    axis = reductions.nonempty_axis(name, x._array, axis)
    xp = x._backend.xp
    array = x._array if x.dtype != xp.bool else xp.astype(x._array, xp.uint8)
    return constant(x, getattr(xp, name)(array, axis=axis, keepdims=keepdims))


@accepts_dim
def any(x: "Tensor", axis: Axis = None, keepdims: bool = False) -> "Tensor":
    axes = reductions._axes(x._array, axis)
    return constant(x, x._backend.xp.any(x._array, axis=axes, keepdims=keepdims))


@accepts_dim
def all(x: "Tensor", axis: Axis = None, keepdims: bool = False) -> "Tensor":
    axes = reductions._axes(x._array, axis)
    return constant(x, x._backend.xp.all(x._array, axis=axes, keepdims=keepdims))
