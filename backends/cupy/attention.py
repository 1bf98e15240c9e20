"""`fused_attention` on CUDA: one kernel forward and three backward, see attention.cu.

The matrix of weights is never stored. Heads are read as views of the projection's output, and
written in the layout that the next projection reads.
"""

import math
from typing import Any, NamedTuple

import cupy
import numpy as np

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from . import gemm
from .cuda_source import BFLOAT16
from .launch import MAX_GRID_YZ, launch
from .layout import contiguous, with_strides
from .seeds import seed_arguments

KERNELS = KernelTable()

MAX_HEAD_DIM = 128
BLOCK_M, WARPS, MASK_TILE = 64, 4, 32  # as in attention.cu
BLOCK = (32, WARPS)  # threads


class _Unit(NamedTuple):
    """A translation unit, see `cuda_source.source`."""

    dtype: Any
    head_dim: int
    precision: str


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
    """Q (B, nh, T, hs), K and V (B, nh, S, hs), mask (T, S), True where visible -> (B, nh, T, hs).

    Saves the inputs, the output as (B, T, nh, hs), and the logsumexp of each row of scores in base
    2 (B, nh, T). Returns NotImplemented for arguments that the kernels do not support.
    """
    if p == 1 or not _is_supported(Q, K, V, mask):
        return NotImplemented
    y, saved = attend(Q, K, V, mask, p, seed, gemm.precision())
    return y.transpose(0, 2, 1, 3), saved  # (B, nh, T, hs)


@KERNELS.gradient(fused_attention)
def fused_attention_gradient(xp: Namespace, g: Array, *saved: Any) -> Any:
    dq, dkv, parts = attention_gradients(g, *saved)
    gradients = zip((dq, dkv, dkv), parts, strict=True)
    return (*(d[:, :, part].transpose(0, 2, 1, 3) for d, part in gradients), None)


def attend(
    Q: Array, K: Array, V: Array, mask: Array | None, p: float, seed: Any, precision: str
) -> tuple[Array, tuple[Any, ...]]:
    """The output (B, T, nh, hs), and the values that `attention_gradients` needs.

    Args:
        Q, K, V, mask, p, seed: as for `fused_attention`, supported by the kernels; Q, K, V and the
            output are float32 or bfloat16 (`gemm.BFLOAT16`).
        precision: of the factors of products: "tf32", or "bf16", which bfloat16 needs.
    """
    B, nh, T, hs = Q.shape
    S = K.shape[2]
    key = seed_arguments(seed, (B, nh, T, S)) if p else (None, 0, 0)
    scale = 1 / math.sqrt(hs)
    dropout = (*key, int(p * 2**32), 1 / (1 - p))
    views = tuple(map(_aligned, (Q, K, V)))
    y = cupy.empty((B, T, nh, hs), Q.dtype)
    lse = cupy.empty((B, nh, T), cupy.float32)
    unit = _Unit(BFLOAT16 if Q.dtype == gemm.BFLOAT16 else Q.dtype, hs, precision)
    settings = (T, S, scale, *_mask_tiles(mask, unit), *dropout)
    qkv = [argument for view in views for argument in with_strides(view)]
    _launch_tiles("attention", T, Q, unit, *qkv, y, lse, *settings)
    return y, (*views, y, lse, settings, unit)


def attention_gradients(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    y: Array,
    lse: Array,
    settings: tuple[Any, ...],
    unit: "_Unit",
) -> tuple[Array, Array, tuple[int, int, int]]:
    """The array with the gradient of q, the one with those of k and v, (B, tokens, parts, nh, hs)
    each, and which part is which. If T == S they are one, the gradient of the qkv projection.

    Args:
        g: gradient of the output (B, nh, T, hs), in its dtype.
    """
    B, nh, T, hs = q.shape
    S, dO = k.shape[2], _aligned(g)
    delta = cupy.empty_like(lse)
    _launch("attention_delta", (-(-T // WARPS), nh, B), unit, *with_strides(dO), y, delta, T)
    if T == S:
        dq = dkv = cupy.empty((B, T, 3, nh, hs), q.dtype)
        parts = 0, 1, 2
    else:
        dq, dkv = (cupy.empty((B, n, m, nh, hs), q.dtype) for n, m in ((T, 1), (S, 2)))
        parts = 0, 0, 1
    q_at, k_at, v_at = (part * nh * hs for part in parts)
    q_stride, kv_stride = (d.shape[2] * nh * hs for d in (dq, dkv))  # between tokens
    given = [argument for view in (q, k, v, dO) for argument in with_strides(view)]
    given += [lse, delta]
    _launch_tiles("attention_gradient_q", T, q, unit, *given, dq, q_stride, q_at, *settings)
    into = dkv, kv_stride, k_at, v_at
    _launch_tiles("attention_gradient_kv", S, q, unit, *given, *into, *settings)
    return dq, dkv, parts


def _is_supported(Q: Array, K: Array, V: Array, mask: Array | None) -> bool:
    """True if the kernels support the arguments: float32 heads of one size, products in tf32
    or bf16, and no mask or a boolean one of shape (T, S)."""
    if Q.ndim != 4 or K.ndim != 4 or K.shape != V.shape or 0 in (*Q.shape, *K.shape):
        return False
    B, nh, T, hs = Q.shape
    return (
        K.shape[:2] == (B, nh)
        and K.shape[3] == hs
        and are_heads_supported(B, nh, T, K.shape[2], hs, mask)
        and all(x.dtype == np.float32 for x in (Q, K, V))
        and gemm.precision() in ("tf32", "bf16")
    )


def are_heads_supported(B: int, nh: int, T: int, S: int, hs: int, mask: Array | None) -> bool:
    """True if the kernels support these sizes, and no mask or a boolean one of shape (T, S)."""
    mask_fits = mask is None or (
        getattr(mask, "shape", None) == (T, S) and mask.dtype == cupy.bool_
    )
    return (
        mask_fits
        and max(B, nh) <= MAX_GRID_YZ
        and hs % 16 == 0
        and 0 < hs <= MAX_HEAD_DIM
        and T <= MASK_TILE * MAX_GRID_YZ
    )


def _mask_tiles(mask: Array | None, unit: _Unit) -> tuple[Array | None, Array | None]:
    """A contiguous mask (T, S), and flags of each of its tiles: whether some or all is visible."""
    if mask is None:
        return None, None
    mask = contiguous(mask)
    rows, columns = (-(-n // MASK_TILE) for n in mask.shape)
    tiles = cupy.empty((rows, columns), cupy.uint32)
    _launch("attention_mask_tiles", (columns, rows), unit, mask, tiles, *mask.shape)
    return mask, tiles


def _aligned(x: Array) -> Array:
    """x (B, nh, T, hs), copied unless its rows can be loaded 16 bytes at a time."""
    *strides, last = x.strides
    is_aligned = last == x.itemsize and not any(n % 16 for n in (x.data.ptr, *strides))
    return x if is_aligned else cupy.ascontiguousarray(x)


def _launch_tiles(name: str, rows: int, like: Array, unit: _Unit, *arguments: Any) -> None:
    """Launch a kernel with one block for each head and each tile of BLOCK_M of its `rows` rows.

    Args:
        like: (B, nh, ..., hs).
    """
    B, nh = like.shape[:2]
    _launch(name, (-(-rows // BLOCK_M), nh, B), unit, *arguments)


def _launch(name: str, grid: tuple[int, ...], unit: _Unit, *arguments: Any) -> None:
    size, precision = unit.head_dim, unit.precision
    launch(name, unit.dtype, grid, BLOCK, *arguments, head_dim=size, precision=precision)
