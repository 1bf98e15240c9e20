"""Fast NumPy versions of the ops where a training step spends its time.

Each computes what the op of its name computes, with fewer passes, in place and in blocks; the
readable reference stands in the lesson files, and a test compares the two.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..base import Array, KernelTable, Namespace
from .threads import Concurrent, limit_blas_threads, parallel_blocks, parallel_ranges

WORTH_MULTIPLICATIONS = 2**23  # below that a product is done before a second thread wakes

KERNELS = KernelTable()

_FEW = 4096  # elements; with so few the plainest calls are the fastest
SMALLEST_WEIGHT = 1e-6  # of a norm, by which its result can be divided
GELU_A, GELU_C = 0.044715, math.sqrt(2 / math.pi)


def _rows(x: Array) -> Array:
    """x (..., C) as contiguous rows (N, C)."""
    rows = x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)
    return rows if rows.flags.c_contiguous else np.ascontiguousarray(rows)


@functools.lru_cache(maxsize=64)
def constant_column(size: int, value: float, dtype: Any) -> Array:
    """A column (size, 1) of one value: a product with it sums or averages the rows of a matrix,
    many times faster than NumPy reduces a short last axis."""
    column = np.full((size, 1), value, dtype)
    column.flags.writeable = False
    return column


def _sum_rows(x: Array) -> Array:
    """The sum of x (N, C) over N, as a product: BLAS adds rows faster than a reduction does."""
    return np.ones(x.shape[0], x.dtype) @ x


def _worth_a_thread(multiplications: int) -> Callable[[Any], Any]:
    """`Concurrent` for products that take longer than a thread takes to wake, else nothing."""
    return Concurrent if multiplications >= WORTH_MULTIPLICATIONS else _as_it_is


def _as_it_is(function: Any) -> Any:
    return function


def _product(x: Array, y: Array) -> Array:
    """x (M, K) @ y (K, N), the rows of x divided among the threads."""
    if x.shape[0] * x.shape[1] * y.shape[1] < WORTH_MULTIPLICATIONS or not limit_blas_threads():
        return x @ y
    out = np.empty((x.shape[0], y.shape[1]), np.result_type(x, y))

    def work(i: int, j: int) -> None:
        np.matmul(x[i:j], y, out=out[i:j])

    parallel_ranges(work, x.shape[0])
    return out


@KERNELS.forward
def gelu(xp: Namespace, x: Array) -> Any:
    rows = _rows(x)
    y = np.empty_like(rows)
    if x.size <= _FEW:
        _gelu_block(rows, y)
    else:
        parallel_blocks(lambda i, j: _gelu_block(rows[i:j], y[i:j]), len(rows), rows[:1].nbytes)
    result = y.reshape(x.shape)
    return result, (rows, result)


def _gelu_block(x: Array, y: Array) -> None:
    """y = x s with the share s = (1 + tanh u) / 2 and u = c (x + a x^3)."""
    np.multiply(x, x, out=y)
    y *= GELU_A * GELU_C
    y += GELU_C
    y *= x
    np.tanh(y, out=y)
    y += 1
    y *= 0.5
    y *= x


@KERNELS.gradient(gelu)
def gelu_gradient(xp: Namespace, g: Array, rows: Array, y: Array) -> Any:
    """s + 2 x u' s (1 - s) with the share s = y / x: saved by itself it would take as much memory
    as the activations, where y is saved by the next layer anyway."""
    gradient, y = _rows(g), _rows(y)
    dx = np.empty_like(rows)

    def work(i: int, j: int) -> None:
        xb, db = rows[i:j], dx[i:j]
        with np.errstate(invalid="ignore"):
            share = y[i:j] / xb
        if math.isnan(share.min()):  # 0 / 0
            np.copyto(share, 0.5, where=xb == 0)
        slope = xb * xb
        slope *= 6 * GELU_A * GELU_C
        slope += 2 * GELU_C
        slope *= xb
        np.subtract(1, share, out=db)
        db *= share
        db *= slope
        db += share
        db *= gradient[i:j]

    parallel_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return dx.reshape(g.shape)


@KERNELS.forward
def squared_relu(xp: Namespace, x: Array) -> Any:
    rows = _rows(x)
    rectified, y = np.empty_like(rows), np.empty_like(rows)

    def work(i: int, j: int) -> None:
        np.maximum(rows[i:j], 0, out=rectified[i:j])
        np.multiply(rectified[i:j], rectified[i:j], out=y[i:j])

    parallel_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return y.reshape(x.shape), (rectified,)


@KERNELS.gradient(squared_relu)
def squared_relu_gradient(xp: Namespace, g: Array, rectified: Array) -> Any:
    gradient, dx = _rows(g), np.empty_like(rectified)

    def work(i: int, j: int) -> None:
        np.multiply(rectified[i:j], gradient[i:j], out=dx[i:j])
        dx[i:j] *= 2

    parallel_blocks(work, len(dx), dx.itemsize * dx.shape[1])
    return dx.reshape(g.shape)


@KERNELS.forward
def linear(xp: Namespace, x: Array, weight: Array, bias: Array | None = None) -> Any:
    rows = x.reshape(-1, x.shape[-1])  # (N, in)
    y = _product(rows, weight.T)  # (N, out)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], weight.shape[0]), (rows, weight, x.shape)


@KERNELS.gradient(linear)
def linear_gradient(
    xp: Namespace, g: Array, rows: Array, weight: Array, shape: tuple[int, ...]
) -> Any:
    g = g.reshape(-1, g.shape[-1])  # (N, out)
    long = _worth_a_thread(g.size * weight.shape[1])
    return (
        long(lambda: _product(g, weight).reshape(shape)),
        long(lambda: _product(g.T, rows)),
        lambda: _sum_rows(g),
    )


@KERNELS.forward
def layer_norm(
    xp: Namespace, x: Array, weight: Array, bias: Array | None = None, *, eps: float = 1e-5
) -> Any:
    rows = _rows(x)  # (N, C)
    size = rows.shape[1]
    average = constant_column(size, 1 / size, rows.dtype)
    if len(rows) == 1:
        return _layer_norm_row(x, weight, bias, eps)
    if x.size <= _FEW:
        centred = rows - rows @ average
        scale = 1 / np.sqrt(np.vecdot(centred, centred)[:, None] / size + eps)
        normal = centred * scale
        y = normal * weight if bias is None else normal * weight + bias
        return y.reshape(x.shape), (normal, scale, weight, None)
    y = np.empty_like(rows)
    # Without a bias normal is y / weight, and y is saved by the next layer anyway.
    inverse = 1 / weight if bias is None and np.abs(weight).min() > SMALLEST_WEIGHT else None
    normal = np.empty_like(rows) if inverse is None else y
    scale = np.empty((len(rows), 1), rows.dtype)

    def work(i: int, j: int) -> None:
        nb, yb, sb = normal[i:j], y[i:j], scale[i:j]
        np.subtract(rows[i:j], rows[i:j] @ average, out=nb)
        np.vecdot(nb, nb, out=sb[:, 0])
        sb += size * eps
        np.sqrt(sb, out=sb)
        np.divide(math.sqrt(size), sb, out=sb)
        nb *= sb
        np.multiply(nb, weight, out=yb)
        if bias is not None:
            yb += bias

    parallel_blocks(work, len(rows), rows.itemsize * size)
    return y.reshape(x.shape), (normal, scale, weight, inverse)


def _layer_norm_row(x: Array, weight: Array, bias: Array | None, eps: float) -> Any:
    """`layer_norm` of one row (..., 1, C), as a token at a time needs it: a vector and two
    numbers, since NumPy's broadcasting of a (1, 1) array takes longer than the work."""
    row = x.reshape(-1)  # (C,)
    size, number = len(row), row.dtype.type
    normal = row - row.dot(constant_column(size, 1 / size, row.dtype)[:, 0])
    scale = number(1 / math.sqrt(normal.dot(normal) / size + eps))
    normal *= scale
    y = normal * weight
    if bias is not None:
        y += bias
    return y.reshape(x.shape), (normal.reshape(1, size), scale.reshape(1, 1), weight, None)


