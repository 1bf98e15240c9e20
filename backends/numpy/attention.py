"""The composite `fused_attention` in NumPy, one block of queries at a time.

The weights of a block are computed and multiplied by the values while they are in the cache. Keys
that the mask hides from all queries of a block are skipped, nearly half of them for a causal mask.
Weights are stored transposed, (S, T), because OpenBLAS computes k q^T faster than q k^T if there
are more keys than queries. Where there is a C compiler, all of it runs in C, in any thread.

Source: T. Dao et al., "FlashAttention" (2022): the order of computation, and delta computed from
the output and its gradient.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from . import blas, compiled
from .threads import parallel_blocks

KERNELS = KernelTable()

MAX_SAVED_WEIGHTS = 2**17  # T S per head; from this size on the gradient recomputes the weights
MIN_WEIGHTS = 2**12  # B nh T S; up to this size the op-by-op version is faster
MIN_BLOCK_QUERIES = 32  # smaller blocks lose more in calls than they gain by skipping masked keys
CHUNK_BYTES = 2**21  # weights per call of a worker, which computes them block by block
MAX_UNSHIFTED_SCORE = 20.0  # exp needs no shift for scores of at most this magnitude

Part = tuple[slice, slice]  # of the batch and of the heads


@KERNELS.forward
def fused_attention(
    xp: Namespace,
    Q: Array,
    K: Array,
    V: Array,
    mask: Array | None = None,
    *,
    p: float = 0.0,
    seed: Any = None,
) -> Any:
    """Q (B, nh, T, hs), K (B, nh, S, hs), V (B, nh, S, hv), mask (T, S) -> (B, nh, T, hv).

    Returns NotImplemented with dropout and for unsupported inputs, which then run op by op.
    """
    if p or not _is_supported(Q, K, V, mask):
        return NotImplemented
    B, nh, T, hs = Q.shape
    S, hv = V.shape[2:]
    blocks, scale = _blocks(mask, T, S, Q.dtype), 1 / math.sqrt(max(1, hs))
    saved: list[Array] | None = None
    if T * S < MAX_SAVED_WEIGHTS:
        saved = [np.empty((B, nh, b.key_end, b.length), Q.dtype) for b in blocks]
    # (B, nh, T, hv), in memory (B, T, nh, hv), so that merging the heads needs no copy
    y = np.empty((B, T, nh, hv), Q.dtype).transpose(0, 2, 1, 3)

    def work(part: Part) -> None:
        q, k, v, out = Q[part] * scale, K[part], V[part], y[part]
        for i, block in enumerate(blocks):
            w = _weights(q, k, block, saved[i][part] if saved else None)
            np.matmul(_transposed(w), v[:, :, : block.key_end], out=out[:, :, block.rows])

    if not _run_in_c("attention", (Q, K, V), (y,), scale, blocks, saved, parts=len(blocks)):
        _parallel_parts(work, Q, blocks)
    return y, (Q, K, V, y, scale, blocks, saved)


def _run_in_c(
    name: str,
    given: tuple[Array, ...],
    others: tuple[Array, ...],
    scale: float,
    blocks: Sequence["Block"],
    saved: list[Array] | None,
    parts: int = 1,
) -> bool:
    """Run a function of attention.c in any number of threads.

    Args:
        given: Q, K, V, and for the gradient g, dQ, dK, dV; with any strides.
        others: what follows Q, K and V, in the order and the layout that C expects.
        parts: into which each head is divided.

    Returns:
        False if C cannot read the arrays: NumPy then has to compute the same.
    """
    if not all(map(_is_stack_of_rows, given)) or any(b.key_end == 0 for b in blocks):
        return False
    q, k, v = given[:3]
    (B, nh, T, hs), (S, hv) = q.shape, v.shape[2:]
    sizes = _sizes((B, nh, T, S, hs, hv, len(blocks)), tuple([x.strides for x in given]))
    table = np.array([
        [compiled.address(b.bias), compiled.address(saved[i]) if saved else 0, b.rows.start,
         b.length, b.unmasked_end, b.key_end]
        for i, b in enumerate(blocks)
    ], np.int64)  # fmt: skip
    numbers = _numbers(parts * B * nh)
    addresses = map(compiled.address, (sizes, table, q, k, v, *others))
    return blas.run(name, *addresses, numbers, len(numbers), scale, block=1)


@functools.lru_cache(maxsize=64)
def _sizes(lengths: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> Array:
    """The `Sizes` of attention.c, from strides in bytes of arrays with four axes."""
    return np.array([*lengths, *(n // 4 for each in strides for n in each[:3])], np.int64)


@functools.lru_cache(maxsize=16)
def _numbers(count: int) -> Array:
    """0, 1, ..., in the only dtype of arrays that are divided among threads."""
    return np.arange(count, dtype=np.float32)


def _is_stack_of_rows(x: Array) -> bool:
    """Whether BLAS can read all matrices (T, hs) of a float32 array, one by one."""
    if x.dtype != compiled.FLOAT32 or not x.size or not x.flags.aligned:
        return False
    *_, row, column = x.strides
    return column == 4 and row >= 4 * x.shape[-1] and not any(s % 4 for s in x.strides)


@KERNELS.gradient(fused_attention)
def fused_attention_gradient(
    xp: Namespace,
    g: Array,
    Q: Array,
    K: Array,
    V: Array,
    y: Array,
    scale: float,
    blocks: Sequence["Block"],
    saved: list[Array] | None,
) -> Any:
    gradients = [np.empty(x.shape, x.dtype) for x in (Q, K, V)]
    write_gradients(gradients, g, Q, K, V, y, scale, blocks, saved)
    return *gradients, None


def write_gradients(
    gradients: Sequence[Array],
    g: Array,
    Q: Array,
    K: Array,
    V: Array,
    y: Array,
    scale: float,
    blocks: Sequence["Block"],
    saved: list[Array] | None,
) -> None:
    """dV = P^T dO, dQ = scale dS K, dK = scale dS^T Q, with dS = P (dO V^T - delta).

    P (T, S) are the weights, dO = g, and delta (T,) the row sums of dO times the output.

    Args:
        gradients: dQ, dK, dV, which are overwritten; they may be views.
    """
    dQ, dK, dV = gradients
    dK[...] = 0
    dV[...] = 0

    def work(part: Part) -> None:
        q, k, v, dq, dk, dv = (x[part] for x in (Q, K, V, dQ, dK, dV))
        dO, scaled_dO = g[part], g[part] * scale
        scaled_q: Any = None if saved else q * scale
        delta = np.vecdot(scaled_dO, y[part])[:, :, None]  # row sums, (b, nh, 1, T)
        for i, block in enumerate(blocks):
            rows, end = block.rows, block.key_end
            w = saved[i][part] if saved else _weights(scaled_q, k, block)  # (b, nh, end, n)
            dS = v[:, :, :end] @ _transposed(scaled_dO[:, :, rows])  # (b, nh, end, n)
            _multiply_by_weights(dS, w, delta[..., rows])
            np.matmul(_transposed(dS), k[:, :, :end], out=dq[:, :, rows])
            dk[:, :, :end] += dS @ q[:, :, rows]
            dv[:, :, :end] += w @ dO[:, :, rows]

    given, others = (Q, K, V, g, dQ, dK, dV), (y, g, dQ, dK, dV)
    if not _run_in_c("attention_gradient", given, others, scale, blocks, saved):
        _parallel_parts(work, Q, blocks)


class Block(NamedTuple):
    """Consecutive queries, and the part of the mask that applies to them.

    Attributes:
        rows: the queries.
        length: their number n.
        unmasked_end: keys before it are visible to all queries of the block.
        key_end: keys from this one on are hidden from all queries of the block.
        bias: 0 or -inf, added to the scores of the keys between, (key_end - unmasked_end, n).
    """

    rows: slice
    length: int
    unmasked_end: int
    key_end: int
    bias: Array


def _blocks(mask: Array | None, T: int, S: int, dtype: Any) -> tuple[Block, ...]:
    """Divide T queries into blocks, for S keys and a mask (T, S), True where visible."""
    visible = np.ones((T, S), bool) if mask is None else mask
    return _cached_blocks(np.packbits(visible).tobytes(), T, S, dtype)


@functools.lru_cache(maxsize=16)  # every layer of every step has the same mask
def _cached_blocks(bits: bytes, T: int, S: int, dtype: Any) -> tuple[Block, ...]:
    visible = np.unpackbits(np.frombuffer(bits, np.uint8), count=T * S).reshape(T, S).astype(bool)
    size, blocks = max(MIN_BLOCK_QUERIES, T // 4), []
    for start in range(0, T, size):
        part = visible[start : start + size]  # (n, S)
        by_some, not_by_all = np.flatnonzero(part.any(axis=0)), np.flatnonzero(~part.all(axis=0))
        key_end = int(by_some[-1]) + 1 if by_some.size else 0
        unmasked_end = min(key_end, int(not_by_all[0])) if not_by_all.size else key_end
        hidden = ~part[:, unmasked_end:key_end].T
        bias = np.zeros(hidden.shape, dtype)  # np.where would keep the order of the transpose
        bias[hidden] = -np.inf
        rows = slice(start, start + len(part))
        blocks.append(Block(rows, len(part), unmasked_end, key_end, bias))
    return tuple(blocks)


def _multiply_by_weights(dS: Array, w: Array, delta: Array) -> None:
    """Replace dS by w (dS - delta), scale times the gradient of the scores: (b, nh, end, n)."""
    if not _run_on_examples("attention_score_gradient", dS, w, np.ascontiguousarray(delta)):
        dS -= delta
        dS *= w


def _run_on_examples(
    name: str, *stacks: Array, bias: tuple[Array, ...] = (), unmasked: tuple[int, ...] = ()
) -> bool:
    """Run a C loop on the matrices (nh, S, n) of each example, which are contiguous.

    Args:
        stacks: (b, nh, ...); the first is (b, nh, S, n).
        bias: the mask, for a loop that needs it.
        unmasked: the number of keys before it.

    Returns:
        False if NumPy is to compute the same, which is so for all examples or for none.
    """
    heads, *shape = stacks[0].shape[1:]
    examples = zip(*stacks, strict=True)
    return all(
        compiled.run(name, *example, *bias, heads, *unmasked, *shape) for example in examples
    )


def _weights(q: Array, k: Array, block: Block, out: Array | None = None) -> Array:
    """Return the transposed attention weights of a block of queries, (b, nh, key_end, n).

    They are the softmax over the keys; zeros for a query that sees no key. Shifting the scores
    before exp does not change the softmax, so the shift is chosen for speed: none if all scores are
    small, else the maximum of all if no exponential can underflow (NumPy finds it ten times as
    fast), else the maximum of each query.

    Args:
        q: (b, nh, T, hs), scaled.
        k: (b, nh, S, hs).
        out: array to write the result to; by default a new one.
    """
    w: Array = np.matmul(k[:, :, : block.key_end], _transposed(q[:, :, block.rows]), out=out)
    if not w.size:
        return w
    if _run_on_examples("attention_softmax", w, bias=(block.bias,), unmasked=(block.unmasked_end,)):
        return w
    high, low = w.max(), w.min()
    masked = w[:, :, block.unmasked_end :]
    if not high - low <= 3 * MAX_UNSHIFTED_SCORE:  # a large range, infinity or NaN
        np.copyto(masked, -np.inf, where=block.bias < 0)  # hides infinity and NaN too
        largest = np.maximum.reduce(w, axis=-2, keepdims=True)
        np.copyto(largest, 0, where=largest == -np.inf)
        w -= largest
    else:
        masked += block.bias
        if max(high, -low) > MAX_UNSHIFTED_SCORE:
            w -= high
    np.exp(w, out=w)
    total = np.ones((1, block.key_end), w.dtype) @ w  # (b, nh, 1, n)
    if total.min() == 0:
        total[total == 0] = 1
    w *= np.divide(1, total, out=total)
    return w


def _transposed(x: Array) -> Array:
    return x.swapaxes(-1, -2)


def _is_supported(Q: Array, K: Array, V: Array, mask: Array | None) -> bool:
    """True if the kernel supports these inputs and is faster than op by op."""
    if not Q.ndim == K.ndim == V.ndim == 4:
        return False
    *lead, T, hs = Q.shape
    S = K.shape[2]
    result: bool = (
        (mask is None or (getattr(mask, "shape", None) == (T, S) and mask.dtype == np.bool_))
        and K.shape == (*lead, S, hs)
        and V.shape[:3] == (*lead, S)
        and lead[0] * lead[1] * T * S > MIN_WEIGHTS
    )
    return result


def _parallel_parts(work: Callable[[Part], None], Q: Array, blocks: Sequence[Block]) -> None:
    """Call ``work(part)`` in parallel over the batch or the heads, whichever is larger."""
    batch, heads, _, _ = Q.shape
    head_bytes = sum(b.key_end * b.length for b in blocks) * Q.itemsize

    def work_on_range(start: int, stop: int) -> None:
        part, all_ = slice(start, stop), slice(None)
        work((part, all_) if batch >= heads else (all_, part))

    parallel_blocks(work_on_range, max(batch, heads), head_bytes * min(batch, heads), CHUNK_BYTES)
