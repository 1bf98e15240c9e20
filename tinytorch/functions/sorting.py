"""Sort, choose by rank, and count values.

Functions whose result has a size that depends on the values, such as `unique`, compute on the host.
"""

import builtins
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..arguments import DtypeError, ShapeError, check_integer, shown
from ..autograd import Variable
from ..backends.indices import as_index
from ..ops import elementwise, movement, reductions, sorting
from ..ops.operators import constant, same_backend
from ..ops.promotion import is_floating
from .conversion import host
from .names import accepts_dim, accepts_names, axis_of
from .reductions import ValuesAndIndices, _chosen

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "argsort",
    "bincount",
    "bucketize",
    "histc",
    "histogram",
    "kthvalue",
    "median",
    "mode",
    "msort",
    "nanmedian",
    "quantile",
    "searchsorted",
    "sort",
    "topk",
    "unique",
    "unique_consecutive",
]


@accepts_dim
def sort(
    x: "Tensor", axis: int = -1, descending: bool = False, stable: bool = True
) -> ValuesAndIndices:
    """Sort along `axis`; the result has the values, and the index of each in x.

    Equal elements keep their order. NaN counts as the largest number.

    >>> from tinytorch import Tensor, sort
    >>> values, indices = sort(Tensor([3.0, 1.0, 2.0]), descending=True)
    >>> values, indices
    (Tensor([3., 2., 1.]), Tensor([0, 2, 1]))
    """
    x, axis, scalar = _with_axis(x, axis)
    indices = constant(x, sorting.order(x._backend.xp, x._array, axis, descending))
    return _scalars(sorting.pick(x, indices, axis=axis), indices, scalar)


@accepts_dim
def argsort(x: "Tensor", axis: int = -1, descending: bool = False, stable: bool = True) -> "Tensor":
    """The indices that sort x along `axis`; equal elements keep their order."""
    x, axis, scalar = _with_axis(x, axis)
    indices = constant(x, sorting.order(x._backend.xp, x._array, axis, descending))
    return indices.reshape(()) if scalar else indices


def msort(x: "Tensor") -> "Tensor":
    """x sorted along the first axis."""
    return sort(x, 0).values


