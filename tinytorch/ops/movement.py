"""Ops that move elements without computing: views where the array library makes views."""

from typing import Any

from ..backends.base import Array, Namespace
from .op import op


@op
def reshape(xp: Namespace, x: Array, *, shape: tuple[int, ...]) -> Any:
    """x in another shape with the same elements in row-major order; one size may be -1."""
    try:
        return xp.reshape(x, shape), (x.shape,)
    except ValueError:
        raise ValueError(f"a tensor of shape {x.shape} cannot be reshaped to {shape}") from None


@reshape.gradient
def reshape_gradient(xp: Namespace, g: Array, shape: tuple[int, ...]) -> Any:
    return xp.reshape(g, shape)


@op
def permute(xp: Namespace, x: Array, *, axes: tuple[int, ...]) -> Any:
    """x with its axes in another order."""
    try:
        return xp.permute_dims(x, axes), (axes,)
    except ValueError:
        raise ValueError(f"{axes} is no order of the axes of shape {x.shape}") from None


@permute.gradient
def permute_gradient(xp: Namespace, g: Array, axes: tuple[int, ...]) -> Any:
    order = [a % len(axes) for a in axes]
    return xp.permute_dims(g, tuple(order.index(a) for a in range(len(axes))))


@op
def broadcast_to(xp: Namespace, x: Array, *, shape: tuple[int, ...]) -> Any:
    """x repeated to `shape`, without a copy."""
    return xp.broadcast_to(x, shape), ()


@broadcast_to.gradient
def broadcast_to_gradient(xp: Namespace, g: Array) -> Any:
    return g  # autograd sums over what was broadcast


@op
def getitem(xp: Namespace, x: Array, *, key: Any) -> Any:
    """x[key], for slices, integers, integer arrays, boolean masks, ellipsis and newaxis."""
    return xp.index(x, key), (x.shape, key)


@getitem.gradient
def getitem_gradient(xp: Namespace, g: Array, shape: tuple[int, ...], key: Any) -> Any:
    return xp.index_add(xp.zeros(shape, dtype=g.dtype), key, g)


@op
def concat(xp: Namespace, *arrays: Array, axis: int = 0) -> Any:
    """The arrays one after the other along an axis that they have."""
    return xp.concat(arrays, axis=axis), ([a.shape[axis] for a in arrays], axis)


@concat.gradient
def concat_gradient(xp: Namespace, g: Array, sizes: list[int], axis: int) -> Any:
    return tuple(_split(g, sizes, axis))


@op
def split(xp: Namespace, x: Array, *, sizes: tuple[int, ...], axis: int = 0) -> Any:
    """x cut along `axis` into pieces of the given sizes."""
    if any(n < 0 for n in sizes) or _total(sizes) != x.shape[axis]:
        raise ValueError(f"sizes {tuple(sizes)} do not make up axis {axis} of shape {x.shape}")
    return tuple(_split(x, sizes, axis)), (x.shape, sizes, axis)


@split.gradient
def split_gradient(
    xp: Namespace, gs: Any, shape: tuple[int, ...], sizes: tuple[int, ...], axis: int
) -> Any:
    gs = gs if isinstance(gs, tuple) else (gs,)
    some = next(g for g in gs if g is not None)
    axis = axis % len(shape)

    def zeros(size: int) -> Array:
        return xp.zeros((*shape[:axis], size, *shape[axis + 1 :]), dtype=some.dtype)

    pieces = [zeros(n) if g is None else g for g, n in zip(gs, sizes, strict=True)]
    return xp.concat(pieces, axis=axis)


def _total(sizes: Any) -> int:
    return sum(sizes)


def _split(x: Array, sizes: Any, axis: int) -> list[Array]:
    before = (slice(None),) * (axis % x.ndim)
    pieces, start = [], 0
    for size in sizes:
        pieces.append(x[(*before, slice(start, start + size), ...)])
        start += size
    return pieces


@op
def stack(xp: Namespace, *arrays: Array, axis: int = 0) -> Any:
    """The arrays one after the other along a new axis."""
    return xp.stack(arrays, axis=axis), (len(arrays), axis)


@stack.gradient
def stack_gradient(xp: Namespace, g: Array, count: int, axis: int) -> Any:
    before = (slice(None),) * (axis % g.ndim)
    return tuple(g[(*before, i, ...)] for i in range(count))
