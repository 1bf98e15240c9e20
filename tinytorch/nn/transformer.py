"""PyTorch's transformer, of A. Vaswani et al., "Attention Is All You Need" (2017).

Lesson 13 builds the decoder-only form, `GPT`. As in `MultiheadAttention`, a boolean mask is True
where a key is *hidden*. The `is_causal` arguments are PyTorch's hints that a mask is causal, and
change nothing.
"""

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar

from ..arguments import ShapeError, check_flag, check_integer
from ..functions.creation import full
from ..functions.diagonals import triu
from ..modules.containers import ModuleList
from ..modules.module import Module
from ..tensor import Tensor
from . import functional as F  # noqa: N812
from .attention import MultiheadAttention
from .init import xavier_uniform_
from .layers import Dropout, Linear
from .normalization import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

Function = Callable[[Tensor], Tensor]
_ACTIVATIONS: dict[str, Function] = {"relu": F.relu, "gelu": F.gelu}


class _Layer(Module):
    """Attention blocks and a feed-forward block, each with a residual connection and a norm."""

    attentions: ClassVar[tuple[str, ...]]
    self_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    dropout1: Dropout
    dropout2: Dropout

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Function = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not callable(activation) and activation not in _ACTIVATIONS:
            raise ValueError(
                f'{name}: activation must be "relu", "gelu" or a function, got {activation!r}'
            )
        for attention in self.attentions:
            setattr(
                self, attention,
                MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first),
            )  # fmt: skip
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias)
        self.norm_first = check_flag(f"{name}: norm_first", norm_first)
        numbers = range(1, len(self.attentions) + 2)
        for i in numbers:
            setattr(self, f"norm{i}", LayerNorm(d_model, eps=layer_norm_eps, bias=bias))
        for i in numbers:
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = _ACTIVATIONS[activation] if isinstance(activation, str) else activation
        self.to(dtype=dtype, device=device)

    def _add(self, x: Tensor, norm: Module, block: Function) -> Tensor:
        """x + block(norm(x)) if `norm_first`, else norm(x + block(x))."""
        return x + block(norm(x)) if self.norm_first else norm(x + block(x))

    def _feed_forward(self, x: Tensor) -> Tensor:
        """(..., E) -> (..., E)."""
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward network, each added to its input and normalised.

    Args:
        d_model: E, size of the token vectors.
        nhead: number of heads, a divisor of E.
        dim_feedforward: size between the two linear layers.
        dropout: dropout probability of attention weights, activations and block outputs.
        activation: "relu", "gelu" or a function.
        layer_norm_eps: of the layer norms.
        batch_first: whether the input is (B, T, E) rather than (T, B, E).
        norm_first: whether blocks normalise their input (pre-norm) rather than the sum (post-norm).
        bias: whether linear layers and norms have a bias.

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import TransformerEncoderLayer
    >>> TransformerEncoderLayer(8, nhead=2, batch_first=True)(zeros(3, 5, 8)).shape
    (3, 5, 8)
    """

    attentions = ("self_attn",)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """src (T, B, E) -> (T, B, E); the masks are those of `MultiheadAttention`."""

        def attend(x: Tensor) -> Tensor:
            y = self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[
                0
            ]
            return self.dropout1(y)

        x = self._add(src, self.norm1, attend)
        return self._add(x, self.norm2, lambda x: self.dropout2(self._feed_forward(x)))


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the encoder's output, and a feed-forward network.

    Its arguments are those of `TransformerEncoderLayer`.
    """

    attentions = ("self_attn", "multihead_attn")
    multihead_attn: MultiheadAttention
    norm3: LayerNorm
    dropout3: Dropout

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """tgt (T, B, E) -> (T, B, E), with `memory` (S, B, E), the output of the encoder."""

        def attend(x: Tensor) -> Tensor:
            y = self.self_attn(
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal
            )[0]
            return self.dropout1(y)

        def attend_to_memory(x: Tensor) -> Tensor:
            y = self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask,
                is_causal=memory_is_causal,
            )[0]  # fmt: skip
            return self.dropout2(y)

        x = self._add(tgt, self.norm1, attend)
        x = self._add(x, self.norm2, attend_to_memory)
        return self._add(x, self.norm3, lambda x: self.dropout3(self._feed_forward(x)))


class _Stack(Module):
    """Copies of a layer one after the other, which begin with equal weights, and a norm."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        num_layers = check_integer(f"{type(self).__name__}: num_layers", num_layers)
        self.layers = ModuleList(copy.deepcopy(layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm


class TransformerEncoder(_Stack):
    """A stack of encoder layers.

    Args:
        encoder_layer: the layer to copy; all copies begin with its weights.
        num_layers: number of copies.
        norm: a module for the output, such as a LayerNorm.
        enable_nested_tensor, mask_check: accepted, without effect. PyTorch's nested tensors give 0
            for padded positions in evaluation; here they have values, as in training.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """src (T, B, E) -> (T, B, E); the masks are those of `MultiheadAttention`."""
        x = src
        for layer in self.layers:
            x = layer(
                x, src_mask=mask, src_key_padding_mask=src_key_padding_mask,
                is_causal=bool(is_causal),
            )  # fmt: skip
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(_Stack):
    """A stack of decoder layers.

    Args:
        decoder_layer: the layer to copy; all copies begin with its weights.
        num_layers: number of copies.
        norm: a module for the output, such as a LayerNorm.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """tgt (T, B, E) -> (T, B, E), with `memory` (S, B, E), the output of the encoder."""
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """Encoder and decoder, such as for translation.

    Args:
        d_model: E, size of the token vectors.
        nhead: number of heads, a divisor of E.
        num_encoder_layers, num_decoder_layers: numbers of layers.
        custom_encoder, custom_decoder: modules in place of `TransformerEncoder` and
            `TransformerDecoder`.

    The other arguments are those of `TransformerEncoderLayer`.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Function = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        settings = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias,
        )  # fmt: skip
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*settings),
            num_encoder_layers,
            LayerNorm(d_model, eps=layer_norm_eps, bias=bias),
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*settings),
            num_decoder_layers,
            LayerNorm(d_model, eps=layer_norm_eps, bias=bias),
        )
        for parameter in self.parameters():  # copies of a layer begin with different weights
            if parameter.ndim > 1:
                xavier_uniform_(parameter)
        self.to(dtype=dtype, device=device)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """src (S, B, E) and tgt (T, B, E) -> (T, B, E), with masks as of `MultiheadAttention`."""
        at = 0 if self.batch_first else 1
        if src.ndim != tgt.ndim or (src.ndim == 3 and src.shape[at] != tgt.shape[at]):
            raise ShapeError(
                f"Transformer: src {src.shape} and tgt {tgt.shape} must have the same batch size,"
                f" axis {at} with batch_first={self.batch_first}"
            )
        memory = self.encoder(
            src,
            mask=src_mask,
            src_key_padding_mask=src_key_padding_mask,
            is_causal=src_is_causal,
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """A causal mask (T, T) of floats: 0 where a key is visible, -inf where it is hidden.

        >>> from tinytorch.nn import Transformer
        >>> Transformer.generate_square_subsequent_mask(2)
        Tensor([[  0., -inf],
                [  0.,   0.]])
        """
        return triu(full((sz, sz), -math.inf, dtype=dtype, device=device), 1)
