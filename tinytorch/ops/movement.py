"""Lessons 01 and 06: movement ops, which rearrange elements; views if the array library can."""

from collections.abc import Sequence
from typing import Any

from ..arguments import ShapeError
from ..backends import BackendError
from ..backends.arrays import Array, Namespace, Shape
from .op import MISFIT, op


@op(view=True)
def reshape(xp: Namespace, x: Array, *, shape: Shape) -> Any:
    """The elements of x in another shape, in row-major order; a size of -1 is inferred."""
    try:
        if min(shape, default=0) < -1:  # NumPy infers any negative size
            raise ValueError
        return xp.reshape(x, shape), (x.shape,)
    except ValueError:
        raise ShapeError(f"a tensor of shape {x.shape} cannot be reshaped to {shape}") from None


@reshape.gradient
def reshape_gradient(xp: Namespace, g: Array, shape: Shape) -> Any:
    return xp.reshape(g, shape)


@op(view=True)
def permute(xp: Namespace, x: Array, *, axes: tuple[int, ...]) -> Any:
    """x with its axes in the given order."""
    try:
        return xp.permute_dims(x, axes), (axes,)
    except ValueError:
        raise ShapeError(f"{axes} is not a permutation of the axes of shape {x.shape}") from None


@permute.gradient
def permute_gradient(xp: Namespace, g: Array, axes: tuple[int, ...]) -> Any:
    order = [a % len(axes) for a in axes]
    return xp.permute_dims(g, tuple(order.index(a) for a in range(len(axes))))


@op(view=True)
def broadcast_to(xp: Namespace, x: Array, *, shape: Shape) -> Any:
    """x repeated up to `shape`, without a copy."""
    try:
        return xp.broadcast_to(x, shape), ()
    except MISFIT:
        raise ShapeError(
            f"a tensor of shape {tuple(x.shape)} cannot be expanded to {shape}"
        ) from None


@broadcast_to.gradient
def broadcast_to_gradient(xp: Namespace, g: Array) -> Any:
    return g  # autograd sums it over the broadcast dimensions


@op(view=True)
def getitem(xp: Namespace, x: Array, *, key: Any) -> Any:
    """x[key], for slices, integers, integer arrays, boolean masks, ellipsis and newaxis."""
    try:
        return xp.index(x, key), (x.shape, key)
    except IndexError as error:
        raise IndexError(f"x[key] with x of shape {tuple(x.shape)}: {error}") from None


@getitem.gradient
def getitem_gradient(xp: Namespace, g: Array, shape: Shape, key: Any) -> Any:
    return xp.index_add(xp.zeros(shape, dtype=g.dtype), key, g)


@op
def index_put(xp: Namespace, x: Array, values: Any, *, key: Any, accumulate: bool = False) -> Any:
    """A copy of x with `values` at x[key], or with `values` added there.

    Where an index occurs twice, one of its values is stored; with `accumulate`, all are added.
    """
    change = xp.index_add if accumulate else xp.index_set
    try:
        out = change(xp.asarray(x, copy=True), key, values)
    except MISFIT as error:
        raise assignment_error(x.shape, values, error) from None
    return out, (key, len(getattr(values, "shape", ())), accumulate)


def assignment_error(shape: Shape, values: Any, error: Exception) -> Exception:
    """The error for ``x[key] = values`` with x of a shape, from that of the array library."""
    if isinstance(error, BackendError | TypeError):
        return error
    if isinstance(error, IndexError):
        return IndexError(f"cannot assign to x[key], x of shape {tuple(shape)}: {error}")
    given = tuple(getattr(values, "shape", ()))
    return ShapeError(
        f"cannot assign a value of shape {given} to x[key], x of shape {tuple(shape)}: {error}"
    )


@index_put.gradient
def index_put_gradient(xp: Namespace, g: Array, key: Any, axes: int, accumulate: bool) -> Any:
    def values_gradient() -> Array:
        chosen = xp.index(g, key)
        # Values may have more axes of size 1 than x[key] has axes.
        return xp.reshape(chosen, (1,) * (axes - chosen.ndim) + chosen.shape)

    def x_gradient() -> Array:
        return g if accumulate else xp.index_set(xp.asarray(g, copy=True), key, 0)

    return x_gradient, values_gradient