@KERNELS.gradient(layer_norm)
def layer_norm_gradient(
    xp: Namespace, g: Array, normal: Array, scale: Array, weight: Array, inverse: Array | None
) -> Any:
    gradient, dx = _rows(g), np.empty_like(normal)
    size = normal.shape[1]
    average = (weight / size)[:, None]

    def work(i: int, j: int) -> None:
        nb, db = normal[i:j], dx[i:j]
        if inverse is not None:
            nb = nb * inverse
        np.multiply(gradient[i:j], weight, out=db)
        along = np.vecdot(db, nb)[:, None]
        along /= size
        db -= gradient[i:j] @ average
        db -= nb * along
        db *= scale[i:j]

    parallel_blocks(work, len(dx), dx.itemsize * size)

    def weight_gradient() -> Array:
        total = _sum_rows(gradient * normal)
        return total if inverse is None else total * inverse

    return dx.reshape(g.shape), weight_gradient, lambda: _sum_rows(gradient)


@KERNELS.forward
def split_heads(xp: Namespace, qkv: Array, *, num_heads: int) -> Any:
    B, T, _ = qkv.shape
    heads = qkv.reshape(B, T, 3, num_heads, -1).transpose(2, 0, 3, 1, 4)  # (3, B, nh, T, hs)
    return (heads[0], heads[1], heads[2]), (qkv.shape,)


