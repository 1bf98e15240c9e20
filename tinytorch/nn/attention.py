"""PyTorch's attention: `scaled_dot_product_attention` and `MultiheadAttention`.

Both compute the attention of lesson 12, with other arguments and another meaning of masks.
"""

import math
from typing import Any

from ..arguments import DtypeError, ShapeError, check_flag, check_integer, check_number
from ..attention import fused_attention, merge_heads, split_heads
from ..attention import scaled_dot_product_attention as attention_with_weights
from ..autograd import wrap_array
from ..functions.creation import zeros
from ..layers import Linear, apply_dropout, linear
from ..modules.attention_mask import check_mask
from ..modules.module import Module, Parameter
from ..ops import random
from ..tensor import Tensor
from .init import xavier_uniform_

__all__ = ["MultiheadAttention", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query key^T scale) value, for queries (..., T, hs) -> (..., T, hv).

    Args:
        query: (..., T, hs).
        key: (..., S, hs).
        value: (..., S, hv).
        attn_mask: broadcasts to (..., T, S); boolean, True where a key is visible, or floats that
            are added to the scores. A query that sees no key has the output 0.
        dropout_p: dropout probability of the weights; it applies in evaluation mode too.
        is_causal: whether query i sees only the keys up to i; not together with a mask.
        scale: factor of the scores; 1 / sqrt(hs) by default.
        enable_gqa: whether key and value may have fewer heads (axis -3) than query, each for
            several heads of queries (grouped-query attention).

    >>> from tinytorch import ones
    >>> from tinytorch.nn.functional import scaled_dot_product_attention
    >>> q = ones(1, 2, 5, 4)  # (B, nh, T, hs)
    >>> scaled_dot_product_attention(q, q, q, is_causal=True).shape
    (1, 2, 5, 4)
    """
    name = "scaled_dot_product_attention"
    for what, given in (("query", query), ("key", key), ("value", value)):
        if not isinstance(given, Tensor):
            raise TypeError(f"{name}: {what} must be a tensor, not {type(given).__name__}")
        if given.ndim < 2:
            raise ShapeError(f"{name}: {what} needs at least two axes, got {given.shape}")
    p = float(check_number(f"{name}: dropout_p", dropout_p, 0, 1))
    if enable_gqa:
        key, value = (_repeat_heads(what, x, query) for what, x in (("key", key), ("value", value)))
    if is_causal:
        if attn_mask is not None:
            raise ValueError(f"{name} takes attn_mask or is_causal=True, not both")
        attn_mask = _causal_mask(query, key)
    elif attn_mask is not None:
        check_mask(query, key, attn_mask)
    if scale is not None:  # relative to that of fused_attention
        query = query * (scale * math.sqrt(max(1, query.shape[-1])))
    seed = random.next_seed() if 0 < p < 1 else None
    return fused_attention(query, key, value, attn_mask, p=p, seed=seed)


def _causal_mask(query: Tensor, key: Tensor) -> Tensor:
    """The mask (T, S), True where the number of a key is at most that of the query."""
    xp = query.backend.xp
    visible = xp.tril(xp.ones((query.shape[-2], key.shape[-2]), dtype=xp.bool))
    return wrap_array(Tensor, visible, query.backend)


def _repeat_heads(what: str, x: Tensor, query: Tensor) -> Tensor:
    """Repeat each head of x (..., nkv, S, hs) for a group of queries: (..., nh, S, hs)."""
    heads = query.shape[-3] if query.ndim > 2 else 0
    few = x.shape[-3] if x.ndim > 2 else 0
    if not few or heads % few:
        raise ShapeError(
            f"scaled_dot_product_attention: enable_gqa needs a number of heads of {what} {x.shape}"
            f" that divides that of query {query.shape}, on axis -3"
        )
    if few == heads:
        return x
    *lead, _, S, hs = x.shape
    x = x.unsqueeze(-3).expand(*lead, few, heads // few, S, hs)
    return x.reshape(*lead, heads, S, hs)


class NonDynamicallyQuantizableLinear(Linear):
    """A Linear; PyTorch prints the output projection of `MultiheadAttention` under this name."""


class MultiheadAttention(Module):
    """Multi-head attention with PyTorch's arguments, masks and names of weights.

    Lesson 12 builds the same as `tinytorch.MultiHeadAttention`, for self-attention. Here, a boolean
    mask is True where a key is *hidden*.

    Args:
        embed_dim: E, size of queries and outputs.
        num_heads: nh, a divisor of E.
        dropout: dropout probability of the attention weights.
        bias: whether the projections have a bias.
        add_bias_kv, add_zero_attn: must be False; not supported.
        kdim: size of the keys, E by default.
        vdim: size of the values, E by default.
        batch_first: whether the inputs are (B, T, E) rather than (T, B, E).

    >>> from tinytorch import ones
    >>> from tinytorch.nn import MultiheadAttention
    >>> x = ones(2, 5, 8)  # (B, T, E)
    >>> y, weights = MultiheadAttention(8, 2, batch_first=True)(x, x, x)
    >>> y.shape, weights.shape
    ((2, 5, 8), (2, 5, 5))
    """

    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        E = check_integer("MultiheadAttention: embed_dim", embed_dim, 1)
        if check_integer("MultiheadAttention: num_heads", num_heads, 1) and E % num_heads:
            raise ValueError(
                f"MultiheadAttention: num_heads={num_heads} does not divide embed_dim={embed_dim}"
            )
        if add_bias_kv or add_zero_attn:
            raise ValueError(
                "MultiheadAttention: add_bias_kv and add_zero_attn are not supported; leave them"
                " False"
            )
        self.embed_dim, self.num_heads, self.head_dim = E, num_heads, E // num_heads
        self.dropout = float(check_number("MultiheadAttention: dropout", dropout, 0, 1))
        self.batch_first = check_flag("MultiheadAttention: batch_first", batch_first)
        self.kdim, self.vdim = kdim or E, vdim or E
        self._same = self.kdim == self.vdim == E  # one matrix for all three projections
        self.in_proj_weight = _matrix(3 * E, E) if self._same else None
        for name, size in (("q", E), ("k", self.kdim), ("v", self.vdim)):
            weight = None if self._same else _matrix(E, size)
            setattr(self, f"{name}_proj_weight", weight)
        self.in_proj_bias = Parameter([0.0] * (3 * E)) if bias else None
        self.out_proj = NonDynamicallyQuantizableLinear(E, E, bias=bias)
        if self.out_proj.bias is not None:
            self.out_proj.bias.data = 0.0
        self.to(dtype=dtype, device=device)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> Any:
        """The output (T, B, E), and the attention weights (B, T, S) or None.

        Args:
            query: (T, B, E); (B, T, E) with `batch_first`; or (T, E) without a batch.
            key: (S, B, kdim), or as query.
            value: (S, B, vdim), or as query.
            key_padding_mask: (B, S), for keys that no query sees.
            need_weights: whether to return the weights, before dropout. False is faster.
            attn_mask: (T, S) or (B nh, T, S). Both masks are boolean, True where a key is hidden,
                or floats that are added to the scores. The output is 0 for a query that sees no
                key, where PyTorch has NaN if the weights are needed.
            average_attn_weights: whether to average the weights over the heads; otherwise they are
                (B, nh, T, S).
            is_causal: PyTorch's hint that `attn_mask` is causal, which is then needed.
        """
        self._check_inputs(query, key, value)
        if is_causal and attn_mask is None:
            raise ValueError(
                "MultiheadAttention: is_causal=True needs attn_mask, as of"
                " nn.Transformer.generate_square_subsequent_mask(T)"
            )
        batched = query.ndim == 3
        q, k, v = self._heads(query, key, value, batched)
        mask = self._mask(attn_mask, key_padding_mask, q, k)
        p = self.dropout if self.training else 0.0
        seed = random.next_seed() if 0 < p < 1 else None
        weights = None
        if need_weights:
            y, weights = attention_with_weights(q, k, v, mask, lambda w: apply_dropout(w, p, seed))
            weights = weights.mean(axis=1) if average_attn_weights else weights
        else:
            y = fused_attention(q, k, v, mask, p=p, seed=seed)
        y = self.out_proj(merge_heads(y))  # (B, T, E)
        if not batched:
            return y.squeeze(0), weights if weights is None else weights.squeeze(0)
        return y if self.batch_first else y.transpose(0, 1), weights

    def _heads(self, query: Tensor, key: Tensor, value: Tensor, batched: bool) -> tuple[Any, ...]:
        """The queries (B, nh, T, hs), keys and values (B, nh, S, hs) of each head."""

        def rows(x: Tensor) -> Tensor:  # (B, T, size)
            if not batched:
                return x.unsqueeze(0)
            return x if self.batch_first else x.transpose(0, 1)

        if self.in_proj_weight is not None and query is key and key is value:
            qkv = linear(rows(query), self.in_proj_weight, self.in_proj_bias)  # (B, T, 3 E)
            heads: Any = split_heads(qkv, num_heads=self.num_heads)
            return tuple(heads)
        E = self.embed_dim
        if self.in_proj_weight is not None:
            matrices: Any = self.in_proj_weight.split(E)
        else:
            matrices = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.split(E)
        projected = []
        for x, matrix, bias in zip((query, key, value), matrices, biases, strict=True):
            y = linear(rows(x), matrix, bias)  # (B, T, E)
            y = y.reshape(*y.shape[:2], self.num_heads, self.head_dim)
            projected.append(y.transpose(1, 2))  # (B, nh, T, hs)
        return tuple(projected)

    def _mask(self, attn_mask: Any, padding: Any, q: Tensor, k: Tensor) -> Tensor | None:
        """One mask for lesson 12's attention, which is True where a key is *visible*."""
        B, nh, T, _ = q.shape
        S = k.shape[2]
        masks: list[Tensor] = []
        if attn_mask is not None:
            _check_mask("attn_mask", attn_mask, [(T, S), (B * nh, T, S)])
            masks.append(attn_mask if attn_mask.ndim == 2 else attn_mask.reshape(B, nh, T, S))
        if padding is not None:
            _check_mask("key_padding_mask", padding, [(B, S)] if B > 1 else [(B, S), (S,)])
            masks.append(padding.reshape(B, 1, 1, S))
        if not masks:
            return None
        if all(mask.dtype == mask.backend.xp.bool for mask in masks):
            visible = ~masks[0]
            return visible if len(masks) == 1 else visible & ~masks[1]
        added = [_added(mask, q.dtype) for mask in masks]
        return added[0] if len(added) == 1 else added[0] + added[1]

    def _check_inputs(self, query: Any, key: Any, value: Any) -> None:
        name, sizes = "MultiheadAttention", (self.embed_dim, self.kdim, self.vdim)
        for what, x, size in zip(
            ("query", "key", "value"), (query, key, value), sizes, strict=True
        ):
            if not isinstance(x, Tensor):
                raise TypeError(f"{name}: {what} must be a tensor, not {type(x).__name__}")
            if x.ndim not in (2, 3) or x.ndim != query.ndim or x.shape[-1] != size:
                axes = f"(B, T, {size})" if self.batch_first else f"(T, B, {size})"
                raise ShapeError(
                    f"{name}: {what} must have the shape {axes}, or (T, {size}) without a batch,"
                    f" got {x.shape}"
                )
        at = 0 if self.batch_first else 1
        batches = {x.shape[at] for x in (query, key, value)} if query.ndim == 3 else {1}
        if key.shape[:-1] != value.shape[:-1] or len(batches) > 1:
            raise ShapeError(
                f"{name}: key {key.shape} and value {value.shape} must have the same length, and"
                f" the same batch as query {query.shape}"
            )


def _matrix(rows: int, columns: int) -> Parameter:
    """The initial matrix of a projection."""
    weight = Parameter(zeros(rows, columns))
    xavier_uniform_(weight)
    return weight


def _check_mask(what: str, mask: Any, shapes: list[tuple[int, ...]]) -> None:
    name = f"MultiheadAttention: {what}"
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(mask).__name__}")
    if mask.dtype != mask.backend.xp.bool and not mask.is_floating_point():
        raise DtypeError(
            f"{name} must be boolean, True where a key is hidden, or floating, got {mask.dtype};"
            " convert 0 and 1 with mask == 1"
        )
    if mask.shape not in shapes:
        needed = " or ".join(map(str, shapes))
        raise ShapeError(f"{name} must have the shape {needed}, got {mask.shape}")


def _added(mask: Tensor, dtype: Any) -> Tensor:
    """A mask as floats that are added to the scores: -inf where a boolean one is True."""
    if mask.is_floating_point():
        return mask
    xp, hidden = mask.backend.xp, mask._array
    visible = xp.zeros(hidden.shape, dtype=dtype)
    added = xp.where(hidden, xp.full_like(visible, -math.inf), visible)
    return wrap_array(Tensor, added, mask.backend)
