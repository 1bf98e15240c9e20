"""Parts of tensors: split, select and windows."""

import itertools
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import ShapeError
from ..ops import movement
from .names import accepts_dim, accepts_names, axis_of
from .shapes import movedim, numel

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "as_strided",
    "chunk",
    "combinations",
    "dsplit",
    "hsplit",
    "narrow",
    "select",
    "split",
    "split_with_sizes",
    "tensor_split",
    "unbind",
    "vsplit",
]


@accepts_names(dim="axis", split_size="sizes", split_size_or_sections="sizes")
def split(x: "Tensor", sizes: int | Sequence[int], axis: int = 0) -> "tuple[Tensor, ...]":
    """Split along `axis` into pieces of one size (the last may be smaller) or given sizes."""
    if not x.shape:
        raise ShapeError("a tensor without axes cannot be split")
    axis = axis_of(x, axis)
    length = x.shape[axis]
    if not isinstance(sizes, list | tuple):
        size = index(sizes)  # type: ignore[arg-type]
        if size < 0 or (size == 0 and length > 0):
            raise ShapeError(f"split({size}): the size of a piece must be at least 1")
        sizes = [min(size, length - start) for start in range(0, length, size or 1)] or [0]
    pieces: Any = movement.split(x, sizes=tuple(sizes), axis=axis)
    return pieces if isinstance(pieces, tuple) else (pieces,)


@accepts_dim
def chunk(x: "Tensor", chunks: int, axis: int = 0) -> "tuple[Tensor, ...]":
    """Split along `axis` into at most `chunks` pieces of equal size; the last may be smaller."""
    if chunks < 1:
        raise ShapeError(f"chunk: the number of chunks must be at least 1, not {chunks}")
    length = x.shape[axis_of(x, axis)] if x.shape else 0
    if x.shape and length == 0:
        return split(x, [0] * chunks, axis)
    return split(x, -(-length // chunks), axis)


@accepts_dim
def tensor_split(x: "Tensor", indices_or_sections: Any, axis: int = 0) -> "tuple[Tensor, ...]":
    """Split along `axis` into a number of pieces, or at the given indices."""
    at = axis_of(x, axis)
    if isinstance(indices_or_sections, int):
        n, rest = divmod(x.shape[at], indices_or_sections)
        return split(x, [n + 1] * rest + [n] * (indices_or_sections - rest), at)
    bounds = [*(index(i) for i in indices_or_sections), x.shape[at]]
    ranges = zip([0, *bounds[:-1]], bounds, strict=True)
    leading = (slice(None),) * at
    return tuple(movement.getitem(x, key=(*leading, slice(a, b))) for a, b in ranges)


def split_with_sizes(x: "Tensor", split_sizes: Sequence[int], dim: int = 0) -> "tuple[Tensor, ...]":
    """Split along `dim` into pieces of the given sizes."""
    return split(x, list(split_sizes), dim)


def hsplit(x: "Tensor", indices_or_sections: Any) -> "tuple[Tensor, ...]":
    """Split along axis 1, or a vector along axis 0: see `tensor_split`."""
    return tensor_split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


def vsplit(x: "Tensor", indices_or_sections: Any) -> "tuple[Tensor, ...]":
    """Split along axis 0: see `tensor_split`."""
    return tensor_split(x, indices_or_sections, 0)


def dsplit(x: "Tensor", indices_or_sections: Any) -> "tuple[Tensor, ...]":
    """Split along axis 2: see `tensor_split`."""
    return tensor_split(x, indices_or_sections, 2)


@accepts_dim
def unbind(x: "Tensor", axis: int = 0) -> "tuple[Tensor, ...]":
    """The slices along `axis`, without that axis."""
    if not x.shape:
        raise ShapeError("a tensor without axes cannot be unbound")
    at = axis_of(x, axis)
    if not x.shape[at]:
        return ()
    shape = x.shape[:at] + x.shape[at + 1 :]
    return tuple(piece.reshape(shape) for piece in split(x, [1] * x.shape[at], at))


@accepts_dim
def narrow(x: "Tensor", axis: int, start: int, length: int) -> "Tensor":
    """A view of `length` indices along `axis`, from `start`."""
    at, start = axis_of(x, axis), index(start)
    size = x.shape[at]
    first = start + size if start < 0 else start
    if not 0 <= first <= first + length <= size:
        raise ShapeError(
            f"narrow: {length} indices from {start} are not within axis {at} of shape {x.shape}"
        )
    return movement.getitem(x, key=(slice(None),) * at + (slice(first, first + length),))


@accepts_names(dim="axis", index="position")
def select(x: "Tensor", axis: int, position: int) -> "Tensor":
    """A view of one index along `axis`, without that axis."""
    return movement.getitem(x, key=(slice(None),) * axis_of(x, axis) + (int(position),))


def unfold(x: "Tensor", dimension: int, size: int, step: int) -> "Tensor":
    """Windows of `size` elements along an axis, `step` apart, as a new last axis."""
    at = axis_of(x, dimension)
    count = (x.shape[at] - size) // step + 1
    if not 0 <= size <= x.shape[at] or step < 1:
        raise ShapeError(
            f"unfold: windows of {size} with step {step} do not fit axis {at} of shape {x.shape}"
        )
    windows = x._backend.asarray(np.arange(count)[:, None] * step + np.arange(size))
    y = movement.getitem(x, key=(slice(None),) * at + (windows,))  # (..., count, size, ...)
    return movedim(y, at + 1, -1)


def as_strided(
    x: "Tensor", size: Sequence[int], stride: Sequence[int], storage_offset: int = 0
) -> "Tensor":
    """A copy of the elements at these steps, counted in the row-major order of x's elements.

    PyTorch counts in memory, which is the same for a contiguous tensor, and returns a view.
    """
    if len(size) != len(stride):
        raise ShapeError(f"as_strided: size {size} and stride {stride} have different lengths")
    ids = np.full((), storage_offset)
    for n, step in zip(size, stride, strict=True):
        ids = ids[..., None] + np.arange(n) * step
    if ids.size and not 0 <= ids.min() <= ids.max() < numel(x):
        raise ShapeError(
            f"as_strided: size {size} and stride {stride} reach outside of shape {x.shape}"
        )
    return movement.getitem(x.reshape(-1), key=(x._backend.asarray(ids),))


def combinations(x: "Tensor", r: int = 2, with_replacement: bool = False) -> "Tensor":
    """All combinations of r elements of a vector, one in each row."""
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(x.shape[0]), r))
    ids = np.array(rows, np.int64).reshape(len(rows), r)
    return movement.getitem(x, key=(x._backend.asarray(ids),))
