"""Read and write elements by index: ``x[key]``, ``x[key] = y``, gather, scatter and others."""

import math
from types import EllipsisType, NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import autograd
from ..arguments import DtypeError, ShapeError, shown
from ..autograd import Variable
from ..ops import elementwise, movement
from ..ops.operators import constant, same_backend
from .in_place import update
from .names import accepts_dim, accepts_names, axis_of

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "argwhere",
    "gather",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "masked_scatter",
    "masked_select",
    "nonzero",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "select_scatter",
    "slice_scatter",
    "take",
    "take_along_dim",
]


def getitem(x: "Tensor", key: Any) -> "Tensor":
    """x[key], by PyTorch's rules.

    Args:
        key: integers, slices, None, `...`, integer tensors or lists, ranges and boolean masks, or a
            tuple of them. Slices and integers give a view, tensors and masks a copy.

    An integer selects first, as in PyTorch: for x (4, 5, 6), ``x[0, :, [1, 2]]`` is ``x[0][:, [1,
    2]]``, of shape (5, 2), where NumPy has (2, 5).
    """
    for part in _parts(x, key):
        y = movement.getitem(x, key=part)
        if y._version is x._version:
            y._view_of = x, part
        x = y
    return x


def setitem(x: "Tensor", key: Any, value: Any) -> None:
    """x[key] = value, with `key` as for reading; the value broadcasts and is cast to x's dtype.

    Without a gradient it is written to x's memory. With one, it is recorded in the graph, and x
    gets new memory, so that values that other gradients need stay as they were.

    Raises:
        RuntimeError: x is a leaf that requires a gradient, or a gradient is needed and x is or has
            a view that is in use.
    """
    parts = _parts(x, key)
    if not isinstance(value, int | float):
        if isinstance(value, Variable) and _is_view(value, x, parts):
            return  # x[key] += y, which has stored its result in x
        value = same_backend(x, value, x.dtype)
        if value.dtype != x.dtype:
            source = value if x.is_floating_point() else value.detach()
            value = elementwise.cast(source, dtype=x.dtype)
        if value.ndim and math.prod(value.shape) == 1:
            value = value.reshape(())  # fits wherever it goes, also where x[key] has fewer axes
    if autograd.is_grad_enabled() and (
        x._requires_grad or (isinstance(value, Variable) and value._requires_grad)
    ):
        update(x, _put(x, parts, value))
        return
    if isinstance(value, Variable):
        value = value._array
    if len(parts) > 1:
        x = movement.getitem(x.detach(), key=parts[0])
    x._write(parts[-1], value)


def _is_view(y: Variable, x: "Tensor", parts: list[Any]) -> bool:
    """Whether y is the view x[key] for a key of basic indices."""
    owner, key = getattr(y, "_view_of", (None, None))
    if owner is not x or y._version is not x._version or len(parts) != 1:
        return False
    ours, theirs = _tuple(key), _tuple(parts[0])
    same_types = [type(k) for k in ours] == [type(k) for k in theirs]
    return same_types and ours == theirs


def _tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _put(x: "Tensor", parts: list[Any], value: Any, accumulate: bool = False) -> "Tensor":
    """A copy of x with `value` at the key of one or two parts."""
    if len(parts) > 1:
        value = _put(movement.getitem(x, key=parts[0]), parts[1:], value, accumulate)
        accumulate = False
    return movement.index_put(x, value, key=parts[0], accumulate=accumulate)


_BASIC = {int, slice, NoneType, EllipsisType}


def _parts(x: "Tensor", key: Any) -> list[Any]:
    """The key with arrays of the backend, in one part or two."""
    for k in key if type(key) is tuple else (key,):
        if type(k) not in _BASIC:
            return _split_key(_native_key(x, key))
    return [key]


def _native_key(x: "Tensor", key: Any) -> Any:
    """`key` with tensors, lists and NumPy arrays copied to arrays of the backend.

    They are copied because the gradient uses them later, and they may have changed by then.
    """
    if isinstance(key, slice | int):
        return key
    if isinstance(key, tuple):
        return tuple([_native_key(x, k) for k in key])
    if isinstance(key, Variable):
        same_backend(x, key)
        array = key._array
        if key.is_floating_point():  # type: ignore[attr-defined]
            raise IndexError("an index must have an integer or boolean dtype, not a floating one")
        return x._backend.xp.asarray(array, copy=True)
    if isinstance(key, list | np.ndarray | range):
        return x._backend.asarray(_index_array(key))
    if key is None or key is ... or isinstance(key, np.integer | np.bool_):
        return key
    raise IndexError(f"a tensor cannot be indexed with {type(key).__name__} {shown(key)}")


