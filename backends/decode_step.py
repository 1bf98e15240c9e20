"""The interface of a fused decode step: from a GPT's weights to the logits of one new token."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .base import NativeArray as Array


class NotFusableError(ValueError):
    """A model cannot use the fused step, but must run its own forward; the message says why."""


class NormWeights(NamedTuple):
    """A LayerNorm: weight and bias (C,)."""

    weight: Array
    bias: Array | None
    eps: float


class LinearWeights(NamedTuple):
    """A linear layer: weight (out, in) and bias (out,)."""

    weight: Array
    bias: Array | None


class BlockWeights(NamedTuple):
    """A transformer block: x + proj(attention(qkv(norm1(x)))), then x + out(act(fc(norm2(x))))."""

    norm1: NormWeights
    qkv: LinearWeights
    proj: LinearWeights
    norm2: NormWeights
    fc: LinearWeights
    out: LinearWeights


class GPTWeights(NamedTuple):
    """The arrays and settings of a decoder-only transformer.

    Attributes:
        tokens: the token embedding (V, C).
        scale: factor applied to the token vectors.
        positions: table (T, C) that is added to the token vectors, or None.
        rotary: cosines and sines (T, hs/2) that rotate queries and keys, or None.
        blocks: the transformer blocks, from first to last.
        norm: the final norm.
        head: the output projection (V, C).
        num_heads: nh.
        activation: the MLP's elementwise activation, a function of one array.
        activation_name: its op, "gelu" or "squared_relu".
    """

    tokens: Array
    scale: float
    positions: Array | None
    rotary: tuple[Array, Array] | None
    blocks: Sequence[BlockWeights]
    norm: NormWeights
    head: LinearWeights
    num_heads: int
    activation: Callable[[Array], Array]
    activation_name: str


# step(ids, caches, position) -> logits (B, V). It takes the ids (B,) at `position` and, for each
# block, the cached keys and values (B, nh, T, hs), and writes those of the new token to the caches.
DecodeStep = Callable[[Any, Sequence[tuple[Array, Array]], int], Array]
