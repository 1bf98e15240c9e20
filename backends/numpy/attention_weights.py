"""Masked softmax of attention scores in NumPy; the fused composite is in attention.py."""

from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from .rows import as_stack, common_maximum, constant_column
from .threads import parallel_blocks

KERNELS = KernelTable()

LOWEST = {dtype: float(np.finfo(dtype).min) for dtype in "fd"}  # type code -> finite minimum


@KERNELS.forward
def attention_weights(
    xp: Namespace, q: Array, k: Array, mask: Array | None = None, *, scale: float
) -> Any:
    """softmax(scale q k^T + mask): q (..., T, hs), k (..., S, hs), mask (..., T, S) -> (..., T, S).

    A boolean mask is True where a key is visible; a floating one is added to the scores.
    """
    keys = k.swapaxes(-1, -2)  # (..., hs, S)
    lead = q.shape[:-2]
    if mask is None and q.shape[-2] == 1 and k.size:  # one query: not worth dividing into blocks
        weights = np.matmul(q, keys)  # (..., 1, S)
        weights *= scale
        # A row of -inf has the lowest finite number as its maximum, and the sum 0.
        lowest = LOWEST[weights.dtype.char]
        weights -= np.maximum.reduce(weights, axis=-1, keepdims=True, initial=lowest)
        np.exp(weights, out=weights)
        total = weights @ constant_column(k.shape[-2], 1.0, weights.dtype)
        weights /= np.maximum(total, 1, out=total)
        return weights, (q, k, weights, scale)
    if k.shape[:-2] != lead or (mask is not None and mask.ndim > 2):
        lead = np.broadcast_shapes(lead, k.shape[:-2], () if mask is None else mask.shape[:-2])
    weights = np.empty((*lead, q.shape[-2], k.shape[-2]), q.dtype)  # (..., T, S)
    only_hides = mask is None or mask.dtype == np.bool_
    if mask is not None and only_hides:
        mask = np.where(mask, weights.dtype.type(0), weights.dtype.type(-np.inf))
    w, q_stack, k_stack = (_stacked(a, lead) for a in (weights, q, keys))
    m_stack = None if mask is None or mask.ndim <= 2 else _stacked(mask, lead)

    def work(i: int, j: int) -> None:
        np.matmul(q_stack[i:j] * scale, k_stack[i:j], out=w[i:j])
        _softmax_in_place(w[i:j], mask if m_stack is None else m_stack[i:j], only_hides)

    parallel_blocks(work, len(w), w[:1].nbytes)
    return weights, (q, k, weights, scale)


def _stacked(x: Array, lead: tuple[int, ...]) -> Array:
    """Broadcast x (..., M, N) to (*lead, M, N), with at least one leading axis to slice."""
    shape = (*(lead or (1,)), *x.shape[-2:])
    if x.shape == shape:
        return x
    return x[None] if not lead else np.broadcast_to(x, shape)


def _softmax_in_place(x: Array, mask: Array | None, only_hides: bool) -> None:
    """Replace x by the softmax of x + mask over the last axis; rows of only -inf become zeros.

    `only_hides`: the mask contains only 0 and -inf, so x bounds x + mask from above.
    """
    if x.size == 0:
        return
    if only_hides and (high := common_maximum(x)) is not None:
        x += -high if mask is None else mask - high
    else:
        if mask is not None and only_hides:
            np.copyto(x, -np.inf, where=mask < 0)  # hides infinity and NaN too
        elif mask is not None:
            x += mask
        largest = np.maximum.reduce(x, axis=-1, keepdims=True)
        np.copyto(largest, 0, where=largest == -np.inf)
        x -= largest
    np.exp(x, out=x)
    total = x @ constant_column(x.shape[-1], 1.0, x.dtype)
    np.copyto(total, 1, where=total == 0)
    x *= np.divide(1, total, out=total)


@KERNELS.gradient(attention_weights)
def attention_weights_gradient(
    xp: Namespace, g: Array, q: Array, k: Array, weights: Array, scale: float
) -> Any:
    """dq = scale dS k, dk = scale dS^T q, dmask = dS, with dS = w (g - sum(g w)) (..., T, S)."""

    def score_gradient(g: Array, weights: Array) -> Array:
        d: Array = g - np.vecdot(g, weights)[..., None]
        d *= weights
        return d

    if not q.shape[:-2] == k.shape[:-2] == weights.shape[:-2] or not weights.size:
        d = score_gradient(g, weights)  # autograd sums over the axes that q or k was broadcast to
        return d @ k * scale, np.swapaxes(d, -1, -2) @ q * scale, d
    # (..., M, N) -> (stack, M, N)
    w, gradient, queries, keys = map(as_stack, (weights, g, q, k))
    dq, dk = np.empty(queries.shape, q.dtype), np.empty(keys.shape, k.dtype)

    def work(i: int, j: int) -> None:  # a block's score gradient stays in the cache
        d = score_gradient(gradient[i:j], w[i:j])
        d *= scale
        np.matmul(d, keys[i:j], out=dq[i:j])
        np.matmul(np.swapaxes(d, -1, -2), queries[i:j], out=dk[i:j])

    parallel_blocks(work, len(w), w[:1].nbytes)
    return dq.reshape(q.shape), dk.reshape(k.shape), lambda: score_gradient(g, weights)