def _index_array(key: Any) -> np.ndarray[Any, Any]:
    """A list, a range or an array as an array of indices or a mask."""
    try:
        empty = isinstance(key, list | range) and not len(key)
        array = np.asarray(key, dtype=np.int64 if empty else None)
    except ValueError:
        raise IndexError(
            f"a tensor cannot be indexed with the irregular list {shown(key)}"
        ) from None
    if array.dtype.kind not in "biu":
        raise IndexError(f"an index must have an integer or boolean dtype, not {array.dtype}")
    return array


def _split_key(key: Any) -> list[Any]:
    """The key in one part, or in two if NumPy would combine an integer with arrays of the key.

    The first part then selects the integers, and the second has the arrays.
    """
    if not isinstance(key, tuple):
        return [key]
    for k in key:
        if isinstance(k, int | np.integer):
            break
    else:
        return [key]
    integers = [isinstance(k, int | np.integer) and not isinstance(k, bool) for k in key]
    arrays = [hasattr(k, "ndim") and not isinstance(k, np.generic) for k in key]
    if not any(integers) or not any(arrays) or any(isinstance(k, bool | np.bool_) for k in key):
        return [key]
    used = [i for i in range(len(key)) if integers[i] or arrays[i]]
    if used[-1] - used[0] == len(used) - 1:  # no slice in between: the results are the same
        return [key]
    first: list[Any] = []
    second: list[Any] = []
    for k, is_integer in zip(key, integers, strict=True):
        if is_integer:
            first.append(k)
        elif hasattr(k, "ndim"):
            axes = k.ndim if str(k.dtype).endswith("bool") else 1  # a mask takes several axes
            first += [slice(None)] * axes
            second.append(k)
        else:
            first.append(k)
            second.append(k if k is ... else slice(None))
    return [tuple(first), tuple(second)]


# Along one axis


@accepts_dim
def index_select(x: "Tensor", axis: int, index: Any) -> "Tensor":
    """The slices of x along `axis` at the positions `index`, a vector of integers."""
    ids = _integers("index_select", x, index)
    if ids.ndim > 1:
        raise IndexError(f"index_select: index must be a vector, not of shape {ids.shape}")
    if ids.ndim == 0:
        ids = x._backend.xp.reshape(ids, (1,))
    if not x.shape:
        x = x.reshape(1)
        return movement.getitem(x, key=(ids,)).reshape(())
    return movement.getitem(x, key=(slice(None),) * axis_of(x, axis) + (ids,))


@accepts_dim
def gather(x: "Tensor", axis: int, index: Any, *, sparse_grad: bool = False) -> "Tensor":
    """The elements of x along `axis` at `index`, which has as many axes as x.

    For axis 1 of a matrix, ``y[i, j] = x[i, index[i, j]]``.

    Args:
        sparse_grad: accepted and ignored.

    >>> from tinytorch import Tensor
    >>> Tensor([[1, 2], [3, 4]]).gather(1, Tensor([[1], [0]]))
    Tensor([[2],
            [3]])
    """
    if not x.shape:
        return gather(x.reshape(1), 0, same_backend(x, index).reshape(-1)).reshape(())
    return movement.getitem(x, key=_along("gather", x, axis, index))


@accepts_dim
def scatter(
    x: "Tensor", axis: int, index: Any, src: Any = None, *, value: Any = None, reduce: Any = None
) -> "Tensor":
    """A copy of x with the elements of `src` at `index` along `axis`, the reverse of `gather`.

    For axis 1 of a matrix, ``y[i, index[i, j]] = src[i, j]``.

    Args:
        src: a tensor of at least the shape of `index`, or a number.
        value: a number, instead of `src`.
        reduce: "add" adds to the elements instead.
    """
    if reduce not in (None, "add"):
        raise ValueError(f'scatter: reduce must be None or "add", not {reduce!r}')
    src = value if src is None else src
    if src is None:
        raise TypeError("scatter needs src, a tensor or a number")
    return _scatter("scatter", x, axis, index, src, accumulate=reduce == "add")


@accepts_dim
def scatter_add(x: "Tensor", axis: int, index: Any, src: Any) -> "Tensor":
    """A copy of x with the elements of `src` added at `index` along `axis`."""
    return _scatter("scatter_add", x, axis, index, src, accumulate=True)