@KERNELS.gradient(split_heads)
def split_heads_gradient(xp: Namespace, gs: Any, shape: tuple[int, int, int]) -> Any:
    B, nh, T, hs = next(g for g in gs if g is not None).shape
    row = np.empty((B, T, 3, nh, hs), next(g for g in gs if g is not None).dtype)
    for i, g in enumerate(gs):
        row[:, :, i] = 0 if g is None else g.transpose(0, 2, 1, 3)
    return row.reshape(shape)


@KERNELS.forward
def attention_weights(
    xp: Namespace, q: Array, k: Array, mask: Array | None = None, *, scale: float
) -> Any:
    keys = k.swapaxes(-1, -2)  # (..., hs, S)
    lead = q.shape[:-2]
    if mask is None and q.shape[-2] == 1 and k.size:  # one query: nothing to hide or to divide
        weights = np.matmul(q, keys)  # (..., 1, S)
        weights *= scale
        weights -= np.maximum.reduce(weights, axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights @ constant_column(k.shape[-2], 1.0, weights.dtype)
        return weights, (q, k, weights, scale)
    if k.shape[:-2] != lead or (mask is not None and mask.ndim > 2):
        lead = np.broadcast_shapes(lead, k.shape[:-2], () if mask is None else mask.shape[:-2])
    weights = np.empty((*lead, q.shape[-2], k.shape[-2]), np.result_type(q, k))
    hides = mask is None or mask.dtype == np.bool_
    if mask is not None and hides:
        mask = np.where(mask, weights.dtype.type(0), weights.dtype.type(-np.inf))
    w, q_stack, k_stack = (_stacked(a, lead) for a in (weights, q, keys))
    m_stack = None if mask is None or mask.ndim <= 2 else _stacked(mask, lead)

    def work(i: int, j: int) -> None:
        np.matmul(q_stack[i:j] * scale, k_stack[i:j], out=w[i:j])
        _softmax_in_place(w[i:j], mask if m_stack is None else m_stack[i:j], hides)

    parallel_blocks(work, len(w), w[:1].nbytes)
    return weights, (q, k, weights, scale)


def _stacked(x: Array, lead: tuple[int, ...]) -> Array:
    """x (..., M, N) with the leading axes `lead`, at least one, so that blocks can be cut off."""
    shape = (*(lead or (1,)), *x.shape[-2:])
    if x.shape == shape:
        return x
    return x[None] if not lead else np.broadcast_to(x, shape)


def _largest_of_near(scores: Array) -> Any:
    """The largest score, if no exponential vanishes when it is subtracted from all: then it does as
    well as that of each row, and NumPy finds it ten times as fast. Else None."""
    if scores.size > _FEW and (high := scores.max()) - scores.min() < 60:
        return high
    return None


def _softmax_in_place(x: Array, mask: Array | None, hides: bool) -> None:
    """The softmax of x + mask over the last axis, in x; rows of only -inf become zeros. `hides`
    says that the mask is of 0 and -inf."""
    if x.size == 0:
        return
    if hides and (high := _largest_of_near(x)) is not None:
        x += -high if mask is None else mask - high
    else:
        if mask is not None:
            x += mask
        largest = np.maximum.reduce(x, axis=-1, keepdims=True)
        if mask is not None:
            np.copyto(largest, 0, where=largest == -np.inf)
        x -= largest
    np.exp(x, out=x)
    total = x @ constant_column(x.shape[-1], 1.0, x.dtype)
    if mask is not None:
        np.copyto(total, 1, where=total == 0)
    x *= np.divide(1, total, out=total)


@KERNELS.gradient(attention_weights)
def attention_weights_gradient(
    xp: Namespace, g: Array, q: Array, k: Array, weights: Array, scale: float
) -> Any:
    def of_scores(g: Array, weights: Array) -> Array:
        d = g - np.vecdot(g, weights)[..., None]
        d *= weights
        return d

    if q.shape[:-2] != k.shape[:-2]:  # shared keys: the sum over those who share is autograd's
        d = of_scores(g, weights)
        return d @ k * scale, np.swapaxes(d, -1, -2) @ q * scale, d
    w, gradient, queries, keys = (a.reshape(-1, *a.shape[-2:]) for a in (weights, g, q, k))
    dq, dk = np.empty(queries.shape, q.dtype), np.empty(keys.shape, k.dtype)

    def work(i: int, j: int) -> None:  # the scores' own gradient stays in the cache
        d = of_scores(gradient[i:j], w[i:j])
        d *= scale
        np.matmul(d, keys[i:j], out=dq[i:j])
        np.matmul(np.swapaxes(d, -1, -2), queries[i:j], out=dk[i:j])

    parallel_blocks(work, len(w), w[:1].nbytes)
    return dq.reshape(q.shape), dk.reshape(k.shape), lambda: of_scores(g, weights)


def _products(x: Array, y: Array) -> Array:
    """x @ y for stacks of matrices, the stack divided among the threads."""
    if x.ndim < 3 or x.shape[:-2] != y.shape[:-2] or x.size <= _FEW:
        return np.matmul(x, y)
    out = np.empty((*x.shape[:-1], y.shape[-1]), np.result_type(x, y))

    def work(i: int, j: int) -> None:
        np.matmul(x[i:j], y[i:j], out=out[i:j])

    parallel_blocks(work, len(x), x[:1].nbytes)
    return out


@KERNELS.forward
def matmul(xp: Namespace, x: Array, y: Array) -> Any:
    if y.ndim == 2 and x.ndim > 2:
        rows = x.reshape(-1, x.shape[-1])
        return _product(rows, y).reshape(*x.shape[:-1], y.shape[-1]), (x, y)
    return _products(x, y), (x, y)


@KERNELS.gradient(matmul)
def matmul_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    if x.ndim == 1 or y.ndim == 1:
        return _vector_gradient(g, x, y)
    if y.ndim == 2 and x.ndim > 2:
        rows = g.reshape(-1, g.shape[-1])
        return (
            lambda: _product(rows, y.T).reshape(x.shape),
            lambda: _product(x.reshape(-1, x.shape[-1]).T, rows),
        )
    long = _worth_a_thread(g.size * x.shape[-1])
    return (
        long(lambda: _products(g, np.swapaxes(y, -1, -2))),
        long(lambda: _products(np.swapaxes(x, -1, -2), g)),
    )


def _vector_gradient(g: Array, x: Array, y: Array) -> Any:
    """The gradient where a side has one axis; the missing one is put in and taken out again."""
    if x.ndim == 1 and y.ndim == 1:
        return g * y, g * x
    if x.ndim == 1:  # (K,) @ (..., K, N) -> (..., N)
        return (y @ g[..., None])[..., 0], x[:, None] * g[..., None, :]
    return g[..., None] * y, (np.swapaxes(x, -1, -2) @ g[..., None])[..., 0]


@KERNELS.forward
def rotary(xp: Namespace, x: Array, cos: Array, sin: Array) -> Any:
    return _rotate(x, cos, sin), (cos, sin)


@KERNELS.gradient(rotary)
def rotary_gradient(xp: Namespace, g: Array, cos: Array, sin: Array) -> Any:
    return _rotate(g, cos, -sin), None, None


def _rotate(x: Array, cos: Array, sin: Array) -> Array:
    half = x.shape[-1] // 2
    if x.size <= _FEW:
        pairs = x.reshape(*x.shape[:-1], 2, half)
        signed = np.empty((len(sin), 2, half), sin.dtype)
        np.negative(sin, out=signed[:, 0])
        signed[:, 1] = sin
        y = pairs * cos[:, None]
        y += pairs[..., ::-1, :] * signed
        return y.reshape(x.shape)
    # x * (cos, cos) + (second, first) * (-sin, sin): where the arrays are contiguous, NumPy works
    # through rows of T * hs instead of hs / 2 numbers.
    y, swapped = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    y[...] = x
    swapped[..., :half], swapped[..., half:] = x[..., half:], x[..., :half]
    y *= np.concatenate([cos, cos], axis=-1)
    swapped *= np.concatenate([-sin, sin], axis=-1)
    y += swapped
    return y


@KERNELS.forward
def embedding(xp: Namespace, weight: Array, ids: Array) -> Any:
    if ids.size and not (ids.min() >= 0 and ids.max() < len(weight)):
        wrong = ids[(ids < 0) | (ids >= len(weight))].flat[0]
        raise IndexError(f"token id {wrong} is outside of the vocabulary [0, {len(weight)})")
    return np.take(weight, ids, axis=0), (ids, weight.shape)


@KERNELS.gradient(embedding)
def embedding_gradient(xp: Namespace, g: Array, ids: Array, shape: tuple[int, int]) -> Any:
    return xp.segment_sum(g.reshape(-1, shape[1]), ids.reshape(-1), shape[0]), None


@KERNELS.forward
def cross_entropy(xp: Namespace, logits: Array, targets: Array, *, ignore_index: int = -100) -> Any:
    p = np.array(logits, order="C").reshape(-1, logits.shape[-1])  # (N, V), a copy to work in
    classes = targets.reshape(-1)
    kept = np.flatnonzero(classes != ignore_index)
    chosen = classes[kept]
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < p.shape[1]):
        wrong = chosen[(chosen < 0) | (chosen >= p.shape[1])][0]
        raise IndexError(f"target {wrong} is outside of the {p.shape[1]} classes")
    high = _largest_of_near(p)
    p -= p.max(axis=1, keepdims=True) if high is None else high
    picked = p[kept, chosen]
    np.exp(p, out=p)
    total = p @ constant_column(p.shape[1], 1.0, p.dtype)
    p *= 1 / total
    count = p.dtype.type(len(kept))
    with np.errstate(invalid="ignore"):  # no target at all: 0 / 0, as in PyTorch
        loss = np.sum(np.log(total[kept, 0]) - picked) / count
    return loss, (p, kept, chosen, logits.shape)


@KERNELS.gradient(cross_entropy)
def cross_entropy_gradient(
    xp: Namespace, g: Array, p: Array, kept: Array, chosen: Array, shape: tuple[int, ...]
) -> Any:
    scale = g / p.dtype.type(max(1, len(kept)))
    d = p * scale
    d[kept, chosen] -= scale
    if len(kept) < len(d):
        ignored = np.ones(len(d), dtype=bool)
        ignored[kept] = False
        d[ignored] = 0
    return d.reshape(shape), None
