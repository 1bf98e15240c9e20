"""Lesson 12: attention, which lets each token collect information from the tokens before it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np  # noqa: F401, solutions of the exercises may use it

from .activations import softmax_array
from .autograd import wrap_array
from .backends import Backend, get
from .backends.base import Array, Namespace
from .embeddings import RotaryEmbedding
from .layers import Dropout, Linear, apply_dropout
from .modules.attention_mask import check_mask
from .modules.module import Module
from .ops.op import composite, op
from .tensor import Tensor


def create_causal_mask(seq_len: int, past: int = 0, backend: str | Backend | None = None) -> Tensor:
    """Boolean mask (T, past + T), True where a key is at or before the position of the query.

    Args:
        seq_len: T, the number of queries.
        past: number of keys before the first query.
        backend: backend of the mask.

    >>> create_causal_mask(3)
    Tensor([[ True, False, False],
            [ True,  True, False],
            [ True,  True,  True]], dtype=bool)
    """
    if seq_len < 0 or past < 0:
        raise ValueError(f"seq_len and past must be at least 0, got {seq_len} and {past}")
    backend = get(backend)
    queries = backend.xp.arange(past, past + seq_len)
    keys = backend.xp.arange(past + seq_len)
    visible = backend.xp.expand_dims(queries, axis=1) >= backend.xp.expand_dims(keys, axis=0)
    return wrap_array(Tensor, visible, backend)


@op
def split_heads(xp: Namespace, qkv: Array, *, num_heads: int) -> Any:
    """Split qkv (B, T, 3 C) into the queries, keys and values of each head, (B, nh, T, hs)."""
    B, T, width = qkv.shape
    heads = xp.reshape(qkv, (B, T, 3, num_heads, width // (3 * num_heads)))  # (B, T, 3, nh, hs)
    heads = xp.permute_dims(heads, (2, 0, 3, 1, 4))  # (3, B, nh, T, hs)
    return (heads[0, ...], heads[1, ...], heads[2, ...]), (qkv.shape,)


@split_heads.gradient
def split_heads_gradient(xp: Namespace, gs: Any, shape: tuple[int, int, int]) -> Any:
    some = next(g for g in gs if g is not None)
    heads = xp.stack([xp.zeros_like(some) if g is None else g for g in gs])  # (3, B, nh, T, hs)
    return xp.reshape(xp.permute_dims(heads, (1, 3, 0, 2, 4)), shape)  # (B, T, 3 C)


@op
def merge_heads(xp: Namespace, y: Array) -> Any:
    """Concatenate the outputs of the heads, (B, nh, T, hs) -> (B, T, C)."""
    B, nh, T, hs = y.shape
    return xp.reshape(xp.permute_dims(y, (0, 2, 1, 3)), (B, T, nh * hs)), (y.shape,)


@merge_heads.gradient
def merge_heads_gradient(xp: Namespace, g: Array, shape: tuple[int, int, int, int]) -> Any:
    B, nh, T, hs = shape
    return xp.permute_dims(xp.reshape(g, (B, T, nh, hs)), (0, 2, 1, 3))  # (B, nh, T, hs)


def split_groups(qkv: Tensor, num_heads: int, num_kv_heads: int) -> tuple[Tensor, ...]:
    """As `split_heads`, for nkv heads of keys and values: qkv (B, T, (nh + 2 nkv) hs).

    Returns:
        queries (B, nh, T, hs), keys and values (B, nkv, T, hs).
    """
    if num_kv_heads == num_heads:
        return split_heads(qkv, num_heads=num_heads)  # type: ignore[return-value]
    B, T, width = qkv.shape
    sizes = num_heads, num_kv_heads, num_kv_heads
    heads = qkv.reshape(B, T, sum(sizes), width // sum(sizes))  # (B, T, nh + 2 nkv, hs)
    return heads.permute(0, 2, 1, 3).split(sizes, 1)


def repeat_heads(x: Tensor, num_heads: int) -> Tensor:
    """Repeat each head of keys or values x (B, nkv, S, hs) for a group of queries: (B, nh, S, hs).

    Source: J. Ainslie et al., "GQA: Training Generalized Multi-Query Transformer Models from
    Multi-Head Checkpoints" (2023).
    """
    groups = num_heads // x.shape[1]
    return x if groups == 1 else x.repeat_interleave(groups, 1)


@op(promote="float", keep=("mask",))
def attention_weights(
    xp: Namespace, q: Array, k: Array, mask: Array | None = None, *, scale: float
) -> Any:
    """softmax(q @ k.T * scale) over the keys: q (..., T, hs), k (..., S, hs) -> (..., T, S).

    A boolean mask is True where a key is visible; a floating mask is added to the scores. Masks are
    not checked here, see `scaled_dot_product_attention`.
    """
    scores = q @ xp.matrix_transpose(k) * scale  # (..., T, S)
    if mask is not None and mask.dtype == xp.bool:
        scores = xp.where(mask, scores, xp.full_like(scores, -math.inf))
    elif mask is not None:
        scores = scores + mask
    weights = softmax_array(xp, scores)
    return weights, (q, k, weights, scale)


@attention_weights.gradient
def attention_weights_gradient(
    xp: Namespace, g: Array, q: Array, k: Array, weights: Array, scale: float
) -> Any:
    # The gradient of the masked scores, (..., T, S).
    d = weights * (g - xp.sum(g * weights, axis=-1, keepdims=True))
    return (
        lambda: (d @ k) * scale,
        lambda: (xp.matrix_transpose(d) @ q) * scale,
        lambda: d,
    )


def _check_arguments(Q: Tensor, K: Tensor, V: Tensor, dropout: Any) -> None:
    """Check that Q, K and V have axes (..., T, hs), and that `dropout` is a function or None."""
    if min(Q.ndim, K.ndim, V.ndim) < 2:
        raise ValueError(f"Q {Q.shape}, K {K.shape} and V {V.shape} need at least two axes")
    if dropout is not None and not callable(dropout):
        raise TypeError(
            f"dropout must be a function of the weights, as Dropout(0.1), got {dropout}"
        )


def scaled_dot_product_attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    dropout: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T / sqrt(hs)) V, and the attention weights.

    Args:
        Q: queries (..., T, hs).
        K: keys (..., S, hs).
        V: values (..., S, hv).
        mask: broadcasts to (..., T, S); boolean, True where a key is visible, or floats that are
            added to the scores. Integers are a TypeError: convert a mask of 0 and 1 with
            ``mask == 1``. The output is zero for a query that sees no key.
        dropout: applied to the weights.

    Returns:
        output (..., T, hv) and weights (..., T, S), whose rows sum to 1.

    Source: A. Vaswani et al., "Attention Is All You Need" (2017), equation 1.

    >>> from tinytorch import Tensor
    >>> x = Tensor([[0.0, 1.0], [0.0, 1.0]])  # (T, hs)
    >>> output, weights = scaled_dot_product_attention(x, x, x, create_causal_mask(2))
    >>> weights.tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    _check_arguments(Q, K, V, dropout)
    if Q.shape[-1] != K.shape[-1] or K.shape[-2] != V.shape[-2]:
        raise ValueError(f"Q {Q.shape}, K {K.shape} and V {V.shape} have incompatible shapes")
    if mask is not None:
        check_mask(Q, K, mask)
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(max(1, Q.shape[-1])))
    return (weights if dropout is None else dropout(weights)) @ V, weights


def attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    dropout: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The output of `scaled_dot_product_attention`, with the same arguments, without the weights.

    A backend may compute it without materialising the weights (T, S).
    """
    if dropout is None or (type(dropout) is Dropout and not dropout._hooks):
        p, seed = dropout.draw() if dropout else (0.0, None)
        return fused_attention(Q, K, V, mask, p=p, seed=seed)
    return scaled_dot_product_attention(Q, K, V, mask, dropout)[0]


