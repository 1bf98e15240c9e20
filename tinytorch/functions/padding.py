"""Padding of tensors, as torch.nn.functional.pad."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..arguments import ShapeError, check_integer, shown
from ..ops.movement import concat, getitem
from ..ops.operators import constant

if TYPE_CHECKING:
    from ..tensor import Tensor

_PAD_MODES = ("constant", "reflect", "replicate", "circular")


def pad(
    input: "Tensor", pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> "Tensor":
    """x with elements added before and after its last axes, or removed for negative numbers.

    Args:
        input: x.
        pad: (before, after) of the last axis, then of the one before it, and so on.
        mode: "constant", or copies of x: "reflect" without the edge, "replicate" of the edge,
            or "circular".
        value: of the added elements, by default 0.
    """
    if mode not in _PAD_MODES:
        raise ValueError(f"pad: mode must be one of {_PAD_MODES}, not {shown(mode)}")
    widths = [check_integer("pad: each width", width, -math.inf) for width in pad]  # type: ignore[arg-type]
    if len(widths) % 2 or len(widths) > 2 * input.ndim:
        raise ShapeError(
            f"pad needs two widths for each of the last axes, got {len(widths)} for shape"
            f" {input.shape}"
        )
    pairs = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)]
    for axis, (before, after) in zip(range(input.ndim - 1, -1, -1), pairs, strict=False):
        if before or after:
            input = _pad_axis(input, axis, before, after, mode, value or 0)
    return input if any(widths) else input.clone()


def _pad_axis(x: "Tensor", axis: int, before: int, after: int, mode: str, value: float) -> "Tensor":
    """Pad one axis: with blocks of a constant, or by a lookup of its elements."""
    size, leading = x.shape[axis], (slice(None),) * axis
    if size + before + after < 0:
        raise ShapeError(f"pad cannot remove {-before - after} of {size} elements of axis {axis}")
    if mode == "constant":
        inner = x[(*leading, slice(max(0, -before), size - max(0, -after)))]
        blocks = [_block(x, axis, width, value) for width in (max(0, before), max(0, after))]
        return concat(blocks[0], inner, blocks[1], axis=axis)
    places = np.arange(-before, size + after)
    if mode == "reflect":
        if max(before, after) >= size:
            raise ShapeError(f"pad: reflect adds fewer elements than axis {axis} has, {size}")
        places = size - 1 - np.abs(size - 1 - np.abs(places))
    elif size == 0 or (mode == "circular" and max(before, after) > size):
        raise ShapeError(f"pad: {mode} cannot add {(before, after)} elements to {size}")
    places = places % size if mode == "circular" else np.clip(places, 0, size - 1)
    return getitem(x, key=(*leading, x._backend.asarray(places)))


def _block(x: "Tensor", axis: int, width: int, value: float) -> "Tensor":
    """`width` elements along `axis`, all `value`, to join with x."""
    shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
    return constant(x, x._backend.xp.full(shape, value, dtype=x.dtype))
