"""Elements chosen by their order, as by a sort or a maximum."""

from typing import Any

from ..backends.arrays import Array, Namespace, Shape
from .op import op


@op
def pick(xp: Namespace, x: Array, indices: Array, *, axis: int) -> Any:
    """The elements of x at `indices` along `axis`, where no element is chosen twice.

    Args:
        x: (..., N, ...).
        indices: int64 (..., K, ...), each in [0, N).
        axis: the axis of N and K; the other axes are equal.
    """
    return xp.take_along_axis(x, indices, axis=axis), (indices, x.shape, axis)


@pick.gradient
def pick_gradient(xp: Namespace, g: Array, indices: Array, shape: Shape, axis: int) -> Any:
    zeros = xp.zeros(shape, dtype=g.dtype)
    return xp.put_along_axis(zeros, indices, g, axis), None


def order(xp: Namespace, x: Array, axis: int, descending: bool = False) -> Array:
    """Indices that sort x along `axis`; equal elements keep their order, NaN is the largest."""
    if x.dtype == xp.bool:
        x = xp.astype(x, xp.uint8)
    return xp.argsort(x, axis=axis, descending=descending)
