"""Mixed precision: transformer blocks that compute in bfloat16 between their products."""

from typing import Any, TypeVar

from ..activations import gelu, squared_relu
from ..attention import KVCache, fused_attention, merge_heads, split_heads
from ..backends.decode_step import NotFusableError
from ..embeddings import rotary
from ..generation.gpt_weights import LAYERS, check_layer
from ..layers import apply_dropout, layer_norm, linear
from ..modules.module import Module
from ..ops.op import composite
from ..tensor import Tensor
from ..transformers import ACTIVATIONS, TransformerBlock

M = TypeVar("M", bound=Module)
Mask = tuple[float, Any]  # probability and seed of a dropout

OPS = {"gelu": gelu, "squared_relu": squared_relu}


@composite
def residual_attention(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor | None,
    qkv_weight: Tensor,
    qkv_bias: Tensor | None,
    proj_weight: Tensor,
    proj_bias: Tensor | None,
    mask: Tensor | None = None,
    cos: Tensor | None = None,
    sin: Tensor | None = None,
    *,
    eps: float,
    num_heads: int,
    weights_dropout: Mask,
    output_dropout: Mask,
) -> Tensor:
    """x + attention(norm(x)), the first half of a `TransformerBlock`: x (B, T, C) -> (B, T, C).

    cos and sin (T, hs / 2) rotate queries and keys.
    """
    h = layer_norm(x, norm_weight, norm_bias, eps=eps)
    q, k, v = split_heads(linear(h, qkv_weight, qkv_bias), num_heads=num_heads)  # (B, nh, T, hs)
    if cos is not None:
        q, k = rotary(q, cos, sin), rotary(k, cos, sin)
    p, seed = weights_dropout
    y = merge_heads(fused_attention(q, k, v, mask, p=p, seed=seed))  # (B, T, C)
    return x + apply_dropout(linear(y, proj_weight, proj_bias), *output_dropout)


@composite
def residual_mlp(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor | None,
    fc_weight: Tensor,
    fc_bias: Tensor | None,
    proj_weight: Tensor,
    proj_bias: Tensor | None,
    *,
    eps: float,
    activation: str,
    dropout: Mask,
) -> Tensor:
    """x + mlp(norm(x)), the second half of a `TransformerBlock`: x (..., C) -> (..., C)."""
    h = layer_norm(x, norm_weight, norm_bias, eps=eps)
    a = OPS[activation](linear(h, fc_weight, fc_bias))  # (..., hidden)
    return x + apply_dropout(linear(a, proj_weight, proj_bias), *dropout)


class MixedPrecisionBlock(TransformerBlock):
    """A `TransformerBlock` whose halves a backend may compute with one kernel each.

    With a cache, or a layer that was replaced or has hooks, it runs as a `TransformerBlock`.
    """

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        if cache is not None or x.ndim != 3 or not self._has_own_layers():
            return super().forward(x, mask, cache)
        attention, mlp = self.attention, self.mlp
        tables = attention.rotary._tables(0, x.shape[1]) if attention.rotary else (None, None)
        x = residual_attention(
            x, self.ln1.weight, self.ln1.bias, attention.qkv.weight, attention.qkv.bias,
            attention.proj.weight, attention.proj.bias, mask, *tables, eps=self.ln1.eps,
            num_heads=attention.num_heads, weights_dropout=attention.weights_dropout.draw(),
            output_dropout=attention.output_dropout.draw(),
        )  # fmt: skip
        return residual_mlp(
            x, self.ln2.weight, self.ln2.bias, mlp.fc.weight, mlp.fc.bias, mlp.proj.weight,
            mlp.proj.bias, eps=self.ln2.eps, activation=NAMES[type(mlp.activation)],
            dropout=mlp.dropout.draw(),
        )  # fmt: skip

    def _has_own_layers(self) -> bool:
        """Whether all layers are this package's own, and run as their classes do."""
        try:
            for name, module in self.named_modules():
                check_layer(name, module)
        except NotFusableError:
            return False
        return type(self.mlp.activation) in NAMES


NAMES = {cls: name for name, cls in ACTIVATIONS.items()}
LAYERS.add(MixedPrecisionBlock)  # generation computes in full precision, as a TransformerBlock


def mixed_precision(model: M) -> M:
    """Let the transformer blocks of a model compute in mixed precision, and return the model.

    On a GPU with ``TT_MATMUL=bf16``, each half of a block then keeps bfloat16 between its products:
    queries, keys, values, the MLP's hidden layer and their gradients. Parameters, their gradients,
    optimizer state, the residual stream and all sums stay float32, and so do all tensors.
    Otherwise, nothing changes. Checkpoints are the same in both cases.

    Blocks with other layers than `TransformerBlock` creates, with hooks, or of sizes that the
    kernels do not support, run as before: the width must be a multiple of 8 and at most 1024, that
    of heads a multiple of 16 and at most 128.

    Source: P. Micikevicius et al., "Mixed Precision Training" (2018).

    >>> from tinytorch import GPT
    >>> from tinytorch.runtime.mixed_precision import mixed_precision
    >>> model = mixed_precision(GPT(65, 32, 2, 2, max_seq_len=64))
    """
    if model.backend.mixed_precision:
        for module in model.modules():
            if type(module) is TransformerBlock:
                module.__class__ = MixedPrecisionBlock
    return model
