"""Llama: a `GPT` with root-mean-square norms, gated MLPs, rotary positions and grouped queries."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from ..arguments import check_flag, check_integer, check_number, shown
from ..attention import MultiHeadAttention
from ..backends import Backend
from ..embeddings import EmbeddingLayer, RotaryEmbedding
from ..layers import Dropout, Linear
from ..modules.containers import ModuleList
from ..modules.module import Module
from ..nn.normalization import RMSNorm
from ..ops import random
from ..ops.activations import swiglu
from ..tensor import Tensor
from ..transformers import GPT, TransformerBlock
from .rope import RopeScaling, ScaledRotaryEmbedding


@dataclass(frozen=True)
class LlamaConfig:
    """The arguments of `Llama`, for saving and rebuilding a model.

    Args:
        vocab_size: V, number of tokens.
        embed_dim: C, size of the token vectors.
        num_layers: L, number of blocks.
        num_heads: nh, heads of queries, a divisor of C.
        num_kv_heads: nkv, heads of keys and values, a divisor of nh.
        hidden_dim: size of the MLP's hidden layer, often 8/3 C.
        max_seq_len: maximum context length.
        rope_base: base of the angles of rotary positions, see `RotaryEmbedding`.
        norm_eps: added to the mean squares of the norms.
        tie_weights: whether the head shares its weight with the token embedding.
        rope_scaling: how the angles were slowed down for a longer context; a `RopeScaling`, or a
            dictionary of its arguments.
        head_dim: size of a head; by default C / nh.

    Attributes:
        hs: the size of a head, whether given or not.

    >>> from dataclasses import replace
    >>> config = LlamaConfig(20, 16, 1, 4, 2, 32)
    >>> config.hs, replace(config, num_heads=2).hs
    (4, 8)
    """

    vocab_size: int
    embed_dim: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    hidden_dim: int
    max_seq_len: int = 2048
    rope_base: float = 10000.0
    norm_eps: float = 1e-5
    tie_weights: bool = False
    rope_scaling: RopeScaling | None = None
    head_dim: int | None = None

    def __post_init__(self) -> None:
        """Check the sizes."""
        for name in ("vocab_size", "embed_dim", "num_layers", "num_heads", "num_kv_heads",
                     "hidden_dim", "max_seq_len"):  # fmt: skip
            check_integer(f"Llama: {name}", getattr(self, name), 1)
        check_number("Llama: rope_base", self.rope_base, 1)
        check_number("Llama: norm_eps", self.norm_eps, 0)
        check_flag("Llama: tie_weights", self.tie_weights)
        scaling: Any = self.rope_scaling
        if isinstance(scaling, Mapping):  # from JSON
            object.__setattr__(self, "rope_scaling", RopeScaling(**scaling))
        elif not isinstance(scaling, RopeScaling | None):
            raise TypeError(f"Llama: rope_scaling must be a RopeScaling, not {shown(scaling)}")
        for part, whole in (("num_heads", "embed_dim"), ("num_kv_heads", "num_heads")):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"Llama: {part}={getattr(self, part)} does not divide"
                    f" {whole}={getattr(self, whole)}"
                )
        if self.head_dim is not None:
            number = check_integer("Llama: head_dim", self.head_dim, 1)
            object.__setattr__(self, "head_dim", number)

    @property
    def hs(self) -> int:
        """The size of a head."""
        return self.embed_dim // self.num_heads if self.head_dim is None else self.head_dim

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dictionary that can be saved as JSON."""
        return asdict(self)


def _rotary(config: LlamaConfig, backend: str | Backend | None) -> RotaryEmbedding:
    sizes = config.hs, config.max_seq_len, config.rope_base
    if config.rope_scaling is None:
        return RotaryEmbedding(*sizes, backend=backend)
    return ScaledRotaryEmbedding(*sizes, scaling=config.rope_scaling, backend=backend)


def _attention(
    config: LlamaConfig, rotary: RotaryEmbedding, backend: str | Backend | None
) -> MultiHeadAttention:
    """Grouped-query attention; its heads together may be wider or narrower than C."""
    C, width = config.embed_dim, config.num_heads * config.hs
    attention = MultiHeadAttention(
        width, config.num_heads, 0.0, False, rotary, config.num_kv_heads, backend=backend
    )
    if width != C:
        attention.embed_dim = C
        attention.qkv = Linear(C, attention.qkv.out_features, bias=False, backend=backend)
        attention.proj = Linear(width, C, bias=False, backend=backend)
    return attention


