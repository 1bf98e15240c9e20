"""Change shapes, join and split tensors."""

import itertools
import math
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import ShapeError, check_shape, shown
from ..autograd import Variable
from ..ops import movement, reductions
from ..ops.operators import constant
from ..ops.promotion import _numpy_dtype
from .names import accepts_dim, accepts_names, axis_of

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "adjoint",
    "as_strided",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block_diag",
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "cartesian_prod",
    "cat",
    "chunk",
    "column_stack",
    "combinations",
    "concat",
    "concatenate",
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "dsplit",
    "dstack",
    "flatten",
    "flip",
    "fliplr",
    "flipud",
    "hsplit",
    "hstack",
    "meshgrid",
    "moveaxis",
    "movedim",
    "narrow",
    "numel",
    "permute",
    "ravel",
    "repeat_interleave",
    "reshape",
    "roll",
    "rot90",
    "row_stack",
    "select",
    "split",
    "split_with_sizes",
    "squeeze",
    "stack",
    "swapaxes",
    "swapdims",
    "t",
    "tensor_split",
    "tile",
    "transpose",
    "tril",
    "triu",
    "unbind",
    "unflatten",
    "unsqueeze",
    "vsplit",
    "vstack",
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


# Triangles and diagonals


def tril(x: "Tensor", diagonal: int = 0) -> "Tensor":
    """Matrices with 0 above the given diagonal: the lower triangles.

    >>> from tinytorch import ones, tril
    >>> tril(ones(2, 2))
    Tensor([[1., 0.],
            [1., 1.]])
    """
    _check_matrix("tril", x)
    return movement.tril(x, diagonal=diagonal)


def triu(x: "Tensor", diagonal: int = 0) -> "Tensor":
    """Matrices with 0 below the given diagonal: the upper triangles."""
    _check_matrix("triu", x)
    return movement.triu(x, diagonal=diagonal)


@accepts_names(dim1="axis1", dim2="axis2")
def diagonal(x: "Tensor", offset: int = 0, axis1: int = 0, axis2: int = 1) -> "Tensor":
    """The diagonals of the matrices on two axes, as the last axis; a view of contiguous memory."""
    _check_matrix("diagonal", x)
    first, second = axis_of(x, axis1), axis_of(x, axis2)
    if first == second:
        raise ShapeError(f"diagonal needs two different axes, not {axis1} and {axis2}")
    y = movedim(x, (first, second), (-2, -1))  # (..., M, N)
    rows, columns = y.shape[-2:]
    start = offset if offset >= 0 else -offset * columns
    count = min(rows + min(offset, 0), columns - max(offset, 0))
    if count <= 0:
        return y.reshape(*y.shape[:-2], rows * columns)[..., :0]
    flat = y.reshape(*y.shape[:-2], rows * columns)
    return flat[..., start : start + (count - 1) * (columns + 1) + 1 : columns + 1]


def diag(x: "Tensor", diagonal: int = 0) -> "Tensor":
    """The matrix with the vector x on a diagonal, or the diagonal of the matrix x."""
    if x.ndim == 1:
        return diag_embed(x, diagonal)
    if x.ndim != 2:
        raise ShapeError(f"diag takes a vector or a matrix, not a tensor of shape {x.shape}")
    return _diagonal(x, diagonal).clone()


_diagonal = diagonal  # which `diag` has as an argument


def diagflat(x: "Tensor", offset: int = 0) -> "Tensor":
    """The matrix with all elements of x on a diagonal."""
    return diag_embed(x.reshape(-1), offset)


def diag_embed(x: "Tensor", offset: int = 0, dim1: int = -2, dim2: int = -1) -> "Tensor":
    """Matrices with the last axis of x on a diagonal: (..., N) becomes (..., N, N)."""
    count = x.shape[-1]
    n = count + abs(offset)
    xp = x._backend.xp
    zeros = constant(x, xp.zeros((*x.shape[:-1], n * n), dtype=x.dtype))
    start = offset if offset >= 0 else -offset * n
    key = (
        (..., slice(start, start + (count - 1) * (n + 1) + 1, n + 1)) if count else (..., slice(0))
    )
    matrices = movement.index_put(zeros, x, key=key).reshape(*x.shape[:-1], n, n)
    return movedim(matrices, (-2, -1), (dim1, dim2))