@accepts_dim
def scatter_reduce(
    x: "Tensor", axis: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> "Tensor":
    """A copy of x with the sums or means of the elements of `src` that `index` assigns to each.

    Args:
        reduce: "sum" or "mean".
        include_self: whether the elements of x themselves count too.
    """
    if reduce not in ("sum", "mean"):
        raise ValueError(f'scatter_reduce: reduce must be "sum" or "mean", not {reduce!r}')
    total = scatter_add(x if include_self else scatter(x, axis, index, 0), axis, index, src)
    if reduce == "sum":
        return total
    ones, zeros = x._backend.xp.ones_like(x._array), x._backend.xp.zeros_like(x._array)
    base = constant(x, ones if include_self else zeros)
    one = constant(x, x._backend.xp.ones_like(same_backend(x, src)._array))
    count = scatter_add(base, axis, index, one)
    return total / elementwise.maximum(count, constant(x, ones))


@accepts_dim
def index_add(x: "Tensor", axis: int, index: Any, source: Any, *, alpha: float = 1) -> "Tensor":
    """A copy of x with the slices of `source` added along `axis` at the positions `index`."""
    source = same_backend(x, source)
    source = source if alpha == 1 else source * alpha
    return movement.index_put(x, source, key=_slices("index_add", x, axis, index), accumulate=True)


@accepts_dim
def index_copy(x: "Tensor", axis: int, index: Any, source: Any) -> "Tensor":
    """A copy of x with the slices of `source` along `axis` at the positions `index`."""
    return movement.index_put(x, same_backend(x, source), key=_slices("index_copy", x, axis, index))


@accepts_dim
def index_fill(x: "Tensor", axis: int, index: Any, value: Any) -> "Tensor":
    """A copy of x with `value` along `axis` at the positions `index`."""
    value = same_backend(x, value).to(x.dtype) if isinstance(value, Variable) else value
    return movement.index_put(x, value, key=_slices("index_fill", x, axis, index))


@accepts_names(dim="axis", index="position")
def select_scatter(x: "Tensor", src: "Tensor", axis: int, position: int) -> "Tensor":
    """A copy of x with `src` at one index along `axis`."""
    return movement.index_put(x, src, key=(slice(None),) * axis_of(x, axis) + (int(position),))


@accepts_dim
def slice_scatter(
    x: "Tensor",
    src: "Tensor",
    axis: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> "Tensor":
    """A copy of x with `src` at the slice ``start:end:step`` along `axis`."""
    key = (slice(None),) * axis_of(x, axis) + (slice(start, end, step),)
    return movement.index_put(x, src, key=key)


@accepts_names(dim="axis")
def take_along_dim(x: "Tensor", indices: Any, axis: int | None = None) -> "Tensor":
    """The elements of x along `axis` at `indices`, which broadcasts with x on the other axes."""
    if axis is None:
        return gather(x.reshape(-1), 0, indices.reshape(-1))
    at = axis_of(x, axis)
    ids = same_backend(x, indices)
    shape = list(np.broadcast_shapes(_without(x.shape, at), _without(ids.shape, at)))
    shape.insert(at, -1)
    return gather(x.expand(shape), at, ids.expand(shape))


# Anywhere


def index_put(
    x: "Tensor", indices: tuple[Any, ...], values: Any, accumulate: bool = False
) -> "Tensor":
    """A copy of x with `values` at ``x[indices]``, or added there."""
    parts = _split_key(_native_key(x, tuple(indices)))
    return _put(x, parts, _values(x, values), accumulate)


def take(x: "Tensor", index: Any) -> "Tensor":
    """The elements at `index` of x as a vector; the result has the shape of `index`."""
    return movement.getitem(x.reshape(-1), key=(_integers("take", x, index),))


def masked_select(x: "Tensor", mask: Any) -> "Tensor":
    """The elements of x where `mask` is true, as a vector; the two broadcast."""
    shape = np.broadcast_shapes(x.shape, mask.shape)
    return movement.getitem(x.expand(shape), key=_native_key(x, mask.expand(shape)))


def masked_scatter(x: "Tensor", mask: Any, source: "Tensor") -> "Tensor":
    """A copy of x with the first elements of `source`, in order, where `mask` is true."""
    shape = np.broadcast_shapes(x.shape, mask.shape)
    key, xp = _native_key(x, mask.expand(shape)), x._backend.xp
    values = source.reshape(-1)
    if not values.shape[0]:
        return x.expand(shape).clone()
    rank = xp.cumulative_sum(xp.reshape(xp.astype(key, xp.int64), (-1,)), axis=0) - 1
    rank = xp.reshape(xp.where(rank < 0, xp.zeros_like(rank), rank), shape)
    if isinstance(rank, np.ndarray) and rank.size and rank.flat[-1] >= values.shape[0]:
        raise ShapeError(
            f"masked_scatter: the mask has {rank.flat[-1] + 1} true elements, source"
            f" {values.shape[0]}"
        )
    chosen = movement.getitem(values, key=(rank,))
    return elementwise.where(constant(x, key), chosen, x)


@accepts_names()
def nonzero(x: "Tensor", *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not 0: a matrix with one in each row.

    Args:
        as_tuple: return one vector for each axis instead, which together are a key: ``x[indices]``.
    """
    xp = x._backend.xp
    if not x.shape:
        found = nonzero(x.reshape(1))
        return (found.reshape(-1),) if as_tuple else found[:, :0]
    axes = [xp.astype(ids, xp.int64) for ids in xp.nonzero(x._array)]
    if as_tuple:
        return tuple(constant(x, ids) for ids in axes)
    return constant(x, xp.stack(axes, axis=-1))


def argwhere(x: "Tensor") -> "Tensor":
    """The indices of the elements that are not 0, one in each row."""
    result: Tensor = nonzero(x)
    return result


# Keys


def _scatter(name: str, x: "Tensor", axis: int, index: Any, src: Any, accumulate: bool) -> "Tensor":
    if not x.shape:
        x, axis, whole = x.reshape(1), 0, False
        index = same_backend(x, index).reshape(-1)
        src = same_backend(x, src).reshape(-1) if isinstance(src, Variable) else src
    else:
        whole = True
        if x.ndim == 1:  # a single index or value counts as a vector
            index, src = _at_least_vector(x, index), _at_least_vector(x, src)
    key = _along(name, x, axis, index, within=False)
    values = _values(x, src)
    if isinstance(values, Variable):
        if values._array.dtype != x.dtype:
            raise DtypeError(f"{name}: src has dtype {values._array.dtype}, the tensor {x.dtype}")
        shape = same_backend(x, index).shape
        if len(values._array.shape) != len(shape) or any(
            n > m for n, m in zip(shape, values._array.shape, strict=True)
        ):
            raise ShapeError(
                f"{name}: src of shape {tuple(values._array.shape)} is smaller than index {shape}"
            )
        if tuple(values._array.shape) != shape:
            values = movement.getitem(values, key=tuple(slice(n) for n in shape))
    elif accumulate:
        values = x._result_class(values, dtype=x.dtype, backend=x._backend)
    result = movement.index_put(x, values, key=key, accumulate=accumulate)
    return result if whole else result.reshape(())


def _at_least_vector(x: "Tensor", value: Any) -> Any:
    """A tensor without axes as one of shape (1,), anything else as it is."""
    return value.reshape(1) if isinstance(value, type(x)) and not value.ndim else value


def _along(name: str, x: "Tensor", axis: int, index: Any, within: bool = True) -> tuple[Any, ...]:
    """The key of the elements at `index` along `axis`: an array of positions for each axis."""
    at = axis_of(x, axis)
    ids = _integers(name, x, index)
    shape, size = tuple(ids.shape), x.shape[at]
    if len(shape) != x.ndim:
        raise ShapeError(f"{name}: index of shape {shape} needs as many axes as {x.shape}")
    if any(n > m for n, m in zip(_without(shape, at), _without(x.shape, at), strict=True)):
        raise ShapeError(f"{name}: index of shape {shape} does not fit in {x.shape}")
    xp = x._backend.xp
    try:  # the lookup checks them where this does not make the host wait
        ids = xp.take_rows(xp.arange(size, dtype=ids.dtype), ids)
    except IndexError:
        host = x._backend.to_numpy(ids)
        wrong = host[(host < 0) | (host >= size)].flat[0]
        raise IndexError(
            f"{name}: index {wrong} is out of range for axis {at} of shape {x.shape}"
        ) from None
    key: list[Any] = []
    for a, n in enumerate(shape):
        positions = xp.arange(n, dtype=xp.int64)
        key.append(xp.reshape(positions, (1,) * a + (n,) + (1,) * (len(shape) - a - 1)))
    key[at] = ids
    return tuple(key)


def _slices(name: str, x: "Tensor", axis: int, index: Any) -> tuple[Any, ...]:
    """The key of the slices at `index`, a vector of integers, along `axis`."""
    ids = _integers(name, x, index)
    return (slice(None),) * axis_of(x, axis) + (ids,)


def _integers(name: str, x: "Tensor", index: Any) -> Any:
    """A copy of the array of an index, which must have an integer dtype."""
    tensor = same_backend(x, index)
    if tensor.is_floating_point() or tensor.dtype == x._backend.xp.bool:
        raise IndexError(f"{name}: index must have an integer dtype, not {tensor.dtype}")
    return x._backend.xp.asarray(tensor._array, copy=True)


def _values(x: "Tensor", values: Any) -> Any:
    """Values to store in x: a number as it is, anything else as a tensor on x's backend."""
    return values if isinstance(values, int | float) else same_backend(x, values, x.dtype)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]
