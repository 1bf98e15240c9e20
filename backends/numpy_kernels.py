"""Fast NumPy versions of the ops where a training step spends its time.

Each computes what the op of its name computes, with fewer passes, in place and in blocks; the
readable reference stands in the lesson files, and a test compares the two.
"""

import math
from typing import Any

import numpy as np

from .base import Array, KernelTable, Namespace
from .threads import for_blocks

KERNELS = KernelTable()

_GELU_A, _GELU_C = 0.044715, math.sqrt(2 / math.pi)


def _rows(x: Array) -> Array:
    """x (..., C) as contiguous rows (N, C)."""
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1] if x.ndim else 1)


def _sum_rows(x: Array) -> Array:
    """The sum of x (N, C) over N, as a product: BLAS adds rows faster than a reduction does."""
    return np.ones(x.shape[0], x.dtype) @ x


@KERNELS.forward
def gelu(xp: Namespace, x: Array) -> Any:
    rows = _rows(x)
    y, t = np.empty_like(rows), np.empty_like(rows)

    def work(i: int, j: int) -> None:
        xb, yb, tb = rows[i:j], y[i:j], t[i:j]
        np.multiply(xb, xb, out=tb)
        tb *= _GELU_A * _GELU_C
        tb += _GELU_C
        tb *= xb
        np.tanh(tb, out=tb)
        np.add(tb, 1, out=yb)
        yb *= xb
        yb *= 0.5

    for_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return y.reshape(x.shape), (rows, t)


@KERNELS.gradient(gelu)
def gelu_gradient(xp: Namespace, g: Array, rows: Array, t: Array) -> Any:
    gradient = _rows(g)
    dx = np.empty_like(rows)

    def work(i: int, j: int) -> None:
        xb, tb, db = rows[i:j], t[i:j], dx[i:j]
        slope = xb * xb
        slope *= 3 * _GELU_A * _GELU_C
        slope += _GELU_C
        slope *= xb
        np.multiply(tb, tb, out=db)
        np.subtract(1, db, out=db)
        db *= slope
        db += tb
        db += 1
        db *= gradient[i:j]
        db *= 0.5

    for_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return dx.reshape(g.shape)


@KERNELS.forward
def squared_relu(xp: Namespace, x: Array) -> Any:
    rows = _rows(x)
    rectified, y = np.empty_like(rows), np.empty_like(rows)

    def work(i: int, j: int) -> None:
        np.maximum(rows[i:j], 0, out=rectified[i:j])
        np.multiply(rectified[i:j], rectified[i:j], out=y[i:j])

    for_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return y.reshape(x.shape), (rectified,)


@KERNELS.gradient(squared_relu)
def squared_relu_gradient(xp: Namespace, g: Array, rectified: Array) -> Any:
    gradient, dx = _rows(g), np.empty_like(rectified)

    def work(i: int, j: int) -> None:
        np.multiply(rectified[i:j], gradient[i:j], out=dx[i:j])
        dx[i:j] *= 2

    for_blocks(work, len(dx), dx.itemsize * dx.shape[1])
    return dx.reshape(g.shape)


@KERNELS.forward
def linear(xp: Namespace, x: Array, weight: Array, bias: Array | None = None) -> Any:
    rows = x.reshape(-1, x.shape[-1])  # (N, in)
    y = rows @ weight.T  # (N, out)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], weight.shape[0]), (rows, weight, x.shape)


@KERNELS.gradient(linear)
def linear_gradient(
    xp: Namespace, g: Array, rows: Array, weight: Array, shape: tuple[int, ...]
) -> Any:
    g = g.reshape(-1, g.shape[-1])  # (N, out)
    answers = (lambda: (g @ weight).reshape(shape), lambda: g.T @ rows, lambda: _sum_rows(g))
    return answers


@KERNELS.forward
def layer_norm(
    xp: Namespace, x: Array, weight: Array, bias: Array | None = None, *, eps: float = 1e-5
) -> Any:
    rows = _rows(x)  # (N, C)
    normal, y = np.empty_like(rows), np.empty_like(rows)
    scale = np.empty((len(rows), 1), rows.dtype)
    size = rows.shape[1]

    def work(i: int, j: int) -> None:
        nb, yb, sb = normal[i:j], y[i:j], scale[i:j]
        np.subtract(rows[i:j], rows[i:j].mean(axis=1, keepdims=True), out=nb)
        np.einsum("ij,ij->i", nb, nb, out=sb[:, 0])
        sb /= size
        sb += eps
        np.sqrt(sb, out=sb)
        np.divide(1, sb, out=sb)
        nb *= sb
        np.multiply(nb, weight, out=yb)
        if bias is not None:
            yb += bias

    for_blocks(work, len(rows), rows.itemsize * size)
    return y.reshape(x.shape), (normal, scale, weight)


