"""The composite `attention` on CUDA: one kernel forward and three backward, see attention.cu.

The table of weights never stands in memory, heads are read where the projection has left them, and
written where the next one reads them.
"""

import math
from typing import Any

import cupy
import numpy as np

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from . import gemm
from .graph import live
from .launch import MOST_BLOCKS, launch
from .layout import contiguous
from .seeds import seed_words

KERNELS = KernelTable()

LARGEST_HEAD = 128
QUERIES, ROWS_AT_ONCE = 64, 4  # of a block: attention.cu's ROWS and WARPS
SIDE = 32  # as there
BLOCK = (32, 4)


@KERNELS.forward
def attention(
    xp: Namespace,
    Q: Array,
    K: Array,
    V: Array,
    mask: Array | None = None,
    dropout: Any = None,
) -> Any:
    draw = getattr(dropout, "draw", None)  # a layer of somebody's own may have none
    if not _can(Q, K, V, mask) or (dropout is not None and draw is None):
        return NotImplemented
    p, seed = draw(live) if draw else (0.0, 0)
    if p == 1:  # no seed was drawn
        return NotImplemented
    B, nh, T, hs = Q.shape
    S = K.shape[2]
    words = seed_words(seed, B * nh * T * S if p else 0)
    scale = 1 / math.sqrt(hs)
    dropped = (*words, int(p * 2**32), 1 / (1 - p))
    views = tuple(map(_readable, (Q, K, V)))
    y = cupy.empty((B, T, nh, hs), Q.dtype)
    log_sums = cupy.empty((B, nh, T), Q.dtype)
    settings = (T, S, scale, *_squares(mask, hs), *dropped)
    given = [part for view in views for part in (view, *_strides(view))]
    _launch("attention", T, Q, *given, y, log_sums, *settings)
    return y.transpose(0, 2, 1, 3), (*views, y, log_sums, settings)


@KERNELS.gradient(attention)
def attention_gradient(
    xp: Namespace,
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    y: Array,
    log_sums: Array,
    settings: tuple[Any, ...],
) -> Any:
    B, nh, T, hs = q.shape
    S, g = k.shape[2], _readable(g)
    along = cupy.empty_like(log_sums)
    blocks = -(-T // ROWS_AT_ONCE), nh, B
    launch("attention_along", q.dtype, blocks, BLOCK, g, *_strides(g), y, along, T, head=hs)
    given = [part for view in (q, k, v, g) for part in (view, *_strides(view))]
    if T == S:  # side by side, as one projection made them
        d_q = d_kv = cupy.empty((B, T, 3, nh, hs), q.dtype)
        places = 0, 1, 2
    else:
        d_q, d_kv = (cupy.empty((B, n, m, nh, hs), q.dtype) for n, m in ((T, 1), (S, 2)))
        places = 0, 0, 1
    at = [place * nh * hs for place in places]
    steps = [d.shape[2] * nh * hs for d in (d_q, d_kv)]
    _launch("attention_gradient_of_queries", T, q, *given, log_sums, along, d_q, steps[0], at[0],
            *settings)  # fmt: skip
    _launch("attention_gradient_of_keys", S, q, *given, log_sums, along, d_kv, steps[1], *at[1:],
            *settings)  # fmt: skip
    parts = zip((d_q, d_kv, d_kv), places, strict=True)
    return (*(d[:, :, place].transpose(0, 2, 1, 3) for d, place in parts), None, None)


def _can(Q: Array, K: Array, V: Array, mask: Array | None) -> bool:
    """Whether the kernels take these: float32 heads of one size, products that may be rounded, and
    a mask (T, S) of booleans, or none."""
    if Q.ndim != 4 or K.ndim != 4 or K.shape != V.shape or 0 in (*Q.shape, *K.shape):
        return False
    B, nh, T, hs = Q.shape
    shapes_fit = K.shape[:2] == (B, nh) and K.shape[3] == hs and max(B, nh) <= MOST_BLOCKS
    mask_fits = mask is None or (mask.dtype == cupy.bool_ and mask.shape == (T, K.shape[2]))
    return (
        shapes_fit
        and mask_fits
        and hs % 16 == 0
        and hs <= LARGEST_HEAD
        and Q.shape[2] <= SIDE * MOST_BLOCKS
        and all(x.dtype == np.float32 for x in (Q, K, V))
        and gemm.matmul_mode() != "fp32"
    )


def _squares(mask: Array | None, head: int) -> tuple[Array | None, Array | None]:
    """A mask (T, S), and for each square of it whether some or all of it is seen."""
    if mask is None:
        return None, None
    mask = contiguous(mask)
    rows, columns = (-(-n // SIDE) for n in mask.shape)
    squares = cupy.empty((rows, columns), cupy.uint32)
    grid = (columns, rows)
    launch("attention_squares", np.dtype("f4"), grid, BLOCK, mask, squares, *mask.shape, head=head)
    return mask, squares


def _readable(x: Array) -> Array:
    """x (B, nh, T, hs), copied if its rows cannot be read sixteen bytes at a time."""
    *strides, last = x.strides
    is_fine = last == x.itemsize and not any(n % 16 for n in (x.data.ptr, *strides))
    return x if is_fine else cupy.ascontiguousarray(x)


def _strides(x: Array) -> tuple[int, ...]:
    """Between batches, heads and tokens, in elements."""
    return tuple(stride // x.itemsize for stride in x.strides[:3])


def _launch(name: str, rows: int, like: Array, *arguments: Any) -> None:
    """A kernel with a block for each tile of `rows` rows of each head of `like`."""
    B, nh, _, hs = like.shape
    launch(name, like.dtype, (-(-rows // QUERIES), nh, B), BLOCK, *arguments, head=hs)