@composite(promote="float", keep=("mask",))
def fused_attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    *,
    p: float = 0.0,
    seed: Any = None,
) -> Tensor:
    """Attention with dropout of the weights: probability `p`, mask given by `seed`."""
    return scaled_dot_product_attention(Q, K, V, mask, lambda w: apply_dropout(w, p, seed))[0]


def _allocate(like: Tensor, max_seq_len: int) -> Array:
    """An array (B, nh, max_seq_len, hs) for keys or values `like` (B, nh, T, hs), unfilled."""
    B, nh, _, hs = like.shape
    return like.backend.xp.empty((B, nh, max_seq_len, hs), dtype=like.dtype)


def _write(cached: Array, where: slice, new: Tensor) -> Array:
    """Write `new` (B, nh, T, hs) to positions `where` of `cached` (B, nh, max_seq_len, hs).

    Returns:
        The same array, or a new one if the array library cannot write in place.
    """
    return new.backend.xp.index_set(cached, (slice(None), slice(None), where), new._array)


def _first(cached: Array, count: int, like: Tensor) -> Tensor:
    """A view of the first `count` positions of a cache: (B, nh, count, hs)."""
    xp = like.backend.xp
    return wrap_array(Tensor, xp.index(cached, (..., slice(count), slice(None))), like.backend)


