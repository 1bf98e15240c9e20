"""What a backend needs to know of a GPT to compute its step for one new token by itself."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .base import NativeArray as Array


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
    """A decoder-only transformer, as arrays.

    Attributes:
        tokens: the embedding's table (V, C).
        scale: the token vectors are multiplied by it.
        positions: a table (T, C) that is added to them, or None.
        rotary: cosines and sines (T, hs/2) that turn queries and keys, or None.
        blocks: from the first to the last.
        norm: before the head.
        head: gives the logits.
        num_heads: nh.
        activation: "gelu" or "squared_relu".
    """

    tokens: Array
    scale: float
    positions: Array | None
    rotary: tuple[Array, Array] | None
    blocks: Sequence[BlockWeights]
    norm: NormWeights
    head: LinearWeights
    num_heads: int
    activation: str


# step(ids, caches, position) -> logits (B, V), for ids (B,) that stand at `position`, and for
# each block its keys and values (B, nh, T, hs), which hold what came before; it adds its own.
Step = Callable[[Any, Sequence[tuple[Array, Array]], int], Array]
