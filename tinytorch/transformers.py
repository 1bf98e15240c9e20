"""Lesson 13: the transformer block and GPT, a decoder-only transformer."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

from .activations import GELU, SquaredReLU
from .arguments import check_flag, check_integer
from .attention import KVCache, MultiHeadAttention, create_causal_mask
from .backends import Backend
from .embeddings import ENCODINGS, EmbeddingLayer, RotaryEmbedding
from .generation.generate import generate
from .layers import Dropout, LayerNorm, Linear
from .modules.containers import ModuleList
from .modules.exact_gelu import ExactGELU
from .modules.module import Module
from .ops import random
from .tensor import Tensor

__all__ = ["GPT", "MLP", "GPTConfig", "LayerNorm", "TransformerBlock"]

ACTIVATIONS = {"gelu": GELU, "gelu_erf": ExactGELU, "squared_relu": SquaredReLU}


class MLP(Module):
    """Feed-forward network of a block, applied to each token: linear, activation, linear, dropout.

    Args:
        embed_dim: C, size of the token vectors.
        hidden_dim: size between the layers; 4 C by default.
        dropout: dropout probability of the output.
        bias: whether the linear layers have a bias.
        activation: a key of `ACTIVATIONS`: "gelu", "gelu_erf" or "squared_relu".
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
        """x (..., C) -> (..., C)."""
        return self.dropout(self.proj(self.activation(self.fc(x))))


class TransformerBlock(Module):
    """Pre-norm transformer block of GPT-2: x += attention(norm(x)), then x += mlp(norm(x)).

    Args:
        embed_dim: C, size of the token vectors.
        num_heads: nh, a divisor of C.
        mlp_ratio: hidden size of the MLP divided by C.
        dropout: dropout probability.
        bias: whether linear layers and layer norms have a bias.
        rotary: positional encoding of queries and keys, or None.
        activation: activation of the MLP, a key of `ACTIVATIONS`.
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
        """x (B, T, C) -> (B, T, C); with a cache, x continues the cached tokens."""
        x = x + self.attention(self.ln1(x), mask, cache)
        return x + self.mlp(self.ln2(x))


@dataclass(frozen=True)
class GPTConfig:
    """The arguments of `GPT`, for saving and rebuilding a model.

    Args:
        vocab_size: V, number of tokens.
        embed_dim: C, size of the token vectors.
        num_layers: L, number of blocks.
        num_heads: nh, a divisor of C.
        max_seq_len: maximum context length.
        dropout: dropout probability, in the places where GPT-2 has dropout.
        bias: whether linear layers and layer norms have a bias.
        tie_weights: whether the head shares its weight with the token embedding.
        positions: "learned", "sinusoidal" or "rotary".
        activation: a key of `ACTIVATIONS`: "gelu", "gelu_erf" or "squared_relu".
        init: a key of `INITIALISATIONS`: "gpt2" (`init_gpt2`) or "zero" (`init_zero`).
    """

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

    def __post_init__(self) -> None:
        """Check the sizes; `MultiHeadAttention` checks num_heads."""
        for name in ("vocab_size", "embed_dim", "num_layers", "max_seq_len"):
            check_integer(f"GPT: {name}", getattr(self, name), 1)
        for name in ("bias", "tie_weights"):
            check_flag(f"GPT: {name}", getattr(self, name))

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dictionary that can be saved as JSON."""
        return asdict(self)


