"""Sizes, shapes and the order of axes."""

import math
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any

from ..arguments import ShapeError, check_shape, shown
from ..autograd import Variable
from ..ops import movement
from ..ops.promotion import _numpy_dtype
from .names import accepts_dim, accepts_names, axis_of

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "adjoint",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "flatten",
    "flip",
    "fliplr",
    "flipud",
    "moveaxis",
    "movedim",
    "numel",
    "permute",
    "ravel",
    "reshape",
    "roll",
    "rot90",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
]


# Sizes and memory


def numel(x: "Tensor") -> int:
    """The number of elements."""
    return math.prod(x._array.shape)


def dim(x: "Tensor") -> int:
    """The number of axes."""
    return len(x._array.shape)


def element_size(x: "Tensor") -> int:
    """The number of bytes of one element."""
    return _numpy_dtype(x.dtype).itemsize


def nbytes(x: "Tensor") -> int:
    """The number of bytes of all elements."""
    return numel(x) * element_size(x)


def stride(x: "Tensor", dim: int | None = None) -> Any:
    """The step in memory, in elements, from one index to the next on each axis, or on one."""
    strides = getattr(x._array, "strides", None)
    if strides is None:  # a library that does not show its memory
        steps = [math.prod(x.shape[a + 1 :]) for a in range(x.ndim)]
    else:
        steps = [step // element_size(x) for step in strides]
    return tuple(steps) if dim is None else steps[axis_of(x, dim)]


def data_ptr(x: "Tensor") -> int:
    """The address of the first element; a tensor and a view that starts there have the same."""
    for name in ("__array_interface__", "__cuda_array_interface__"):
        if hasattr(x._array, name):
            return int(getattr(x._array, name)["data"][0])
    return id(x._backend.xp.storage(x._array))


def is_contiguous(x: "Tensor") -> bool:
    """Whether the elements lie in memory in row-major order, without gaps."""
    flags = getattr(x._array, "flags", None)
    return bool(getattr(flags, "c_contiguous", True))


def contiguous(x: "Tensor") -> "Tensor":
    """The tensor itself if its elements lie in memory in row-major order, else a copy that does."""
    shows_memory = hasattr(x._array, "flags")  # elsewhere, a reshape copies if it has to
    return x if shows_memory and is_contiguous(x) else x.reshape(-1).reshape(x.shape)


# Other shapes of the same elements


def reshape(x: "Tensor", shape: Sequence[int] | int) -> "Tensor":
    """The same elements in another shape; a size of -1 is inferred."""
    return x.reshape(shape)


def view(x: "Tensor", *shape: Any) -> "Tensor":
    """The same elements and memory in another shape; a size of -1 is inferred.

    Raises:
        RuntimeError: the elements lie in another order in memory, after `transpose` for example,
            so that only `reshape` can give them this shape, with a copy.
    """
    if len(shape) == 1 and not (
        isinstance(shape[0], tuple | list) or hasattr(shape[0], "__index__")
    ):
        raise TypeError(
            f"view takes sizes, not {shown(shape[0])}; to convert values to a dtype, use to(dtype)"
        )
    result: Tensor = x.reshape(*shape)
    if result._version is not x._version and numel(x):
        raise ShapeError(
            f"a tensor of shape {x.shape} cannot be viewed as {result.shape} without a copy: its"
            " elements lie in another order in memory; use reshape() or contiguous().view()"
        )
    return result


def reshape_as(x: "Tensor", other: "Tensor") -> "Tensor":
    """The same elements in the shape of `other`."""
    return x.reshape(other.shape)


def ravel(x: "Tensor") -> "Tensor":
    """The elements in one axis."""
    return x.reshape(-1)


@accepts_names(start_dim="start", end_dim="end")
def flatten(x: "Tensor", start: int = 0, end: int = -1) -> "Tensor":
    """Merge the axes from `start` to `end`, inclusive (PyTorch: start_dim, end_dim)."""
    start, end = axis_of(x, start), axis_of(x, end)
    if start > end:
        raise ShapeError(f"flatten({start}, {end}): the first axis comes after the last one")
    size = math.prod(x.shape[start : end + 1])
    return x.reshape(*x.shape[:start], size, *x.shape[end + 1 :])


@accepts_dim
def unflatten(x: "Tensor", axis: int, sizes: Sequence[int]) -> "Tensor":
    """Split one axis into several of the given sizes, one of which may be -1."""
    at = axis_of(x, axis)
    sizes = tuple(sizes)
    known = math.prod(n for n in sizes if n != -1)
    fits = x.shape[at] % known == 0 if -1 in sizes and known else known == x.shape[at]
    if not fits:
        raise ShapeError(f"unflatten: sizes {sizes} do not multiply to {x.shape[at]}")
    return x.reshape(*x.shape[:at], *sizes, *x.shape[at + 1 :])


@accepts_dim
def squeeze(x: "Tensor", axis: int | tuple[int, ...] | None = None) -> "Tensor":
    """Remove `axis` (an axis or several) if its size is 1, by default all axes of size 1."""
    if axis is None:
        chosen: Sequence[int] = range(x.ndim)
    else:
        chosen = [axis_of(x, a) for a in (axis if isinstance(axis, tuple | list) else (axis,))]
    return x.reshape(*(n for a, n in enumerate(x.shape) if n != 1 or a not in chosen))


@accepts_dim
def unsqueeze(x: "Tensor", axis: int) -> "Tensor":
    """Insert an axis of size 1 at position `axis`."""
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise IndexError(f"a new axis cannot be inserted at {axis} in a tensor of shape {x.shape}")
    at = axis % (x.ndim + 1)
    return x.reshape(*x.shape[:at], 1, *x.shape[at:])


def atleast_1d(*tensors: Any) -> Any:
    """Each tensor with at least one axis."""
    return _each(tensors, lambda x: x if x.ndim else x.reshape(1))


def atleast_2d(*tensors: Any) -> Any:
    """Each tensor with at least two axes; a vector becomes a row."""
    return _each(tensors, lambda x: x if x.ndim > 1 else x.reshape(1, -1))


def atleast_3d(*tensors: Any) -> Any:
    """Each tensor with at least three axes: (N,) becomes (1, N, 1), (M, N) becomes (M, N, 1)."""

    def widen(x: "Tensor") -> "Tensor":
        return x if x.ndim > 2 else x.unsqueeze(-1) if x.ndim == 2 else x.reshape(1, -1, 1)

    return _each(tensors, widen)


def _each(tensors: tuple[Any, ...], function: Any) -> Any:
    """`function` of one tensor, or the tuple of its results for several or a list."""
    if len(tensors) == 1 and isinstance(tensors[0], Variable):
        return function(tensors[0])
    several = tensors[0] if len(tensors) == 1 else tensors
    return tuple(function(x) for x in several)


# The order of axes


def permute(x: "Tensor", dims: Sequence[int]) -> "Tensor":
    """A view with the axes in the given order."""
    return x.permute(dims)


def transpose(x: "Tensor", dim0: int, dim1: int) -> "Tensor":
    """A view with two axes swapped."""
    return x.transpose(dim0, dim1)


swapaxes = swapdims = transpose


def t(x: "Tensor") -> "Tensor":
    """The transpose of a matrix; a tensor with fewer axes is returned as it is."""
    if x.ndim > 2:
        raise ShapeError(
            f"t() takes a matrix, not a tensor of shape {x.shape}; use mT or transpose(-2, -1)"
        )
    return x.transpose(0, 1) if x.ndim == 2 else x


def adjoint(x: "Tensor") -> "Tensor":
    """The matrices transposed, as `x.mT`, since there are no complex numbers."""
    return x.transpose(-2, -1)


def movedim(x: "Tensor", source: Any, destination: Any) -> "Tensor":
    """Move one axis, or several, to other positions; the others keep their order."""
    sources = [axis_of(x, a) for a in _tuple(source)]
    targets = [axis_of(x, a) for a in _tuple(destination)]
    if len(sources) != len(targets) or len(set(sources)) < len(sources):
        raise ShapeError(f"movedim cannot move the axes {source} to {destination}")
    rest = iter(a for a in range(x.ndim) if a not in sources)
    moved = dict(zip(targets, sources, strict=True))
    return x.permute([moved[a] if a in moved else next(rest) for a in range(x.ndim)])


moveaxis = movedim


def flip(x: "Tensor", *axes: Any, dims: Any = None) -> "Tensor":
    """A copy with the order of the elements reversed along the given axes."""
    axes = tuple(axis_of(x, a) for a in check_shape(axes if dims is None else (dims,)))
    if len(set(axes)) < len(axes):
        raise ShapeError(f"flip: the axes {axes} contain an axis twice")
    return movement.flip(x, axes=axes)


def fliplr(x: "Tensor") -> "Tensor":
    """A copy with the columns, axis 1, in reverse order."""
    return flip(x, 1)


def flipud(x: "Tensor") -> "Tensor":
    """A copy with the rows, axis 0, in reverse order."""
    return flip(x, 0)


def rot90(x: "Tensor", k: int = 1, dims: Sequence[int] = (0, 1)) -> "Tensor":
    """A copy rotated `k` times by 90 degrees from the first of two axes to the second."""
    first, second = dims
    turns = k % 4
    if turns == 2:
        return flip(x, first, second)
    if turns == 1:
        return flip(x, second).transpose(first, second)
    return flip(x, first).transpose(first, second) if turns else x.clone()


@accepts_names(dims="axis", dim="axis")
def roll(x: "Tensor", shifts: Any, axis: Any = None) -> "Tensor":
    """A copy shifted along `axis`; what leaves one end comes in at the other.

    Without an axis, all elements are shifted in row-major order.
    """
    moves = _tuple(shifts)
    if axis is None:
        if len(moves) != 1:
            raise ShapeError(f"roll by {shifts} needs an axis for each shift")
        return roll(x.reshape(-1), moves[0], 0).reshape(x.shape)
    axes = tuple(axis_of(x, a) for a in _tuple(axis))
    if len(axes) != len(moves):
        raise ShapeError(f"roll by {shifts} needs as many axes, not {axis}")
    return movement.roll(x, shifts=moves, axes=axes) if x.ndim else x.clone()


def _tuple(value: Any) -> tuple[int, ...]:
    """An integer or several as a tuple."""
    return tuple(map(index, value)) if isinstance(value, tuple | list) else (index(value),)
