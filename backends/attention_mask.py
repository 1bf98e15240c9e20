"""Validation of attention masks, shared by the kernels and the reference of attention."""

import warnings

import numpy as np

from .base import Array, Namespace, NumpyArray


def check_mask(xp: Namespace, q: Array, k: Array, mask: Array) -> None:
    """Check the dtype and shape of a mask for queries q (..., T, hs) and keys k (..., S, hs).

    Raises:
        TypeError: the mask is neither boolean nor floating.
        ValueError: its last two axes do not broadcast to (T, S), or the others to those of q and k.

    Warns:
        UserWarning: a floating mask on the host holds only 0 and 1. Masks on a device are not read,
            since the host would have to wait for them.
    """
    T, S = q.shape[-2], k.shape[-2]
    dtype, shape = getattr(mask, "dtype", None), getattr(mask, "shape", ())
    if shape == (T, S) and dtype == xp.bool:
        return
    if dtype is None or not xp.isdtype(dtype, ("bool", "real floating")):
        raise TypeError(
            "an attention mask must be a boolean tensor, True where a key is visible, or a floating"
            f" one that is added to the scores, got {dtype or type(mask).__name__};"
            ' convert 0 and 1 with mask.to("bool") or mask == 1'
        )
    try:
        fits = len(shape) == 0 or np.broadcast_shapes(shape[-2:], (T, S)) == (T, S)
        np.broadcast_shapes(q.shape[:-2], k.shape[:-2], shape[:-2])
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"an attention mask of shape {tuple(shape)} does not broadcast to the weights"
            f" (..., T, S) of queries {tuple(q.shape)} and keys {tuple(k.shape)}"
        )
    if isinstance(mask, np.ndarray) and dtype != np.bool_ and _holds_only_0_and_1(mask):
        warnings.warn(
            "a floating attention mask of only 0 and 1 is added to the scores and hides nothing;"
            " pass a boolean mask, True where a key is visible: mask == 1",
            stacklevel=2,
        )


def _holds_only_0_and_1(x: NumpyArray) -> bool:
    """True if both occur and nothing else; a usual floating mask has no positive element."""
    if not x.size or x.max() != 1 or x.min() != 0:
        return False
    return bool(((x == 0) | (x == 1)).all())
