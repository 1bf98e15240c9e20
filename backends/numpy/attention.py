"""The composite `attention` in NumPy, a block of queries at a time.

The weights of a block are made in the cache and multiplied there, before those of the next. Keys
that a mask hides from all queries of a block are left out: a causal mask hides nearly half of
them. A table of weights has a row for each key, (S, T), since OpenBLAS multiplies k q^T faster than
q k^T where there are more keys than queries.

Source: T. Dao et al., "FlashAttention" (2022), on the order of the work, and on the sums that the
gradient needs of its rows, which are those of the output times its gradient.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from .threads import parallel_blocks

KERNELS = KernelTable()

LARGE_TABLE = 2**17  # weights of a head; larger ones are made again for the gradient, not kept
SMALL_WORK = 2**12  # weights in all; with so few the plainest calls are the fastest
SMALLEST_BLOCK = 32  # queries; with fewer the calls take longer than what they spare
AT_ONCE = 2**21  # bytes of weights, a few blocks of which are in the cache one after the other
LARGEST_SCORE = 20.0  # up to which, and down to minus which, exp needs no shift

Part = tuple[slice, slice]  # of the texts and of the heads


@KERNELS.forward
def attention(
    xp: Namespace,
    Q: Array,
    K: Array,
    V: Array,
    mask: Array | None = None,
    dropout: Any = None,
) -> Any:
    if _drops(dropout) or not _fit(Q, K, V, mask):
        return NotImplemented
    B, nh, T, hs = Q.shape
    S, hv = V.shape[2:]
    blocks, scale = _blocks(mask, T, S, Q.dtype), 1 / math.sqrt(hs)
    kept: list[Array] | None = None
    if T * S < LARGE_TABLE:
        kept = [np.empty((B, nh, b.seen, b.length), Q.dtype) for b in blocks]
    y = np.empty((B, T, nh, hv), Q.dtype).transpose(0, 2, 1, 3)  # (B, nh, T, hv), to be merged

    def work(part: Part) -> None:
        q, k, v, out = Q[part] * scale, K[part], V[part], y[part]
        for number, block in enumerate(blocks):
            w = _weights(q, k, block, kept[number][part] if kept else None)
            np.matmul(_turned(w), v[:, :, : block.seen], out=out[:, :, block.rows])

    _for_parts(work, Q, blocks)
    return y, (Q, K, V, y, scale, blocks, kept)


@KERNELS.gradient(attention)
def attention_gradient(
    xp: Namespace,
    g: Array,
    Q: Array,
    K: Array,
    V: Array,
    y: Array,
    scale: float,
    blocks: Sequence["Block"],
    kept: list[Array] | None,
) -> Any:
    dQ, dK, dV = np.empty(Q.shape, Q.dtype), np.zeros(K.shape, K.dtype), np.zeros(V.shape, V.dtype)

    def work(part: Part) -> None:
        q, k, v, dq, dk, dv = (x[part] for x in (Q, K, V, dQ, dK, dV))
        gradient, steep = g[part], g[part] * scale
        scaled: Any = None if kept else q * scale
        along = np.vecdot(steep, y[part])[:, :, None]  # (B, nh, 1, T)
        for number, block in enumerate(blocks):
            rows, seen = block.rows, block.seen
            w = kept[number][part] if kept else _weights(scaled, k, block)  # (B, nh, seen, n)
            d = v[:, :, :seen] @ _turned(steep[:, :, rows])  # of the scores, (B, nh, seen, n)
            d -= along[..., rows]
            d *= w
            np.matmul(_turned(d), k[:, :, :seen], out=dq[:, :, rows])
            dk[:, :, :seen] += d @ q[:, :, rows]
            dv[:, :, :seen] += w @ gradient[:, :, rows]

    _for_parts(work, Q, blocks)
    return dQ, dK, dV, None, None


class Block(NamedTuple):
    """Neighbouring queries; all of them see the keys before `free`, none those from `seen` on."""

    rows: slice
    length: int
    free: int
    seen: int
    hidden: Array  # what hides keys in between: 0 or -inf, (seen - free, length)


def _blocks(mask: Array | None, T: int, S: int, dtype: Any) -> tuple[Block, ...]:
    """The blocks of T queries and S keys under a mask (T, S)."""
    sees = np.broadcast_to(True if mask is None else mask, (T, S))
    return _blocks_of(np.packbits(sees).tobytes(), T, S, dtype)


@functools.lru_cache(maxsize=16)  # every layer of every step asks for the same
def _blocks_of(bits: bytes, T: int, S: int, dtype: Any) -> tuple[Block, ...]:
    sees = np.unpackbits(np.frombuffer(bits, np.uint8), count=T * S).reshape(T, S).astype(bool)
    size, blocks = max(SMALLEST_BLOCK, T // 4), []
    for start in range(0, T, size):
        part = sees[start : start + size]
        some, not_all = np.flatnonzero(part.any(axis=0)), np.flatnonzero(~part.all(axis=0))
        seen = int(some[-1]) + 1 if some.size else 0
        free = min(seen, int(not_all[0])) if not_all.size else seen
        hidden = np.where(part[:, free:seen].T, dtype.type(0), dtype.type(-np.inf))
        blocks.append(Block(slice(start, start + len(part)), len(part), free, seen, hidden))
    return tuple(blocks)


def _weights(q: Array, k: Array, block: Block, out: Array | None = None) -> Array:
    """The softmax over the keys (..., S, hs) for a block of the queries (..., T, hs), turned:
    (..., seen, length); zeros for a query that sees nothing.

    What is subtracted from the scores before exp does not change it: nothing where all scores are
    small, else the largest of all where no exponential can vanish (NumPy finds that ten times as
    fast), else the largest of each query.
    """
    w: Array = np.matmul(k[:, :, : block.seen], _turned(q[:, :, block.rows]), out=out)
    if not w.size:
        return w
    high, low = w.max(), w.min()
    if block.hidden.size:
        w[:, :, block.free :] += block.hidden
    if high - low > 3 * LARGEST_SCORE:
        largest = np.maximum.reduce(w, axis=-2, keepdims=True)
        np.copyto(largest, 0, where=largest == -np.inf)
        w -= largest
    elif max(high, -low) > LARGEST_SCORE:
        w -= high
    np.exp(w, out=w)
    total = np.ones((1, block.seen), w.dtype) @ w  # (..., 1, length)
    if total.min() == 0:
        total[total == 0] = 1
    w *= np.divide(1, total, out=total)
    return w


def _turned(x: Array) -> Array:
    return x.swapaxes(-1, -2)


def _drops(dropout: Any) -> bool:
    """Whether a dropout layer, of whatever class, may change the weights."""
    return bool(
        dropout is not None and getattr(dropout, "training", True) and getattr(dropout, "p", 1)
    )


def _fit(Q: Array, K: Array, V: Array, mask: Array | None) -> bool:
    """Whether this is a case that is computed here, and worth the while."""
    if not Q.ndim == K.ndim == V.ndim == 4:
        return False
    *lead, T, hs = Q.shape
    S = K.shape[2]
    result: bool = (
        (mask is None or (mask.shape == (T, S) and mask.dtype == np.bool_))
        and K.shape == (*lead, S, hs)
        and V.shape[:3] == (*lead, S)
        and Q.dtype == K.dtype == V.dtype
        and Q.itemsize >= 4
        and lead[0] * lead[1] * T * S > SMALL_WORK
    )
    return result


def _for_parts(work: Callable[[Part], None], Q: Array, blocks: Sequence[Block]) -> None:
    """Call ``work(part)`` for all texts and heads, those of which there are more being divided."""
    texts, heads, _, _ = Q.shape
    head_bytes = sum(b.seen * b.length for b in blocks) * Q.itemsize

    def some(start: int, stop: int) -> None:
        part, whole = slice(start, stop), slice(None)
        work((part, whole) if texts >= heads else (whole, part))

    parallel_blocks(some, max(texts, heads), head_bytes * min(texts, heads), AT_ONCE)