@KERNELS.gradient(layer_norm)
def layer_norm_gradient(
    xp: Namespace, g: Array, normal: Array, scale: Array, weight: Array
) -> Any:
    gradient, dx = _rows(g), np.empty_like(normal)
    size = normal.shape[1]

    def work(i: int, j: int) -> None:
        nb, db = normal[i:j], dx[i:j]
        np.multiply(gradient[i:j], weight, out=db)
        along = np.einsum("ij,ij->i", db, nb)[:, None]
        along /= size
        db -= db.mean(axis=1, keepdims=True)
        db -= nb * along
        db *= scale[i:j]

    for_blocks(work, len(dx), dx.itemsize * size)
    return (
        dx.reshape(g.shape),
        lambda: _sum_rows(gradient * normal),
        lambda: _sum_rows(gradient),
    )


@KERNELS.forward
def attention_weights(
    xp: Namespace, q: Array, k: Array, mask: Array | None = None, *, scale: float
) -> Any:
    keys = np.swapaxes(k, -1, -2)  # (..., hs, S)
    lead = np.broadcast_shapes(q.shape[:-2], k.shape[:-2])
    weights = np.empty((*lead, q.shape[-2], k.shape[-2]), np.result_type(q, k))
    if mask is not None and mask.dtype == np.bool_:
        mask = np.where(mask, 0, -np.inf).astype(weights.dtype)
    if mask is not None:
        mask = np.broadcast_to(mask, np.broadcast_shapes(mask.shape, weights.shape))
        if mask.shape != weights.shape:  # a mask with more axes than the scores
            weights = np.empty(mask.shape, weights.dtype)
    parts = _split_first(weights, q, keys, mask)

    def work(i: int, j: int) -> None:
        w, qb, kb, mb = (p[i:j] if p is not None else None for p in parts)
        np.matmul(qb, kb, out=w)
        w *= scale
        if mb is not None:
            w += mb
        _softmax_in_place(w)

    for_blocks(work, len(parts[0]), parts[0][:1].nbytes)
    return weights, (q, k, weights, scale)


def _split_first(whole: Array, *others: Array | None) -> list[Array | None]:
    """All arrays with the axes of `whole` before the last two, so that blocks of its first axis
    are those of the others too."""
    lead = whole.shape[:-2] or (1,)
    arrays = [whole.reshape(*lead, *whole.shape[-2:])]
    for other in others:
        arrays.append(
            None if other is None else np.broadcast_to(other, (*lead, *other.shape[-2:]))
        )
    return arrays


def _softmax_in_place(x: Array) -> None:
    """The softmax over the last axis; rows of only -inf become zeros."""
    if x.shape[-1] == 0:
        return
    largest = x.max(axis=-1, keepdims=True)
    np.copyto(largest, 0, where=largest == -np.inf)
    x -= largest
    np.exp(x, out=x)
    total = x.sum(axis=-1, keepdims=True)
    np.copyto(total, 1, where=total == 0)
    x /= total


@KERNELS.gradient(attention_weights)
def attention_weights_gradient(
    xp: Namespace, g: Array, q: Array, k: Array, weights: Array, scale: float
) -> Any:
    d = np.empty_like(weights)
    whole, gradient, w = (a.reshape(-1, *d.shape[-2:]) for a in (d, g, weights))

    def work(i: int, j: int) -> None:
        db = whole[i:j]
        along = np.einsum("nij,nij->ni", gradient[i:j], w[i:j])[..., None]
        np.subtract(gradient[i:j], along, out=db)
        db *= w[i:j]

    for_blocks(work, len(whole), whole[:1].nbytes)

    def times(x: Array, y: Array) -> Array:
        product = _products(x, y)
        product *= scale
        return product

    return lambda: times(d, k), lambda: times(np.swapaxes(d, -1, -2), q), lambda: d


def _products(x: Array, y: Array) -> Array:
    """x @ y for stacks of matrices, the stack divided among the threads."""
    if x.ndim < 3 or x.shape[:-2] != y.shape[:-2]:
        return np.matmul(x, y)
    out = np.empty((*x.shape[:-1], y.shape[-1]), np.result_type(x, y))

    def work(i: int, j: int) -> None:
        np.matmul(x[i:j], y[i:j], out=out[i:j])

    for_blocks(work, len(x), x[:1].nbytes)
    return out