class GatedMLP(Module):
    """Feed-forward network whose hidden layer is gated (SwiGLU): down(silu(gate(x)) * up(x)).

    Args:
        embed_dim: C, size of the token vectors.
        hidden_dim: size of the hidden layer.

    Source: N. Shazeer, "GLU Variants Improve Transformer" (2020), equation 6.
    """

    def __init__(
        self, embed_dim: int, hidden_dim: int, *, backend: str | Backend | None = None
    ) -> None:
        self.gate = Linear(embed_dim, hidden_dim, bias=False, backend=backend)
        self.up = Linear(embed_dim, hidden_dim, bias=False, backend=backend)
        self.down = Linear(hidden_dim, embed_dim, bias=False, backend=backend)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C)."""
        return self.down(swiglu(self.gate(x), self.up(x)))


class LlamaBlock(TransformerBlock):
    """A `TransformerBlock` of other parts: `RMSNorm`, grouped-query attention, `GatedMLP`.

    Args:
        config: the sizes.
        rotary: positional encoding of queries and keys.
    """

    ln1: RMSNorm  # type: ignore[assignment]
    ln2: RMSNorm  # type: ignore[assignment]
    mlp: GatedMLP  # type: ignore[assignment]

    def __init__(
        self,
        config: LlamaConfig,
        rotary: RotaryEmbedding,
        *,
        backend: str | Backend | None = None,
    ) -> None:
        C, eps = config.embed_dim, config.norm_eps
        self.ln1 = RMSNorm(C, eps, device=backend)
        self.attention = _attention(config, rotary, backend)
        self.ln2 = RMSNorm(C, eps, device=backend)
        self.mlp = GatedMLP(C, config.hidden_dim, backend=backend)


class Llama(GPT):
    """Decoder-only transformer of the Llama family. Arguments as for `LlamaConfig`.

    It computes as `GPT` does, with other blocks: the code of lessons 12 and 13 runs it.

    Source: H. Touvron et al., "LLaMA: Open and Efficient Foundation Language Models" (2023),
    section 2.2; for grouped queries "Llama 2" (2023), section 2.2.

    >>> from tinytorch import Tensor
    >>> from tinytorch.models import Llama
    >>> model = Llama(65, 32, num_layers=2, num_heads=4, num_kv_heads=2, hidden_dim=96)
    >>> model(Tensor([[1, 2, 3]])).shape
    (1, 3, 65)
    """

    config: LlamaConfig  # type: ignore[assignment]

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        num_layers: int,
        num_heads: int,
        num_kv_heads: int,
        hidden_dim: int,
        max_seq_len: int = 2048,
        rope_base: float = 10000.0,
        norm_eps: float = 1e-5,
        tie_weights: bool = False,
        rope_scaling: RopeScaling | None = None,
        head_dim: int | None = None,
        *,
        backend: str | Backend | None = None,
    ) -> None:
        self.config = config = LlamaConfig(
            vocab_size, embed_dim, num_layers, num_heads, num_kv_heads, hidden_dim, max_seq_len,
            rope_base, norm_eps, tie_weights, rope_scaling, head_dim,
        )  # fmt: skip
        with random.undrawn():  # `_initialise` draws
            rotary = _rotary(config, backend)
            self.embedding = EmbeddingLayer(
                vocab_size, embed_dim, max_seq_len, None, backend=backend
            )
            self.dropout = Dropout(0.0)
            self.blocks = ModuleList(
                LlamaBlock(config, rotary, backend=backend) for _ in range(num_layers)
            )
            self.ln_f = RMSNorm(embed_dim, norm_eps, device=backend)  # type: ignore[assignment]
            self.head = Linear(embed_dim, vocab_size, bias=False, backend=backend)
            if tie_weights:
                self.head.weight = self.embedding.tokens.weight
        if not random.is_undrawn():
            self._initialise()

    def _initialise(self) -> None:
        """Draw all matrices from a normal distribution with standard deviation 0.02."""
        for parameter in self.parameters():
            if parameter.ndim == 2:
                parameter.data = random.normal(parameter.shape, 0.02)

    @classmethod
    def from_config(  # type: ignore[override]
        cls, config: LlamaConfig, backend: str | Backend | None = None
    ) -> Self:
        """A model with the arguments in `config` and newly initialised weights."""
        return cls(**config.to_dict(), backend=backend)