class GPTBase(Module):
    """The modules of a `GPT`, with initialised weights. Arguments as for `GPTConfig`."""

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
        initialise = _choose("init", INITIALISATIONS, init)
        with random.undrawn():  # `initialise` draws
            rotary = None
            if positions == "rotary":
                head_dim = embed_dim // max(1, num_heads)  # MultiHeadAttention checks num_heads
                rotary = RotaryEmbedding(head_dim, max_seq_len, backend=backend)
            self.embedding = EmbeddingLayer(
                vocab_size, embed_dim, max_seq_len, None if rotary else positions, backend=backend
            )
            self.dropout = Dropout(dropout)
            self.blocks = ModuleList(
                TransformerBlock(
                    embed_dim, num_heads, 4, dropout, bias, rotary, activation, backend=backend
                )
                for _ in range(num_layers)
            )
            self.ln_f = LayerNorm(embed_dim, bias=bias, backend=backend)
            self.head = Linear(embed_dim, vocab_size, bias=False, backend=backend)
            if tie_weights:
                self.head.weight = self.embedding.tokens.weight
        if not random.is_undrawn():
            initialise(self)

    @classmethod
    def from_config(cls, config: GPTConfig, backend: str | Backend | None = None) -> Self:
        """A model with the arguments in `config` and newly initialised weights."""
        return cls(**config.to_dict(), backend=backend)

    def attention_weights(self, ids: Tensor) -> list[Tensor]:
        """The attention weights (B, nh, T, T) of each block, for ids (B, T)."""
        if not isinstance(ids, Tensor) or ids.ndim != 2:
            raise ValueError("attention_weights needs a tensor of ids (B, T)")
        mask = create_causal_mask(ids.shape[1], backend=ids.backend)
        x, weights = self.embedding(ids), []
        for block in self.blocks:
            weights.append(block.attention.attend(block.ln1(x), mask)[1])
            x = block(x, mask)
        return weights


class GPT(GPTBase):
    """Decoder-only transformer that predicts the next token. Arguments as for `GPTConfig`.

    Source: A. Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).

    >>> from tinytorch import GPT, Tensor
    >>> model = GPT(vocab_size=65, embed_dim=32, num_layers=2, num_heads=4, max_seq_len=64)
    >>> model(Tensor([[1, 2, 3]])).shape
    (1, 3, 65)
    """

    def forward(self, ids: Tensor, caches: list[KVCache] | None = None) -> Tensor:
        """Integer ids (B, T) or (T,) -> logits (B, T, V) or (T, V).

        Args:
            ids: token ids; together with the tokens in the caches at most `max_seq_len`.
            caches: one for each block, with the keys and values of the preceding tokens.

        Raises:
            ValueError: more than `max_seq_len` tokens.
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

    def new_caches(self) -> list[KVCache]:
        """Empty caches, one for each block."""
        return [KVCache(self.config.max_seq_len) for _ in range(self.config.num_layers)]

    def generate(self, ids: Any, max_new_tokens: int, **settings: Any) -> Any:
        """Append up to `max_new_tokens` tokens to ids; see `generation.generate.generate`."""
        return generate(self, ids, max_new_tokens, **settings)


def init_gpt2(model: GPT) -> None:
    """GPT-2's initialisation: zero biases, and matrices from a normal distribution.

    The standard deviation is 0.02, or 0.02 / sqrt(2 L) for the output projections of the blocks.
    """
    small = 0.02 / math.sqrt(2 * model.config.num_layers)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data = 0.0
        elif parameter.ndim == 2:
            std = small if name.endswith("proj.weight") else 0.02
            parameter.data = random.normal(parameter.shape, std)


def init_zero(model: GPT) -> None:
    """Zero output projections and head, so that each block starts as the identity.

    The other matrices are uniform with variance 1 / fan-in. Token vectors are standard normal; a
    head that is tied to them cannot be zero, and their standard deviation is then 0.02, as it is
    for learned positions.

    Source: G. Yang et al., "Tensor Programs V" (2022), appendix D.2, on zero initialisation.
    """
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "proj.weight", "head.weight")):
            parameter.data = 0.0
        elif name.endswith("tokens.weight"):
            deviation = 0.02 if model.config.tie_weights else 1.0
            parameter.data = random.normal(parameter.shape, deviation)
        elif name.endswith("positions.weight"):
            parameter.data = random.normal(parameter.shape, 0.02)
        elif name.endswith(("qkv.weight", "fc.weight")):
            bound = math.sqrt(3 / parameter.shape[1])
            parameter.data = random.uniform(parameter.shape, -bound, bound)


INITIALISATIONS = {"gpt2": init_gpt2, "zero": init_zero}


def _choose(what: str, table: dict[str, Any], name: str) -> Any:
    if name not in table:
        raise ValueError(f"{what} must be one of {', '.join(table)}, not {name!r}")
    return table[name]