# Repeated elements


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
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        raise ShapeError(f"the shapes {', '.join(map(str, shapes))} do not broadcast") from None


def broadcast_tensors(*tensors: Any) -> "tuple[Tensor, ...]":
    """Views of all tensors in the shape that they broadcast to."""
    several = _several("broadcast_tensors", tensors[0] if _is_list(tensors) else tensors)
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
        rows = x._backend.asarray(np.repeat(np.arange(x.shape[at]), counts))
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
    several = _several("meshgrid", tensors[0] if _is_list(tensors) else tensors)
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


# Parts


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


# Joined tensors


@accepts_dim
def concat(tensors: Sequence["Tensor"], axis: int = 0) -> "Tensor":
    """Join tensors along an existing axis: ``concat([x, y])``.

    As in PyTorch, a tensor of shape (0,) fits everywhere.
    """
    several, axis = _several("concat", tensors), _index("concat", axis)
    try:
        return movement.concat(*several, axis=axis)
    except ShapeError:
        others = [x for x in several if x.shape != (0,)]
        if not 0 < len(others) < len(several):
            raise
    return movement.concat(*others, axis=axis)


cat = concatenate = concat


@accepts_dim
def stack(tensors: Sequence["Tensor"], axis: int = 0) -> "Tensor":
    """Join tensors of one shape along a new axis: ``stack([x, y])``."""
    return movement.stack(*_several("stack", tensors), axis=_index("stack", axis))


def hstack(tensors: Sequence["Tensor"]) -> "Tensor":
    """Join vectors end to end, and tensors with more axes along axis 1."""
    several = [atleast_1d(x) for x in _several("hstack", tensors)]
    return concat(several, 0 if several[0].ndim == 1 else 1)


def block_diag(*tensors: "Tensor") -> "Tensor":
    """A matrix with the given matrices on its diagonal; vectors count as rows."""
    matrices = [atleast_2d(x) for x in tensors]
    width = sum(x.shape[1] for x in matrices)
    rows, before = [], 0
    for x in matrices:
        xp, (height, own) = x._backend.xp, x.shape
        left = constant(x, xp.zeros((height, before), dtype=x.dtype))
        right = constant(x, xp.zeros((height, width - before - own), dtype=x.dtype))
        rows.append(concat([left, x, right], 1))
        before += own
    return concat(rows, 0)


def vstack(tensors: Sequence["Tensor"]) -> "Tensor":
    """Join tensors along axis 0; vectors become rows."""
    return concat([atleast_2d(x) for x in _several("vstack", tensors)], 0)


row_stack = vstack


def dstack(tensors: Sequence["Tensor"]) -> "Tensor":
    """Join tensors along axis 2, which is added if there is none."""
    return concat([atleast_3d(x) for x in _several("dstack", tensors)], 2)


def column_stack(tensors: Sequence["Tensor"]) -> "Tensor":
    """Join tensors along axis 1; vectors become columns."""
    several = _several("column_stack", tensors)
    return concat([x if x.ndim > 1 else x.reshape(-1, 1) for x in several], 1)


def _several(name: str, tensors: Any) -> list[Any]:
    if isinstance(tensors, Variable | np.ndarray):
        raise TypeError(f"{name} takes a list of tensors: {name}([x, y])")
    several = list(tensors)
    if not several:
        raise ValueError(f"{name} needs at least one tensor")
    if any(tensor is None for tensor in several):
        raise TypeError(f"{name} takes tensors, not None")
    return several


def _is_list(tensors: tuple[Any, ...]) -> bool:
    """Whether the arguments are one list of tensors."""
    return len(tensors) == 1 and isinstance(tensors[0], list | tuple)


def _index(name: str, axis: Any) -> int:
    if isinstance(axis, Variable | bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"{name} takes a list of tensors and an axis: {name}([x, y], axis=0)")
    return index(axis)


def _tuple(value: Any) -> tuple[int, ...]:
    """An integer or several as a tuple."""
    return tuple(map(index, value)) if isinstance(value, tuple | list) else (index(value),)


def _check_matrix(name: str, x: "Tensor") -> None:
    if x.ndim < 2:
        raise ShapeError(f"{name} needs a tensor with at least two axes, not shape {x.shape}")