@accepts_dim
def topk(
    x: "Tensor", k: int, axis: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesAndIndices:
    """The k largest elements along `axis`, in descending order, and the index of each in x.

    Args:
        k: their number.
        axis: where to choose.
        largest: False for the smallest ones, in ascending order.
        sorted: without effect: they are always sorted.

    Raises:
        ValueError: there are fewer than k elements.
    """
    k = check_integer("topk: k", k)
    x, axis, scalar = _with_axis(x, axis)
    if k > x.shape[axis]:
        raise ShapeError(f"topk: k is {k}, but axis {axis} has {x.shape[axis]} elements")
    xp = x._backend.xp
    order = sorting.order(xp, x._array, axis, descending=largest)
    indices = constant(x, order[(slice(None),) * axis + (slice(k), ...)])
    return _scalars(sorting.pick(x, indices, axis=axis), indices, scalar)


@accepts_dim
def kthvalue(x: "Tensor", k: int, axis: int = -1, keepdims: bool = False) -> ValuesAndIndices:
    """The k-th smallest element along `axis`, counted from 1, and its index."""
    k = check_integer("kthvalue: k", k)
    x, axis, scalar = _with_axis(x, axis)
    if not 1 <= k <= x.shape[axis]:
        raise ShapeError(f"kthvalue: k is {k}, but axis {axis} has {x.shape[axis]} elements")
    order = sorting.order(x._backend.xp, x._array, axis)
    return _chosen(x, _at(order, k - 1, axis), axis, keepdims and not scalar)


@accepts_dim
def median(x: "Tensor", axis: int | None = None, keepdims: bool = False) -> Any:
    """The median, the lower one of two; NaN if there is a NaN.

    With an axis, the result has the values, and the index of each in x.
    """
    return _median(x, axis, keepdims, ignore_nan=False)


@accepts_dim
def nanmedian(x: "Tensor", axis: int | None = None, keepdims: bool = False) -> Any:
    """The median of the elements that are not NaN."""
    return _median(x, axis, keepdims, ignore_nan=True)


def _median(x: "Tensor", axis: int | None, keepdims: bool, ignore_nan: bool) -> Any:
    if axis is None:
        return _median(x.reshape(-1), 0, False, ignore_nan).values
    x, axis, scalar = _with_axis(x, axis)
    if x.shape[axis] == 0:
        raise IndexError(f"the median over axis {axis} of shape {x.shape} has no values")
    xp = x._backend.xp
    order = sorting.order(xp, x._array, axis)
    if not is_floating(x._array.dtype):
        chosen = _at(order, (x.shape[axis] - 1) // 2, axis)
    else:
        missing: Any = xp.isnan(x._array)
        count = xp.sum(xp.astype(missing, xp.int64), axis=axis, keepdims=True)
        rank = (x.shape[axis] - count - 1) // 2
        if not ignore_nan:  # the first NaN, if there is one
            rank = xp.where(count > 0, x.shape[axis] - count, rank)
        rank = xp.where(rank < 0, xp.zeros_like(rank), rank)
        chosen = xp.take_along_axis(order, rank, axis=axis)
    return _chosen(x, chosen, axis, keepdims and not scalar)


@accepts_dim
def mode(x: "Tensor", axis: int = -1, keepdims: bool = False) -> ValuesAndIndices:
    """The most frequent element along `axis`, the smallest of several, and the last index of it."""
    x, axis, scalar = _with_axis(x, axis)
    rows = np.moveaxis(host(x), axis, -1)
    indices = np.empty((*rows.shape[:-1], 1), np.int64)
    for place in np.ndindex(rows.shape[:-1]):
        values, counts = np.unique(rows[place], return_counts=True)
        indices[place] = np.flatnonzero(rows[place] == values[counts.argmax()])[-1]
    chosen = x._backend.asarray(np.moveaxis(indices, -1, axis))
    return _chosen(x, chosen, axis, keepdims and not scalar)


@accepts_dim
def quantile(
    x: "Tensor",
    q: Any,
    axis: int | None = None,
    keepdims: bool = False,
    *,
    interpolation: str = "linear",
) -> "Tensor":
    """The q-quantiles along `axis`, by default of all elements; NaN if there is a NaN.

    Args:
        q: a number in [0, 1], or a tensor of them, whose axis becomes the first one of the result.
        axis: where to compute.
        keepdims: keep `axis` with size 1.
        interpolation: between two elements: "linear", "lower", "higher", "midpoint" or "nearest".
    """
    if not is_floating(x._array.dtype):
        raise DtypeError(f"quantile needs a floating tensor, not {x.dtype}")
    if interpolation not in _INTERPOLATIONS:
        raise ValueError(f"quantile: interpolation must be one of {', '.join(_INTERPOLATIONS)}")
    points = host(q) if isinstance(q, Variable) else np.asarray(q, np.float64)
    if points.ndim > 1 or not ((points >= 0) & (points <= 1)).all():
        raise ValueError(f"quantile: q must be one or several numbers in [0, 1], not {shown(q)}")
    shape = (1,) * x.ndim
    if axis is None:
        x, axis = x.reshape(-1), 0
    else:
        axis = axis_of(x, axis)
        shape = tuple(1 if a == axis else n for a, n in enumerate(x.shape))
    values, _, _ = _with_axis(x, axis)
    count = values.shape[axis]
    if count == 0:
        raise ShapeError("quantile needs at least one value")
    ordered = sort(values, axis).values
    has_nan = reductions.sum(values != values, axis=axis) > 0
    results = []
    for point in points.reshape(-1).tolist():
        low = builtins.min(int(point * (count - 1)), count - 1)
        weight = _INTERPOLATIONS[interpolation](point * (count - 1) - low)
        result = ordered[_place(low, axis)]
        if weight:
            result = result + weight * (ordered[_place(low + 1, axis)] - result)
        result = elementwise.where(has_nan, float("nan"), result)
        results.append(result.reshape((1, *(shape if keepdims else result.shape))))
    joined = movement.concat(*results, axis=0)
    return joined.reshape(joined.shape[1:]) if points.ndim == 0 else joined


# The share of the higher of two elements, for the position between them.
_INTERPOLATIONS: dict[str, Callable[[float], float]] = {
    "linear": lambda w: w,
    "lower": lambda w: 0.0,
    "higher": lambda w: float(w > 0),
    "midpoint": lambda w: 0.5 if w else 0.0,
    "nearest": lambda w: float(round(w)),
}


@accepts_names()
def unique(
    x: "Tensor",
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements of x in ascending order; with `dim`, the different slices.

    Args:
        x: a tensor.
        sorted: without effect: they are always sorted.
        return_inverse: also return the index of each element of x in the result.
        return_counts: also return how often each occurs.
        dim: the axis of the slices.
    """
    parts = np.unique(host(x), return_inverse=True, return_counts=True, axis=dim)
    values, inverse, counts = parts
    inverse = inverse.reshape(x.shape if dim is None else -1)
    return _selected(x, values, inverse, counts, return_inverse, return_counts)


def unique_consecutive(
    x: "Tensor", return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """x without elements that equal the one before."""
    if dim is not None:
        raise NotImplementedError("unique_consecutive takes all elements: leave dim out")
    values = host(x).reshape(-1)
    new = np.ones(values.shape, bool)
    new[1:] = values[1:] != values[:-1]
    inverse = (np.cumsum(new) - 1).reshape(x.shape)
    counts = np.diff(np.append(np.flatnonzero(new), values.size))
    return _selected(x, values[new], inverse, counts, return_inverse, return_counts)


def _selected(
    x: "Tensor", values: Any, inverse: Any, counts: Any, with_inverse: bool, with_counts: bool
) -> Any:
    results = [values]
    if with_inverse:
        results.append(inverse.astype(np.int64))
    if with_counts:
        results.append(counts.astype(np.int64))
    tensors = tuple([same_backend(x, result) for result in results])
    return tensors if len(tensors) > 1 else tensors[0]


@accepts_names()
def bincount(x: "Tensor", weights: "Tensor | None" = None, minlength: int = 0) -> "Tensor":
    """How often each integer from 0 occurs in the vector x, or the sum of its weights.

    >>> from tinytorch import Tensor, bincount
    >>> bincount(Tensor([0, 2, 2]))
    Tensor([1, 0, 2])
    """
    values = host(x)
    minlength = check_integer("bincount: minlength", minlength)
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values.size and values.min() < 0):
        raise DtypeError(
            f"bincount needs a vector of integers from 0, not {x.dtype} of shape {x.shape}"
        )
    if weights is None:
        counts = np.bincount(as_index(values), minlength=minlength)
        return same_backend(x, counts.astype(np.int64))
    if weights.shape != x.shape:
        raise ValueError(f"bincount: weights have shape {weights.shape}, x {x.shape}")
    sums = np.bincount(as_index(values), host(weights), minlength)
    dtype = np.float32 if str(host(weights).dtype) == "float32" else np.float64
    return same_backend(x, sums.astype(dtype))


@accepts_names()
def histc(x: "Tensor", bins: int = 100, min: float = 0, max: float = 0) -> "Tensor":
    """The number of elements in each of `bins` equal intervals of [min, max].

    Without limits, they are the smallest and the largest element. Others are not counted.
    """
    if not is_floating(x._array.dtype):
        raise DtypeError(f"histc needs a floating tensor, not {x.dtype}")
    values = host(x).reshape(-1)
    if min == max and values.size:
        min, max = float(values.min()), float(values.max())
    if min == max:
        min, max = min - 1, max + 1
    if not min < max:
        raise ValueError(f"histc: min must be below max, not {min} and {max}")
    counts, _ = np.histogram(values, check_integer("histc: bins", bins, least=1), (min, max))
    return same_backend(x, counts.astype(values.dtype))


class Histogram(NamedTuple):
    """The number of elements, or their density, between neighbours among the edges."""

    hist: "Tensor"
    bin_edges: "Tensor"


def histogram(
    x: "Tensor",
    bins: Any = 100,
    *,
    range: Any = None,
    weight: "Tensor | None" = None,
    density: bool = False,
) -> Histogram:
    """Count the elements of x in intervals; with `density`, the histogram's area is 1.

    Args:
        x: a floating tensor.
        bins: the number of equal intervals, or their ascending edges.
        range: the lowest and the highest edge; by default the smallest and the largest element.
        weight: what each element counts.
        density: divide by the sum and the lengths of the intervals.
    """
    if not is_floating(x._array.dtype):
        raise DtypeError(f"histogram needs a floating tensor, not {x.dtype}")
    values = host(x).reshape(-1)
    edges = host(bins) if isinstance(bins, Variable) else check_integer("histogram: bins", bins, 1)
    if values.size == 0 and range is None:
        range = (0, 1)
    weights = None if weight is None else host(weight).reshape(-1)
    counts, edges = np.histogram(values, edges, range, density, weights)
    dtype = values.dtype
    return Histogram(
        same_backend(x, counts.astype(dtype)), same_backend(x, np.asarray(edges).astype(dtype))
    )


def searchsorted(
    sorted_sequence: "Tensor",
    values: Any,
    *,
    right: bool = False,
    side: str | None = None,
    out_int32: bool = False,
) -> "Tensor":
    """The index in the ascending `sorted_sequence` (..., N) at which each value (..., M) belongs.

    Args:
        sorted_sequence: a vector, or one for each row of `values`.
        values: a tensor, or a number for a vector.
        right: behind equal elements, rather than before them.
        side: "right" or "left", the same.
        out_int32: return int32 instead of int64.
    """
    if side not in (None, "left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', not {shown(side)}")
    edges = host(sorted_sequence)
    wanted = host(values) if isinstance(values, Variable) else np.asarray(values)
    place: Any = "right" if right or side == "right" else "left"
    if edges.ndim == 1:
        found = np.asarray(np.searchsorted(edges, wanted, place))
    elif edges.shape[:-1] != wanted.shape[:-1]:
        raise ValueError(
            f"searchsorted: rows of {edges.shape} and {wanted.shape} do not fit together"
        )
    else:
        found = np.empty(wanted.shape, np.int64)
        for row in np.ndindex(edges.shape[:-1]):
            found[row] = np.searchsorted(edges[row], wanted[row], place)
    return same_backend(sorted_sequence, found.astype(np.int32 if out_int32 else np.int64))


def bucketize(
    x: Any, boundaries: "Tensor", *, out_int32: bool = False, right: bool = False
) -> "Tensor":
    """The index in the ascending vector `boundaries` of each element of x."""
    return searchsorted(boundaries, x, right=right, out_int32=out_int32)


def _with_axis(x: "Tensor", axis: int) -> "tuple[Tensor, int, bool]":
    """x with at least one axis, the axis as a non-negative number, and whether x had none."""
    axis = axis_of(x, axis)
    return (x, axis, False) if x.ndim else (x.reshape(1), 0, True)


def _scalars(values: "Tensor", indices: "Tensor", scalar: bool) -> ValuesAndIndices:
    if scalar:
        values, indices = values.reshape(values.shape[1:]), indices.reshape(indices.shape[1:])
    return ValuesAndIndices(values, indices)


def _place(position: int, axis: int) -> tuple[Any, ...]:
    return (slice(None),) * axis + (position,)


def _at(array: Any, position: int, axis: int) -> Any:
    """The elements at one position along `axis`, which is kept."""
    return array[(slice(None),) * axis + (slice(position, position + 1), ...)]
