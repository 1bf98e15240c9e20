"""The composite `attention` in NumPy, for tables of weights that are too large to be kept."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .base import Array, KernelTable, Namespace
from .numpy_kernels import softmax_in_place, visible
from .threads import for_blocks

KERNELS = KernelTable()

LARGE_TABLE = 2**16  # weights of a head: fewer are kept for the gradient


@KERNELS.forward
def attention(
    xp: Namespace,
    Q: Array,
    K: Array,
    V: Array,
    mask: Array | None = None,
    dropout: Any = None,
) -> Any:
    """Large tables of weights are not kept: those of a head are made in the cache, and made again
    for the gradient, which takes no longer than to write all of them to memory and to read them."""
    drops = dropout is not None and getattr(dropout, "training", True) and getattr(dropout, "p", 1)
    plain = mask is None or (mask.ndim == 2 and mask.dtype == np.bool_)
    fits = Q.ndim == 4 and Q.shape[:2] == K.shape[:2] == V.shape[:2]
    if drops or not plain or not fits or Q.shape[2] * K.shape[2] < LARGE_TABLE:
        return NotImplemented
    hidden = None
    if mask is not None:
        hidden = np.where(mask, Q.dtype.type(0), Q.dtype.type(-np.inf))
    heads = _Heads(Q, K, V, hidden, 1 / math.sqrt(Q.shape[3]))
    B, nh, T, _ = Q.shape
    y = np.empty((B, T, nh, V.shape[3]), V.dtype).transpose(0, 2, 1, 3)

    def work(b: int, h: int) -> None:
        np.matmul(heads.weights(b, h), V[b, h], out=y[b, h])

    heads.each(work)
    return y, (heads, visible(mask, T, K.shape[2]))


@KERNELS.gradient(attention)
def attention_gradient(xp: Namespace, g: Array, heads: "_Heads", blocks: Any) -> Any:
    dq, dk, dv = np.empty_like(heads.q), np.zeros_like(heads.k), np.empty_like(heads.v)

    def work(b: int, h: int) -> None:
        weights, k, v = heads.weights(b, h), heads.k[b, h], heads.v[b, h]
        np.matmul(weights.T, g[b, h], out=dv[b, h])
        for rows, seen in blocks:
            w = weights[rows, :seen]
            d = g[b, h, rows] @ v[:seen].T  # of the weights, then of the scores
            d -= np.vecdot(d, w)[:, None]
            d *= w
            d *= heads.scale
            np.matmul(d, k[:seen], out=dq[b, h, rows])
            dk[b, h, :seen] += d.T @ heads.q[b, h, rows]

    heads.each(work)
    return dq, dk, dv, None, None


class _Heads(NamedTuple):
    """Queries (B, nh, T, hs), keys (B, nh, S, hs), values (B, nh, S, hv), and a mask (T, S) of 0
    and -inf."""

    q: Array
    k: Array
    v: Array
    hidden: Array | None
    scale: float

    def weights(self, b: int, h: int) -> Array:
        """Those of one head, (T, S)."""
        w = (self.q[b, h] * self.scale) @ self.k[b, h].T
        softmax_in_place(w, self.hidden, hides=True)
        return w

    def each(self, work: Callable[[int, int], None]) -> None:
        """Call ``work(b, h)`` for all heads of all texts, several at a time."""
        B, nh, T, _ = self.q.shape

        def some(start: int, stop: int) -> None:
            for number in range(start, stop):
                work(*divmod(number, nh))

        for_blocks(some, B * nh, T * self.k.shape[2] * self.q.itemsize)