@op
def flip(xp: Namespace, x: Array, *, axes: tuple[int, ...]) -> Any:
    """x with the order of its elements reversed along `axes`."""
    # A copy, as in PyTorch; NumPy returns a view.
    return xp.asarray(xp.flip(x, axis=axes), copy=True), (axes,)


@flip.gradient
def flip_gradient(xp: Namespace, g: Array, axes: tuple[int, ...]) -> Any:
    return xp.flip(g, axis=axes)


@op
def roll(xp: Namespace, x: Array, *, shifts: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """x shifted along `axes`; elements that leave an end come in at the other."""
    return xp.roll(x, shifts, axis=axes), (shifts, axes)


@roll.gradient
def roll_gradient(xp: Namespace, g: Array, shifts: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    return xp.roll(g, tuple(-shift for shift in shifts), axis=axes)


@op
def tril(xp: Namespace, x: Array, *, diagonal: int = 0) -> Any:
    """The matrices x (..., M, N) with 0 above a diagonal: the lower triangles."""
    return xp.tril(x, k=diagonal), (diagonal,)


@tril.gradient
def tril_gradient(xp: Namespace, g: Array, diagonal: int) -> Any:
    return xp.tril(g, k=diagonal)


@op
def triu(xp: Namespace, x: Array, *, diagonal: int = 0) -> Any:
    """The matrices x (..., M, N) with 0 below a diagonal: the upper triangles."""
    return xp.triu(x, k=diagonal), (diagonal,)


@triu.gradient
def triu_gradient(xp: Namespace, g: Array, diagonal: int) -> Any:
    return xp.triu(g, k=diagonal)


@op(promote="common")
def concat(xp: Namespace, *arrays: Array, axis: int = 0) -> Any:
    """The arrays joined along an existing axis."""
    try:
        return xp.concat(arrays, axis=axis), ([a.shape[axis] for a in arrays], axis)
    except (ValueError, IndexError):
        raise _cannot_join("concat", arrays, axis) from None


@concat.gradient
def concat_gradient(xp: Namespace, g: Array, sizes: list[int], axis: int) -> Any:
    return tuple(_split(g, sizes, axis))


@op(view=True)
def split(xp: Namespace, x: Array, *, sizes: tuple[int, ...], axis: int = 0) -> Any:
    """x split along `axis` into pieces of the given sizes."""
    if any(n < 0 for n in sizes) or sum(sizes) != x.shape[axis]:
        raise ShapeError(f"sizes {tuple(sizes)} do not add up to axis {axis} of shape {x.shape}")
    return tuple(_split(x, sizes, axis)), (x.shape, sizes, axis)


@split.gradient
def split_gradient(xp: Namespace, gs: Any, shape: Shape, sizes: tuple[int, ...], axis: int) -> Any:
    gs = gs if isinstance(gs, tuple) else (gs,)
    dtype = next(g.dtype for g in gs if g is not None)
    axis = axis % len(shape)

    def zeros(size: int) -> Array:
        return xp.zeros((*shape[:axis], size, *shape[axis + 1 :]), dtype=dtype)

    pieces = [zeros(n) if g is None else g for g, n in zip(gs, sizes, strict=True)]
    return xp.concat(pieces, axis=axis)


def _split(x: Array, sizes: Any, axis: int) -> list[Array]:
    leading = (slice(None),) * (axis % x.ndim)
    pieces, start = [], 0
    for size in sizes:
        pieces.append(x[(*leading, slice(start, start + size), ...)])
        start += size
    return pieces


@op(promote="common")
def stack(xp: Namespace, *arrays: Array, axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis."""
    try:
        return xp.stack(arrays, axis=axis), (len(arrays), axis)
    except (ValueError, IndexError):
        raise _cannot_join("stack", arrays, axis) from None


@stack.gradient
def stack_gradient(xp: Namespace, g: Array, count: int, axis: int) -> Any:
    leading = (slice(None),) * (axis % g.ndim)
    return tuple(g[(*leading, i, ...)] for i in range(count))


def _cannot_join(name: str, arrays: Sequence[Array], axis: int) -> ShapeError:
    shapes = ", ".join(str(tuple(a.shape)) for a in arrays)
    return ShapeError(f"{name} cannot join the shapes {shapes} along axis {axis}")
