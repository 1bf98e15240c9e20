"""Validation of attention masks."""

from typing import Any

import numpy as np

from ..arguments import warn
from ..backends.base import NumpyArray
from ..ops.promotion import is_floating
from ..tensor import Tensor


def check_mask(q: Tensor, k: Tensor, mask: Any) -> None:
    """Check the dtype and shape of a mask for queries q (..., T, hs) and keys k (..., S, hs).

    Raises:
        TypeError: the mask is neither boolean nor floating.
        ValueError: its last two axes do not broadcast to (T, S), or the others to those of q and k.

    Warns:
        UserWarning: a floating mask on the host holds only 0 and 1. Masks on a device are not read,
            since the host would have to wait for them.
    """
    T, S = q.shape[-2], k.shape[-2]
    array = mask._array if isinstance(mask, Tensor) else np.asarray(mask)
    shape, is_boolean = tuple(array.shape), str(array.dtype).endswith("bool")
    if is_boolean and shape == (T, S):
        return
    if not is_boolean and not (array.dtype != object and is_floating(array.dtype)):
        raise TypeError(
            "an attention mask must be a boolean tensor, True where a key is visible, or a floating"
            f" one that is added to the scores, got {array.dtype};"
            ' convert 0 and 1 with mask.to("bool") or mask == 1'
        )
    try:
        fits = len(shape) == 0 or np.broadcast_shapes(shape[-2:], (T, S)) == (T, S)
        np.broadcast_shapes(q.shape[:-2], k.shape[:-2], shape[:-2])
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"an attention mask of shape {shape} does not broadcast to the weights"
            f" (..., T, S) of queries {tuple(q.shape)} and keys {tuple(k.shape)}"
        )
    if not is_boolean and isinstance(array, np.ndarray) and _holds_only_0_and_1(array):
        warn(
            "a floating attention mask of only 0 and 1 is added to the scores and hides nothing;"
            " pass a boolean mask, True where a key is visible: mask == 1"
        )


def _holds_only_0_and_1(x: NumpyArray) -> bool:
    """True if both occur and nothing else; a usual floating mask has no positive element."""
    if not x.size or x.max() != 1 or x.min() != 0:
        return False
    return bool(((x == 0) | (x == 1)).all())