class KVCache:
    """Cache of the keys and values of all tokens so far, so that each is computed once.

    Args:
        max_seq_len: capacity in tokens.
    """

    def __init__(self, max_seq_len: int) -> None:
        self.max_seq_len = max_seq_len
        self.length = 0
        self._keys: Array | None = None
        self._values: Array | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, nh, T, hs); return all of them, (B, nh, S, hs)."""
        start, end = self.length, self.length + keys.shape[2]
        if end > self.max_seq_len:
            raise ValueError(f"the cache holds at most {self.max_seq_len} tokens, got {end}")
        if keys.requires_grad:
            raise RuntimeError("no gradient flows through a cache: generate under no_grad()")
        if self._keys is None or self._values is None:
            self._keys = _allocate(keys, self.max_seq_len)
            self._values = _allocate(values, self.max_seq_len)
        if self._keys.shape[:2] != keys.shape[:2]:
            raise ValueError(
                f"the cache was created for (B, nh) = {self._keys.shape[:2]}, got {keys.shape[:2]}"
            )
        self._keys = _write(self._keys, slice(start, end), keys)
        self._values = _write(self._values, slice(start, end), values)
        self.length = end
        return _first(self._keys, end, keys), _first(self._values, end, keys)


def _check_tokens(x: Any, embed_dim: int) -> None:
    """Check that x is a tensor (B, T, embed_dim)."""
    if not isinstance(x, Tensor) or x.ndim != 3 or x.shape[2] != embed_dim:
        given = f"shape {x.shape}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"MultiHeadAttention takes a tensor (B, T, {embed_dim}), got {given}")


class MultiHeadAttention(Module):
    """Multi-head attention: nh attention heads in parallel, each of size hs = C / nh.

    Args:
        embed_dim: C, size of the token vectors.
        num_heads: nh, a divisor of C.
        dropout: dropout probability of the attention weights and of the output.
        bias: whether the projections have a bias.
        rotary: rotates queries and keys by their positions.
        num_kv_heads: nkv, the number of heads of keys and values, a divisor of nh, which it is by
            default; with fewer, each serves nh / nkv heads of queries (grouped-query attention).

    Source: A. Vaswani et al., "Attention Is All You Need" (2017), section 3.2.2.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        rotary: RotaryEmbedding | None = None,
        num_kv_heads: int | None = None,
        *,
        backend: str | Backend | None = None,
    ) -> None:
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads={num_heads} does not divide embed_dim={embed_dim}")
        nkv = num_heads if num_kv_heads is None else num_kv_heads
        if nkv < 1 or num_heads % nkv:
            raise ValueError(f"num_kv_heads={nkv} does not divide num_heads={num_heads}")
        self.embed_dim, self.num_heads, self.num_kv_heads = embed_dim, num_heads, nkv
        width = (num_heads + 2 * nkv) * (embed_dim // num_heads)  # 3 C if nkv is nh
        self.qkv = Linear(embed_dim, width, bias, backend=backend)
        self.proj = Linear(embed_dim, embed_dim, bias, backend=backend)
        self.weights_dropout, self.output_dropout = Dropout(dropout), Dropout(dropout)
        self.rotary = rotary

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """x (B, T, C) -> (B, T, C); with a cache, x continues the S - T cached tokens.

        The mask broadcasts to (B, nh, T, S), as in `scaled_dot_product_attention`. A mask (B, T, S)
        is one for each *head*, an error unless B is 1 or nh; one for each text is (B, 1, T, S).
        """
        return self.attend(x, mask, cache, need_weights=False)[0]

    def attend(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
        need_weights: bool = True,
    ) -> tuple[Tensor, Any]:
        """As `forward`, but return the output and the attention weights (B, nh, T, S) or None."""
        _check_tokens(x, self.embed_dim)
        past = cache.length if cache else 0
        # (B, nh, T, hs), and twice (B, nkv, T, hs)
        q, k, v = split_groups(self.qkv(x), self.num_heads, self.num_kv_heads)
        if self.rotary is not None:
            q, k = self.rotary(q, past), self.rotary(k, past)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, nkv, S, hs)
        k, v = repeat_heads(k, self.num_heads), repeat_heads(v, self.num_heads)  # (B, nh, S, hs)
        if need_weights:
            y, weights = scaled_dot_product_attention(q, k, v, mask, self.weights_dropout)
        else:
            y, weights = attention(q, k, v, mask, self.weights_dropout), None
        return self.output_dropout(self.proj(merge_heads(y))), weights
