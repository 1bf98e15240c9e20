"""The interfaces of a fused decode step, which computes a GPT's logits for one new token, and of a
decoder, which repeats the step on the device."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from .base import NativeArray as Array
from .base import NumpyArray


class NotFusableError(ValueError):
    """A model cannot use the fused step, but must run its own forward; the message says why."""


class NormWeights(NamedTuple):
    """A LayerNorm, or an RMSNorm, which is not centred: weight and bias (C,)."""

    weight: Array
    bias: Array | None
    eps: float
    centred: bool = True


class LinearWeights(NamedTuple):
    """A linear layer: weight (out, in) and bias (out,).

    With a scale (out,), the weight holds int8, and ``scale[:, None] * weight`` is meant.
    """

    weight: Array
    bias: Array | None
    scale: Array | None = None


class BlockWeights(NamedTuple):
    """A transformer block: x + proj(attention(qkv(norm1(x)))), then x + out(act(fc(norm2(x)))).

    With a gate, the hidden layer is act(gate(norm2(x))) * fc(norm2(x)).
    """

    norm1: NormWeights
    qkv: LinearWeights
    proj: LinearWeights
    norm2: NormWeights
    fc: LinearWeights
    out: LinearWeights
    gate: LinearWeights | None = None


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
        num_kv_heads: nkv, heads of keys and values, each for nh / nkv heads of queries.
        activation: the MLP's elementwise activation, a function of one array.
        activation_name: its op, "gelu", "squared_relu" or "silu".
        tokens_scale: (V,), if the token embedding holds int8: the scale of each vector.
    """

    tokens: Array
    scale: float
    positions: Array | None
    rotary: tuple[Array, Array] | None
    blocks: Sequence[BlockWeights]
    norm: NormWeights
    head: LinearWeights
    num_heads: int
    num_kv_heads: int
    activation: Callable[[Array], Array]
    activation_name: str
    tokens_scale: Array | None = None

    @property
    def head_dim(self) -> int:
        """hs, the size of a head."""
        size: int = len(self.blocks[0].qkv.weight) // (self.num_heads + 2 * self.num_kv_heads)
        return size


# step(ids, caches, position) -> logits (B, V). It takes the ids (B,) at `position` and, for each
# block, the cached keys and values (B, nkv, T, hs), to which it writes those of the new token.
DecodeStep = Callable[[Any, Sequence[tuple[Array, Array]], int], Array]


class Choice(NamedTuple):
    """The settings of `generate.sample`; a temperature of 0 selects the most likely token."""

    temperature: float
    top_k: int | None
    top_p: float | None


class Decoder(Protocol):
    """Decodes and samples tokens of B texts; the host waits only for the last of several.

    It belongs to the caches that it was created for.

    Attributes:
        capacity: the maximum number of tokens in one call.
    """

    capacity: int

    def write(
        self, ids: NumpyArray, position: int, count: int, uniforms: NumpyArray | None
    ) -> NumpyArray:
        """Sample the `count` tokens that follow the ids (B,) at `position`.

        Args:
            ids: the last tokens of the texts; the caches have the keys and values of those before.
            position: of these ids; position + count is at most the capacity of the caches.
            count: number of tokens.
            uniforms: (count, B) in [0, 1); None for a temperature of 0.

        Returns:
            integers (count, B); -1 if the logits of a row are NaN or all -inf, and then any tokens.
        """
        ...
