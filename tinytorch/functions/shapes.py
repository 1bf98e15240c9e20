"""Change shapes, join and split tensors."""

import math
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import ShapeError, check_shape
from ..autograd import Variable
from ..ops import movement
from .names import accepts_dim, axis_of

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["concat", "flatten", "split", "squeeze", "stack", "unsqueeze"]


def flatten(x: "Tensor", start: int = 0, end: int = -1) -> "Tensor":
    """Merge the axes from `start` to `end`, inclusive."""
    start, end = axis_of(x, start), axis_of(x, end)
    if start > end:
        raise ValueError(f"flatten({start}, {end}): the first axis comes after the last one")
    size = math.prod(x.shape[start : end + 1])
    return x.reshape(*x.shape[:start], size, *x.shape[end + 1 :])


@accepts_dim
def squeeze(x: "Tensor", axis: int | None = None) -> "Tensor":
    """Remove `axis` if its size is 1, by default all axes of size 1."""
    chosen = range(x.ndim) if axis is None else [axis_of(x, axis)]
    return x.reshape(*(n for a, n in enumerate(x.shape) if n != 1 or a not in chosen))


@accepts_dim
def unsqueeze(x: "Tensor", axis: int) -> "Tensor":
    """Insert an axis of size 1 at position `axis`."""
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise IndexError(f"a new axis cannot be inserted at {axis} in a tensor of shape {x.shape}")
    at = axis % (x.ndim + 1)
    return x.reshape(*x.shape[:at], 1, *x.shape[at:])


def expand(x: "Tensor", *shape: Any) -> "Tensor":
    """A view that repeats axes of size 1 up to `shape`; a size of -1 keeps an axis."""
    sizes = check_shape(shape)
    extra = len(sizes) - x.ndim
    if extra < 0 or -1 in sizes[:extra] or min(sizes, default=0) < -1:
        raise ShapeError(f"a tensor of shape {x.shape} cannot be expanded to {sizes}")
    target = tuple(x.shape[a - extra] if n == -1 else n for a, n in enumerate(sizes))
    return movement.broadcast_to(x, shape=target)


@accepts_dim
def split(x: "Tensor", sizes: int | Sequence[int], axis: int = 0) -> "tuple[Tensor, ...]":
    """Split along `axis` into pieces of one size (the last may be smaller) or given sizes."""
    if not x.shape:
        raise ValueError("a tensor without axes cannot be split")
    axis = axis_of(x, axis)
    length = x.shape[axis]
    if not isinstance(sizes, list | tuple):
        size = index(sizes)  # type: ignore[arg-type]
        if size < 0 or (size == 0 and length > 0):
            raise ValueError(f"split({size}): the size of a piece must be at least 1")
        sizes = [min(size, length - start) for start in range(0, length, size or 1)] or [0]
    pieces: Any = movement.split(x, sizes=tuple(sizes), axis=axis)
    return pieces if isinstance(pieces, tuple) else (pieces,)


@accepts_dim
def concat(tensors: Sequence["Tensor"], axis: int = 0) -> "Tensor":
    """Join tensors along an existing axis: ``concat([x, y])``."""
    return movement.concat(*_several("concat", tensors), axis=_index("concat", axis))


@accepts_dim
def stack(tensors: Sequence["Tensor"], axis: int = 0) -> "Tensor":
    """Join tensors of one shape along a new axis: ``stack([x, y])``."""
    return movement.stack(*_several("stack", tensors), axis=_index("stack", axis))


def _several(name: str, tensors: Any) -> list[Any]:
    if isinstance(tensors, Variable | np.ndarray):
        raise TypeError(f"{name} takes a list of tensors: {name}([x, y])")
    several = list(tensors)
    if not several:
        raise ValueError(f"{name} needs at least one tensor")
    if any(tensor is None for tensor in several):
        raise TypeError(f"{name} takes tensors, not None")
    return several


def _index(name: str, axis: Any) -> int:
    if isinstance(axis, Variable | bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"{name} takes a list of tensors and an axis: {name}([x, y], axis=0)")
    return index(axis)
