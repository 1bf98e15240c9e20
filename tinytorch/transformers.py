"""Lesson 13: the transformer block, and GPT, a stack of them."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from .activations import GELU, SquaredReLU
from .attention import KVCache, MultiHeadAttention, create_causal_mask
from .backends import Backend
from .embeddings import ENCODINGS, EmbeddingLayer, RotaryEmbedding
from .generation.generate import generate
from .layers import Dropout, LayerNorm, Linear
from .nn.module import Module, Parameter
from .ops import random
from .tensor import Tensor

__all__ = ["GPT", "MLP", "GPTConfig", "LayerNorm", "TransformerBlock"]

ACTIVATIONS = {"gelu": GELU, "squared_relu": SquaredReLU}


class MLP(Module):
    """Two linear layers with an activation between: each token thinks for itself.

    Args:
        embed_dim: C.
        hidden_dim: size between the layers; 4 C without it.
        dropout: probability, after the second layer.
        bias: whether the layers have one.
        activation: "gelu" or "squared_relu".
    """

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        activation: str = "gelu",
        *,
        backend: str | Backend | None = None,
    ) -> None:
        hidden_dim = hidden_dim or 4 * embed_dim
        self.fc = Linear(embed_dim, hidden_dim, bias, backend=backend)
        self.activation = _choose("activation", ACTIVATIONS, activation)()
        self.proj = Linear(hidden_dim, embed_dim, bias, backend=backend)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.dropout(self.proj(self.activation(self.fc(x))))


class TransformerBlock(Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): the pre-norm block of GPT-2.

    Args:
        embed_dim: C.
        num_heads: nh, which divides C.
        mlp_ratio: hidden size of the MLP over C.
        dropout: probability.
        bias: whether linear layers and norms have one.
        rotary: turns queries and keys by their positions.
        activation: of the MLP.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
        bias: bool = True,
        rotary: RotaryEmbedding | None = None,
        activation: str = "gelu",
        *,
        backend: str | Backend | None = None,
    ) -> None:
        self.ln1 = LayerNorm(embed_dim, bias=bias, backend=backend)
        self.attention = MultiHeadAttention(
            embed_dim, num_heads, dropout, bias, rotary, backend=backend
        )
        self.ln2 = LayerNorm(embed_dim, bias=bias, backend=backend)
        self.mlp = MLP(embed_dim, mlp_ratio * embed_dim, dropout, bias, activation, backend=backend)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.attention(self.ln1(x), mask, cache)
        return x + self.mlp(self.ln2(x))


@dataclass(frozen=True)
class GPTConfig:
    """All that it takes to build a GPT again; see `GPT` for the meaning of each."""

    vocab_size: int
    embed_dim: int
    num_layers: int
    num_heads: int
    max_seq_len: int = 1024
    dropout: float = 0.0
    bias: bool = True
    tie_weights: bool = False
    positions: str = "learned"
    activation: str = "gelu"
    init: str = "gpt2"

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)


class GPT(Module):
    """A decoder-only transformer that predicts the next token.

    Args:
        vocab_size: V, number of tokens.
        embed_dim: C, width.
        num_layers: L, number of blocks.
        num_heads: nh, which divides C.
        max_seq_len: the longest context.
        dropout: probability, everywhere that GPT-2 has it.
        bias: whether linear layers and norms have one.
        tie_weights: whether the head uses the token embedding's table.
        positions: "learned", "sinusoidal" or "rotary".
        activation: "gelu" or "squared_relu".
        init: "gpt2" (normal 0.02, output projections smaller with depth), or "zero" (output
            projections and head start at zero, so that each block starts as the identity).

    Source: A. Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).

    >>> model = GPT(vocab_size=65, embed_dim=128, num_layers=4, num_heads=4, max_seq_len=64)
    >>> model(ids).shape          # ids (B, T)
    (B, T, 65)
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        num_layers: int,
        num_heads: int,
        max_seq_len: int = 1024,
        dropout: float = 0.0,
        bias: bool = True,
        tie_weights: bool = False,
        positions: str = "learned",
        activation: str = "gelu",
        init: str = "gpt2",
        *,
        backend: str | Backend | None = None,
    ) -> None:
        self.config = GPTConfig(
            vocab_size, embed_dim, num_layers, num_heads, max_seq_len, dropout, bias,
            tie_weights, positions, activation, init,
        )  # fmt: skip
        _choose("positions", {**ENCODINGS, "rotary": RotaryEmbedding}, positions)
        rotary = None
        if positions == "rotary":
            head_dim = embed_dim // max(1, num_heads)  # attention refuses a number below 1
            rotary = RotaryEmbedding(head_dim, max_seq_len, backend=backend)
        self.embedding = EmbeddingLayer(
            vocab_size, embed_dim, max_seq_len, None if rotary else positions, backend=backend
        )
        self.dropout = Dropout(dropout)
        self.blocks = [
            TransformerBlock(
                embed_dim, num_heads, 4, dropout, bias, rotary, activation, backend=backend
            )
            for _ in range(num_layers)
        ]
        self.ln_f = LayerNorm(embed_dim, bias=bias, backend=backend)
        self.head = Linear(embed_dim, vocab_size, bias=False, backend=backend)
        if tie_weights:
            self.head.weight = self.embedding.tokens.weight
        _choose("init", INITIALISATIONS, init)(self)

    @classmethod
    def from_config(cls, config: GPTConfig, backend: str | Backend | None = None) -> "GPT":
        """The model that `config` describes, with new weights."""
        return cls(**config.to_dict(), backend=backend)

    def forward(self, ids: Tensor, caches: list[KVCache] | None = None) -> Tensor:
        """Integer ids (B, T) or (T,) -> logits (B, T, V) or (T, V).

        Args:
            ids: token ids, at most `max_seq_len` of them with those in the caches.
            caches: one for each block; the ids follow the tokens that are in them.
        """
        if ids.ndim == 1:
            logits = self.forward(ids.reshape(1, -1), caches)
            return logits[0]
        T = ids.shape[1]
        past = caches[0].length if caches else 0
        if past + T > self.config.max_seq_len:
            raise ValueError(f"{past + T} tokens exceed max_seq_len={self.config.max_seq_len}")
        mask = create_causal_mask(T, past, ids.backend) if T > 1 else None  # one token sees all
        x = self.dropout(self.embedding(ids, past))  # (B, T, C)
        for index, block in enumerate(self.blocks):
            x = block(x, mask, caches[index] if caches else None)
        return self.head(self.ln_f(x))  # (B, T, V)

    def attention_weights(self, ids: Tensor) -> list[Tensor]:
        """Who looks at whom: for each block, the weights (B, nh, T, T) on ids (B, T)."""
        mask = create_causal_mask(ids.shape[1], backend=ids.backend)
        x, found = self.embedding(ids), []
        for block in self.blocks:
            found.append(block.attention.attend(block.ln1(x), mask)[1])
            x = block(x, mask)
        return found

    def new_caches(self) -> list[KVCache]:
        """Empty caches, one for each block."""
        return [KVCache(self.config.max_seq_len) for _ in range(self.config.num_layers)]

    def generate(self, ids: Any, max_new_tokens: int, **settings: Any) -> Any:
        """The ids with up to `max_new_tokens` more: see `tinytorch.generation.generate`."""
        return generate(self, ids, max_new_tokens, **settings)


