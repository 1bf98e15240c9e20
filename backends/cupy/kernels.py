"""The ops of a training step on CUDA: each a kernel of `cuda/` or a product of cuBLAS.

They keep the signatures of the ops whose names they bear. Nothing here waits for the device: ids
that are out of range are noted on it (`cupy_errors`), and scalars stay there.
"""

import math
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from ..base import Array, Kernel, KernelTable, Namespace
from . import attention, optim
from .cuda_source import REALS
from .errors import error_flag
from .gemm import gemm
from .launch import (
    MOST_BLOCKS,
    WARPS,
    contiguous,
    launch,
    launch_elementwise,
    launch_rows,
    launch_vectorized,
)
from .seeds import seed_words

KERNELS = KernelTable({**optim.KERNELS, **attention.KERNELS})

SCAN_LIMIT = 2**33  # ids that embedding_gradient may look at; a larger table adds atomically

MAX_PARTS = 128  # of the rows that column_sums adds up apart: as many as keep a GPU busy


def _rows(x: Array) -> Array:
    """x (..., C) as contiguous rows (N, C)."""
    size = x.shape[-1] if x.ndim else 1
    return contiguous(x).reshape(math.prod(x.shape[:-1]), size)


def _ids(x: Array) -> Array:
    """Integers as the kernels read them."""
    return contiguous(x.astype(cupy.int64, copy=False)).reshape(-1)


