"""Broadcast and repeat elements."""

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import ShapeError, check_shape
from ..autograd import Variable
from ..backends.indices import as_index
from ..ops import movement, reductions
from .creation import check_sizes
from .joining import several_tensors, stack
from .names import accepts_names, axis_of
from .shapes import unsqueeze, view

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "cartesian_prod",
    "meshgrid",
    "repeat_interleave",
    "tile",
]


def expand(x: "Tensor", *shape: Any) -> "Tensor":
    """A view that repeats axes of size 1 up to `shape`; a size of -1 keeps an axis."""
    sizes = check_shape(shape)
    extra = len(sizes) - x.ndim
    if extra < 0 or -1 in sizes[:extra] or min(sizes, default=0) < -1:
        raise ShapeError(f"a tensor of shape {x.shape} cannot be expanded to {sizes}")
    target = tuple(x.shape[a - extra] if n == -1 else n for a, n in enumerate(sizes))
    return movement.broadcast_to(x, shape=target)


def view_as(x: "Tensor", other: "Tensor") -> "Tensor":
    """The same elements and memory in the shape of `other`."""
    return view(x, other.shape)


def expand_as(x: "Tensor", other: "Tensor") -> "Tensor":
    """A view of the shape of `other`."""
    return expand(x, other.shape)


def broadcast_to(x: "Tensor", size: Sequence[int]) -> "Tensor":
    """A view that repeats axes of size 1 up to the shape `size`."""
    return expand(x, tuple(size))


def sum_to_size(x: "Tensor", *size: Any) -> "Tensor":
    """The sum over the axes that broadcasting to the shape of x would have added or repeated."""
    target = check_shape(size)
    extra = x.ndim - len(target)
    axes = [a + extra for a, n in enumerate(target) if n == 1 and x.shape[a + extra] != 1]
    if extra < 0 or tuple(1 if a in axes else x.shape[a] for a in range(extra, x.ndim)) != target:
        raise ShapeError(f"a tensor of shape {x.shape} cannot be summed to {target}")
    every = (*range(extra), *axes)
    return reductions.sum(x, axis=every, keepdims=True).reshape(target) if every else x


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that tensors of these shapes broadcast to."""
    return _broadcast([check_sizes("broadcast_shapes", (shape,)) for shape in shapes])


def _broadcast(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The common shape: shapes are aligned at their last axis, and sizes of 1 are repeated."""
    ndim = max(map(len, shapes), default=0)
    rows = [(1,) * (ndim - len(shape)) + shape for shape in shapes]
    common = []
    for sizes in zip(*rows, strict=True):
        others = {size for size in sizes if size != 1}
        if len(others) > 1:
            raise ShapeError(f"the shapes {', '.join(map(str, shapes))} do not broadcast")
        common.append(others.pop() if others else 1)
    return tuple(common)


def broadcast_tensors(*tensors: Any) -> "tuple[Tensor, ...]":
    """Views of all tensors in the shape that they broadcast to."""
    several = several_tensors("broadcast_tensors", tensors[0] if _is_list(tensors) else tensors)
    shape = broadcast_shapes(*(x.shape for x in several))
    return tuple(expand(x, shape) for x in several)


def repeat(x: "Tensor", *repeats: Any) -> "Tensor":
    """A copy that repeats the whole tensor along each axis; further axes come first.

    >>> from tinytorch import Tensor
    >>> Tensor([1, 2]).repeat(2, 2)
    Tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    counts = check_shape(repeats)
    if len(counts) < x.ndim:
        raise ShapeError(
            f"repeat{counts} needs at least {x.ndim} numbers for a tensor of shape {x.shape}"
        )
    if min(counts, default=0) < 0:
        raise ShapeError(f"repeat{counts}: a tensor cannot be repeated a negative number of times")
    shape = (1,) * (len(counts) - x.ndim) + x.shape
    # (n, m) -> (1, n, 1, m) -> (r, n, s, m) -> (r * n, s * m)
    y = x.reshape([k for n in shape for k in (1, n)])
    y = expand(y, [k for pair in zip(counts, shape, strict=True) for k in pair])
    y = y.reshape([r * n for r, n in zip(counts, shape, strict=True)])
    return y.clone() if y._version is x._version else y


def tile(x: "Tensor", *repeats: Any, dims: Any = None) -> "Tensor":
    """A copy that repeats the whole tensor; missing counts of leading axes are 1."""
    counts = check_shape(repeats if dims is None else (dims,))
    return repeat(x, (1,) * (x.ndim - len(counts)) + counts)


@accepts_names(dim="axis")
def repeat_interleave(
    x: "Tensor", repeats: Any, axis: int | None = None, *, output_size: int | None = None
) -> "Tensor":
    """A copy that repeats each element along `axis`, by default of the flattened tensor.

    Args:
        repeats: the number of times, or a tensor of a number for each index along `axis`.
        output_size: accepted and ignored.
    """
    if axis is None:
        x, axis = x.reshape(-1), 0
    x = x if x.ndim else x.reshape(1)
    at = axis_of(x, axis)
    if isinstance(repeats, Variable | np.ndarray | list | tuple):
        counts = np.asarray(repeats)
        if counts.size == 1:
            return repeat_interleave(x, int(counts.reshape(())), at)
        if counts.shape != (x.shape[at],):
            raise ShapeError(
                f"repeat_interleave: {counts.shape} repeats do not fit axis {at} of {x.shape}"
            )
        rows = x._backend.asarray(np.repeat(np.arange(x.shape[at]), as_index(counts)))
        return movement.getitem(x, key=(slice(None),) * at + (rows,))
    count = index(repeats)
    if count < 0:
        raise ShapeError(f"repeat_interleave: repeats must be at least 0, not {count}")
    y = expand(unsqueeze(x, at + 1), *x.shape[: at + 1], count, *x.shape[at + 1 :])
    y = y.reshape(*x.shape[:at], x.shape[at] * count, *x.shape[at + 1 :])
    return y.clone() if y._version is x._version else y


def meshgrid(*tensors: Any, indexing: str = "ij") -> "tuple[Tensor, ...]":
    """The coordinates of a grid: for vectors of lengths M, N, ... tensors of shape (M, N, ...).

    With indexing="xy", the first two axes of the results are swapped.
    """
    if indexing not in ("ij", "xy"):
        raise ValueError(f'meshgrid: indexing must be "ij" or "xy", not {indexing!r}')
    several = several_tensors("meshgrid", tensors[0] if _is_list(tensors) else tensors)
    if any(x.ndim > 1 for x in several):
        shapes = ", ".join(str(x.shape) for x in several)
        raise ShapeError(f"meshgrid takes vectors, not shapes {shapes}")
    vectors = [x.reshape(-1) for x in several]
    swapped = indexing == "xy" and len(vectors) > 1
    if swapped:
        vectors[:2] = vectors[1::-1]
    shape = [x.shape[0] for x in vectors]
    grids = [
        expand(x.reshape([-1 if a == b else 1 for b in range(len(vectors))]), shape)
        for a, x in enumerate(vectors)
    ]
    if swapped:
        grids[:2] = grids[1::-1]
    return tuple(grids)


def cartesian_prod(*tensors: "Tensor") -> "Tensor":
    """All combinations of elements of several vectors, one in each row."""
    grids = meshgrid(*tensors)
    return (
        grids[0].reshape(-1).clone()
        if len(grids) == 1
        else stack([g.reshape(-1) for g in grids], 1)
    )


def _is_list(tensors: tuple[Any, ...]) -> bool:
    """Whether the arguments are one list of tensors."""
    return len(tensors) == 1 and isinstance(tensors[0], list | tuple)
