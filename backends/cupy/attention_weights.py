"""Masked softmax of attention scores on CUDA; the kernels are in attention_weights.cu."""

from typing import Any

import cupy
import numpy as np

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .gemm import gemm
from .launch import launch_rows
from .layout import contiguous

KERNELS = KernelTable()


@KERNELS.forward
def attention_weights(
    xp: Namespace, q: Array, k: Array, mask: Array | None = None, *, scale: float
) -> Any:
    """softmax(scale q k^T + mask): q (..., T, hs), k (..., S, hs), mask (..., T, S) -> (..., T, S).

    A boolean mask is True where a key is visible; a floating one is added to the scores.
    """
    scores = gemm(q, k.swapaxes(-1, -2), scale)  # (..., T, S)
    weights = softmax_in_place(scores, mask)
    return weights, (q, k, weights, scale)


@KERNELS.gradient(attention_weights)
def attention_weights_gradient(
    xp: Namespace, g: Array, q: Array, k: Array, weights: Array, scale: float
) -> Any:
    d, size = cupy.empty_like(weights), weights.shape[-1]
    rows = d.size // max(1, size)
    launch_rows("softmax_gradient", d, rows, contiguous(g), weights, d, rows, size)
    return (
        lambda: gemm(d, k, scale),
        lambda: gemm(d.swapaxes(-1, -2), q, scale),
        lambda: d,
    )


def softmax_in_place(scores: Array, mask: Array | None) -> Array:
    """Overwrite scores (..., T, S) with their softmax over the last axis under a mask, and return
    them; a new array if the mask has more axes than the scores."""
    if mask is None:
        rows = scores.size // max(1, scores.shape[-1])
        launch_rows("softmax", scores, rows, scores, scores, rows, scores.shape[-1])
        return scores
    if mask.ndim > 2 or mask.shape != scores.shape[-2:]:  # otherwise the kernel repeats its rows
        shape = np.broadcast_shapes(mask.shape, scores.shape)
        mask, scores = cupy.broadcast_to(mask, shape), contiguous(cupy.broadcast_to(scores, shape))
    size = scores.shape[-1]
    rows, mask_rows = (a.size // max(1, size) for a in (scores, mask))
    is_boolean = mask.dtype == cupy.bool_
    mask = contiguous(mask if is_boolean else mask.astype(scores.dtype, copy=False))
    name = "softmax_bool_mask" if is_boolean else "softmax_additive_mask"
    launch_rows(name, scores, rows, scores, scores, rows, size, mask, mask_rows)
    return scores