def _elementwise(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The forward and the gradient of an op of one array, which saves that array."""

    def forward(xp: Namespace, x: Array) -> Any:
        x = contiguous(x)
        y = cupy.empty_like(x)
        launch_vectorized(name, x, x, y, x.size)
        return y, (x,)

    def gradient(xp: Namespace, g: Array, x: Array) -> Any:
        dx = cupy.empty_like(x)
        launch_vectorized(f"{name}_gradient", x, contiguous(g), x, dx, x.size)
        return dx

    return forward, gradient


for _name in ("gelu", "squared_relu"):
    KERNELS[_name] = Kernel(*_elementwise(_name))


@KERNELS.forward
def add(xp: Namespace, x: Array, y: Array) -> Any:
    return plus(x, y), ()


@KERNELS.gradient(add)
def add_gradient(xp: Namespace, g: Array) -> Any:
    return g, g


def plus(x: Array, y: Array) -> Array:
    """x + y, faster than CuPy's where nothing has to be broadcast, cast or gathered."""
    if not (_plain(x) and _plain(y) and x.shape == y.shape and x.dtype == y.dtype):
        return x + y
    both = cupy.empty_like(x)
    launch_vectorized("add", x, x, y, both, x.size)
    return both


_DTYPES = {np.dtype(real) for real in REALS}


def _plain(x: Any) -> bool:
    """Whether x is an array, not a number, that kernels can read as it is."""
    return isinstance(x, cupy.ndarray) and x.flags.c_contiguous and x.dtype in _DTYPES


# Linear layers


@KERNELS.forward
def linear(xp: Namespace, x: Array, weight: Array, bias: Array | None = None) -> Any:
    rows = x.reshape(-1, x.shape[-1]) if x.size else _rows(x)  # (N, in)
    y = gemm(rows, weight.T)  # (N, out)
    if bias is not None:
        launch_rows("add_bias", y, len(y), y, contiguous(bias), *y.shape)
    return y.reshape(*x.shape[:-1], weight.shape[0]), (rows, weight, x.shape)


@KERNELS.gradient(linear)
def linear_gradient(
    xp: Namespace, g: Array, rows: Array, weight: Array, shape: tuple[int, ...]
) -> Any:
    g = _rows(g)  # (N, out)
    return (
        lambda: gemm(g, weight).reshape(shape),
        lambda: gemm(g.T, rows),
        lambda: column_sums("column_sums", g, g),
    )


def column_sums(kernel: str, like: Array, *arguments: Any) -> Array:
    """What `kernel` of columns.cu makes of arrays (rows, size), summed over the rows: (size,)."""
    rows, size = like.shape
    parts = max(1, min(MAX_PARTS, rows // 32))
    columns = -(-size // (32 * (16 // like.itemsize)))  # of a warp with 16 bytes a lane
    y = cupy.empty(size, like.dtype)
    partial = y if parts == 1 else cupy.empty((parts, size), like.dtype)
    if size:
        launch(kernel, like.dtype, (columns, parts), (32, 8), *arguments, partial, rows, size)
    if size and parts > 1:
        launch("column_sums", like.dtype, (columns,), (32, 32), partial, y, parts, size)
    return y


@KERNELS.forward
def matmul(xp: Namespace, x: Array, y: Array) -> Any:
    if x.ndim == 1 or y.ndim == 1:
        return cupy.matmul(x, y), (x, y)
    if y.ndim == 2 and x.ndim > 2:
        rows = _rows(x)
        return gemm(rows, y).reshape(*x.shape[:-1], y.shape[-1]), (x, y)
    return gemm(x, y), (x, y)


@KERNELS.gradient(matmul)
def matmul_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    if x.ndim == 1 and y.ndim == 1:
        return lambda: g * y, lambda: g * x
    if x.ndim == 1:  # (K,) @ (..., K, N) -> (..., N)
        return lambda: cupy.matmul(y, g[..., None])[..., 0], lambda: x[:, None] * g[..., None, :]
    if y.ndim == 1:  # (..., M, K) @ (K,) -> (..., M)
        return lambda: g[..., None] * y, lambda: cupy.matmul(x.swapaxes(-1, -2), g[..., None])[
            ..., 0
        ]
    if y.ndim == 2 and x.ndim > 2:
        rows = _rows(g)
        return lambda: gemm(rows, y.T).reshape(x.shape), lambda: gemm(_rows(x).T, rows)
    return lambda: gemm(g, y.swapaxes(-1, -2)), lambda: gemm(x.swapaxes(-1, -2), g)


# Normalisation and dropout


@KERNELS.forward
def layer_norm(
    xp: Namespace, x: Array, weight: Array, bias: Array | None = None, *, eps: float = 1e-5
) -> Any:
    rows, weight = _rows(x), contiguous(weight)
    bias = None if bias is None else contiguous(bias)
    N, C = rows.shape
    y = cupy.empty_like(rows)
    mean, scale = cupy.empty(N, rows.dtype), cupy.empty(N, rows.dtype)
    kernel = "layer_norm_wide" if _is_wide(rows) else "layer_norm"
    launch_rows(kernel, rows, N, rows, weight, bias, y, mean, scale, N, C, eps)
    return y.reshape(x.shape), (rows, weight, mean, scale)


@KERNELS.gradient(layer_norm)
def layer_norm_gradient(
    xp: Namespace, g: Array, rows: Array, weight: Array, mean: Array, scale: Array
) -> Any:
    shape, g = g.shape, _rows(g)
    N, C = rows.shape

    def of_x() -> Array:
        dx = cupy.empty_like(rows)
        kernel = "layer_norm_gradient_wide" if _is_wide(rows) else "layer_norm_gradient"
        launch_rows(kernel, rows, N, g, rows, weight, mean, scale, dx, N, C)
        return dx.reshape(shape)

    return (
        of_x,
        lambda: column_sums("layer_norm_weight_gradient", g, g, rows, mean, scale),
        lambda: column_sums("column_sums", g, g),
    )


def _is_wide(rows: Array) -> bool:
    """Whether a row has more than four but at most eight packs of 16 bytes for each lane."""
    return bool(4 * 16 * 32 < rows.shape[1] * rows.itemsize <= 8 * 16 * 32)


@KERNELS.forward
def dropout(xp: Namespace, x: Array, *, p: float, seed: int) -> Any:
    return hide(x, p, seed), (p, seed)


@KERNELS.gradient(dropout)
def dropout_gradient(xp: Namespace, g: Array, p: float, seed: int) -> Any:
    return hide(g, p, seed)


def hide(x: Array, p: float, seed: int) -> Array:
    """x with the elements that the seed hides set to zero, the others times 1 / (1 - p)."""
    x = contiguous(x)
    y = cupy.empty_like(x)
    launch_vectorized(
        "dropout", x, x, y, x.size, *seed_words(seed, x.size), int(p * 2**32), 1 / (1 - p)
    )
    return y


# Attention


@KERNELS.forward
def split_heads(xp: Namespace, qkv: Array, *, num_heads: int) -> Any:
    B, T, _ = qkv.shape
    heads = qkv.reshape(B, T, 3, num_heads, -1)  # views of it: (B, nh, T, hs)
    return tuple(heads[:, :, part].transpose(0, 2, 1, 3) for part in range(3)), (qkv.shape,)


@KERNELS.gradient(split_heads)
def split_heads_gradient(xp: Namespace, gs: Any, shape: tuple[int, int, int]) -> Any:
    some = next(g for g in gs if g is not None)
    B, nh, T, hs = some.shape
    if _side_by_side(gs, (B, T, 3, nh, hs)):
        return some.base.reshape(shape)
    qkv = cupy.empty(shape, some.dtype)
    given = [part for g in gs for part in _with_strides(g)]
    if qkv.size:
        grid = (-(-T // WARPS), 3 * nh, min(B, MOST_BLOCKS))
        launch("split_heads_gradient", some.dtype, grid, (32, WARPS), *given, qkv, B, T, nh, hs)
    return qkv


def _side_by_side(gs: Any, shape: tuple[int, ...]) -> bool:
    """Whether the gradients are the parts of one array (B, T, 3, nh, hs)."""
    owner = None if gs[0] is None else gs[0].base
    if owner is None or owner.shape != shape or not owner.flags.c_contiguous:
        return False
    parts = (owner[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
    return all(
        g is not None and g.data.ptr == part.data.ptr and g.strides == part.strides
        for g, part in zip(gs, parts, strict=True)
    )


def _with_strides(x: Array | None) -> tuple[Any, ...]:
    """x (B, nh, T, hs), its last axis contiguous, and the strides of the others in elements."""
    if x is None:
        return None, 0, 0, 0
    x = x if x.strides[3] == x.itemsize else contiguous(x)
    return x, *(stride // x.itemsize for stride in x.strides[:3])


@KERNELS.forward
def merge_heads(xp: Namespace, y: Array) -> Any:
    B, nh, T, hs = y.shape
    merged = y.transpose(0, 2, 1, 3)
    if not merged.flags.c_contiguous:
        merged = _swap_middle(y, B, nh, T, hs)
    return merged.reshape(B, T, nh * hs), (y.shape,)


@KERNELS.gradient(merge_heads)
def merge_heads_gradient(xp: Namespace, g: Array, shape: tuple[int, int, int, int]) -> Any:
    B, nh, T, hs = shape
    return g.reshape(B, T, nh, hs).transpose(0, 2, 1, 3)  # a view: (B, nh, T, hs)


def _swap_middle(x: Array, A: int, N: int, M: int, size: int) -> Array:
    """x (A, N, M, size) -> (A, M, N, size)."""
    y = cupy.empty((A, M, N, size), x.dtype)
    launch_rows("swap_middle", x, A * N * M, contiguous(x), y, A, N, M, size)
    return y


@KERNELS.forward
def attention_weights(
    xp: Namespace, q: Array, k: Array, mask: Array | None = None, *, scale: float
) -> Any:
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
    """The softmax of the last axis under a mask, boolean or to be added; new if the mask has more
    axes than the scores."""
    if mask is None:
        rows = scores.size // max(1, scores.shape[-1])
        launch_rows("softmax", scores, rows, scores, scores, rows, scores.shape[-1])
        return scores
    if mask.ndim > 2 or mask.shape != scores.shape[-2:]:  # else its rows repeat
        shape = np.broadcast_shapes(mask.shape, scores.shape)
        mask, scores = cupy.broadcast_to(mask, shape), contiguous(cupy.broadcast_to(scores, shape))
    size = scores.shape[-1]
    rows, mask_rows = (a.size // max(1, size) for a in (scores, mask))
    hides = mask.dtype == cupy.bool_
    mask = contiguous(mask if hides else mask.astype(scores.dtype, copy=False))
    name = "softmax_hiding" if hides else "softmax_adding"
    launch_rows(name, scores, rows, scores, scores, rows, size, mask, mask_rows)
    return scores


@KERNELS.forward
def rotary(xp: Namespace, x: Array, cos: Array, sin: Array) -> Any:
    return _rotate(x, cos, sin, 1), (cos, sin)


@KERNELS.gradient(rotary)
def rotary_gradient(xp: Namespace, g: Array, cos: Array, sin: Array) -> Any:
    return _rotate(g, cos, sin, -1), None, None


def _rotate(x: Array, cos: Array, sin: Array, direction: int) -> Array:
    """x (..., T, hs), turned; where it has four axes it is read in place."""
    cos, sin = (contiguous(a.astype(x.dtype, copy=False)) for a in (cos, sin))
    y, half = cupy.empty(x.shape, x.dtype), x.shape[-1] // 2
    if not y.size:
        return y
    if x.ndim != 4:
        x = contiguous(x).reshape(-1, 1, *x.shape[-2:])
    B, nh, T, _ = x.shape
    grid = (-(-T // WARPS), nh, min(B, MOST_BLOCKS))
    launch(
        "rotary", x.dtype, grid, (32, WARPS), *_with_strides(x), cos, sin, y, B, T, half, direction
    )
    return y


# Tokens in, loss out


@KERNELS.forward
def embedding(xp: Namespace, weight: Array, ids: Array) -> Any:
    flat, weight = _ids(ids), contiguous(weight)
    (V, C), N = weight.shape, ids.size
    y = cupy.empty((*ids.shape, C), weight.dtype)
    launch_rows("embedding", weight, N, weight, flat, y, N, V, C, error_flag())
    return y, (flat, weight.shape)


@KERNELS.gradient(embedding)
def embedding_gradient(xp: Namespace, g: Array, ids: Array, shape: tuple[int, int]) -> Any:
    return segment_sum(g.reshape(-1, shape[1]), ids, shape[0]), None


def segment_sum(values: Array, ids: Array, rows: int) -> Array:
    """(rows, C) zeros to which values (N, C) are added at ids (N,); repeats add up."""
    (N, C), values, ids = values.shape, contiguous(values), _ids(ids)
    if rows * N * -(-C // 32) > SCAN_LIMIT:
        dw = cupy.zeros((rows, C), values.dtype)
        launch_rows("embedding_gradient_atomic", values, N, values, ids, dw, N, rows, C)
        return dw
    dw = cupy.empty((rows, C), values.dtype)
    if dw.size:
        grid = (rows, -(-C // 32))
        launch("embedding_gradient", values.dtype, grid, (32, 8), values, ids, dw, N, C)
    return dw


@KERNELS.forward
def cross_entropy(xp: Namespace, logits: Array, targets: Array, *, ignore_index: int = -100) -> Any:
    rows, classes = _rows(logits), _ids(targets)  # (N, V) and (N,)
    N, V = rows.shape
    log_total, losses = cupy.empty(N, rows.dtype), cupy.empty(N, rows.dtype)
    result = cupy.empty(2, rows.dtype)  # mean loss, number of targets
    settings = (N, V, ignore_index)
    launch_rows(
        "cross_entropy_rows", rows, N, rows, classes, log_total, losses, *settings, error_flag()
    )
    launch(
        "cross_entropy_mean", rows.dtype, (1,), (32, 32), losses, classes, result, N, ignore_index
    )
    return result[0], (rows, classes, log_total, result, ignore_index, logits.shape)


@KERNELS.gradient(cross_entropy)
def cross_entropy_gradient(
    xp: Namespace,
    g: Array,
    rows: Array,
    classes: Array,
    log_total: Array,
    result: Array,
    ignore_index: int,
    shape: tuple[int, ...],
) -> Any:
    (N, V), d = rows.shape, cupy.empty_like(rows)
    launch_rows(
        "cross_entropy_gradient", rows, N, contiguous(g), rows, classes, log_total, result, d, N, V,
        ignore_index,
    )  # fmt: skip
    return d.reshape(shape), None


def random_bits(seed: int, shape: tuple[int, ...]) -> Array:
    """uint32 random bits, a pure function of seed and position: `hashing.random_bits`."""
    count = math.prod(shape)
    words = seed_words(seed, count)
    bits = cupy.empty(shape, cupy.uint32)
    if count:
        launch_elementwise(
            "random_bits", cupy.empty(0, cupy.float32), bits, count, *words, count=count
        )
    return bits


def sample(logits: Array, temperature: float, dice: Array) -> Array:
    """A token for each row of logits (B, V), by dice (B,) in [0, 1): integers (B,)."""
    rows = contiguous(logits)
    tokens = cupy.empty(len(rows), cupy.int64)
    launch_rows("sample_rows", rows, len(rows), rows, dice, tokens, *rows.shape, temperature)
    return tokens