@KERNELS.forward
def matmul(xp: Namespace, x: Array, y: Array) -> Any:
    if y.ndim == 2 and x.ndim > 2:
        rows = x.reshape(-1, x.shape[-1])
        return (rows @ y).reshape(*x.shape[:-1], y.shape[-1]), (x, y)
    return _products(x, y), (x, y)


@KERNELS.gradient(matmul)
def matmul_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    if x.ndim == 1 or y.ndim == 1:
        return _vector_gradient(g, x, y)
    if y.ndim == 2 and x.ndim > 2:
        rows = g.reshape(-1, g.shape[-1])
        return (
            lambda: (rows @ y.T).reshape(x.shape),
            lambda: x.reshape(-1, x.shape[-1]).T @ rows,
        )
    return lambda: _products(g, np.swapaxes(y, -1, -2)), lambda: _products(
        np.swapaxes(x, -1, -2), g
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
    y = np.empty(x.shape, x.dtype)
    first, second = x[..., :half], x[..., half:]
    np.multiply(first, cos, out=y[..., :half])
    y[..., :half] -= second * sin
    np.multiply(second, cos, out=y[..., half:])
    y[..., half:] += first * sin
    return y


@KERNELS.forward
def embedding(xp: Namespace, weight: Array, ids: Array) -> Any:
    if ids.size and not (0 <= ids.min() and ids.max() < len(weight)):
        wrong = ids[(ids < 0) | (ids >= len(weight))].flat[0]
        raise IndexError(f"token id {wrong} is outside of the vocabulary [0, {len(weight)})")
    return np.take(weight, ids, axis=0), (ids, weight.shape)


@KERNELS.gradient(embedding)
def embedding_gradient(xp: Namespace, g: Array, ids: Array, shape: tuple[int, int]) -> Any:
    return xp.scatter_add(shape[0], ids.reshape(-1), g.reshape(-1, shape[1])), None


@KERNELS.forward
def cross_entropy(
    xp: Namespace, logits: Array, targets: Array, *, ignore_index: int = -100
) -> Any:
    p = np.array(logits, order="C").reshape(-1, logits.shape[-1])  # (N, V), a copy to work in
    classes = targets.reshape(-1)
    kept = np.flatnonzero(classes != ignore_index)
    chosen = classes[kept]
    if chosen.size and not (0 <= chosen.min() and chosen.max() < p.shape[1]):
        wrong = chosen[(chosen < 0) | (chosen >= p.shape[1])][0]
        raise IndexError(f"target {wrong} is outside of the {p.shape[1]} classes")
    p -= p.max(axis=1, keepdims=True)
    picked = p[kept, chosen]
    np.exp(p, out=p)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    count = p.dtype.type(len(kept))
    with np.errstate(invalid="ignore"):  # no target at all: 0 / 0, as in PyTorch
        loss = np.sum(np.log(total[kept, 0]) - picked) / count
    return loss, (p, kept, chosen, logits.shape)


@KERNELS.gradient(cross_entropy)
def cross_entropy_gradient(
    xp: Namespace, g: Array, p: Array, kept: Array, chosen: Array, shape: tuple[int, ...]
) -> Any:
    scale = g / p.dtype.type(len(kept))
    d = p * scale
    d[kept, chosen] -= scale
    if len(kept) < len(d):
        ignored = np.ones(len(d), dtype=bool)
        ignored[kept] = False
        d[ignored] = 0
    return d.reshape(shape), None


@KERNELS.forward
def adam_update(
    xp: Namespace,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> Any:
    flat = [a.reshape(-1) for a in (p, g, m, v)]
    rate, root = lr / (1 - betas[0] ** step), math.sqrt(1 - betas[1] ** step)

    def work(i: int, j: int) -> None:
        pb, gb, mb, vb = (a[i:j] for a in flat)
        if weight_decay and decoupled:
            pb *= 1 - lr * weight_decay
        elif weight_decay:
            gb = gb + weight_decay * pb
        mb *= betas[0]
        mb += (1 - betas[0]) * gb
        square = gb * gb
        square *= 1 - betas[1]
        vb *= betas[1]
        vb += square
        np.sqrt(vb, out=square)
        square /= root
        square += eps
        np.divide(mb, square, out=square)
        square *= rate
        pb -= square

    for_blocks(work, p.size, p.itemsize)
    return (p, m, v), ()