def init_gpt2(model: GPT) -> None:
    """GPT-2's: normal with deviation 0.02, 0.02 / sqrt(2 L) where a block ends, no biases."""
    small = 0.02 / math.sqrt(2 * model.config.num_layers)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data = 0.0
        elif parameter.ndim == 2:
            std = small if name.endswith("proj.weight") else 0.02
            _set(parameter, random.normal(parameter.shape, std))


def init_zero(model: GPT) -> None:
    """Output projections and head at zero, the other matrices uniform with variance 1 / fan-in.

    A head that is tied to the embedding cannot be zero: the table is then normal with 0.02.

    Source: G. Yang et al., "Tensor Programs V" (2022), appendix D.2, on zero initialisation.
    """
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "proj.weight", "head.weight")):
            parameter.data = 0.0
        elif name.endswith("tokens.weight") and model.config.tie_weights:
            _set(parameter, random.normal(parameter.shape, 0.02))
        elif name.endswith(("qkv.weight", "fc.weight")):
            bound = math.sqrt(3 / parameter.shape[1])
            _set(parameter, random.uniform(parameter.shape, -bound, bound))


def _set(parameter: Parameter, values: Any) -> None:
    parameter.data = Tensor(values, backend=parameter.backend)


INITIALISATIONS = {"gpt2": init_gpt2, "zero": init_zero}


def _choose(what: str, table: dict[str, Any], name: str) -> Any:
    if name not in table:
        raise ValueError(f"{what} is one of {', '.join(table)}, not {name!r}")
    return table[name]
