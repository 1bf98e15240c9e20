"""Transformer blocks fused to two composites; on a GPU they may compute in bfloat16."""

import operator
from typing import Any, TypeVar

from ..activations import gelu, squared_relu
from ..attention import (
    KVCache,
    MultiHeadAttention,
    fused_attention,
    merge_heads,
    split_heads,
)
from ..backends import trace
from ..backends.decode_step import NotFusableError
from ..embeddings import RotaryEmbedding, rotary
from ..generation.decode_step import class_name
from ..generation.gpt_weights import LAYERS, check_layer
from ..layers import Dropout, LayerNorm, Linear, linear
from ..modules.module import Module
from ..ops.activations import gelu_erf
from ..ops.op import composite
from ..tensor import Tensor
from ..transformers import ACTIVATIONS, MLP, TransformerBlock
from .own_code import compare
from .residual import dropout_add, fork_layer_norm

M = TypeVar("M", bound=Module)
Draw = tuple[float, Any]  # probability and seed of a dropout

OPS = {"gelu": gelu, "gelu_erf": gelu_erf, "squared_relu": squared_relu}


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
    weights_dropout: Draw,
    output_dropout: Draw,
) -> Tensor:
    """x + attention(norm(x)), the first half of a `TransformerBlock`: x (B, T, C) -> (B, T, C).

    cos and sin (T, hs / 2) rotate queries and keys.
    """
    x, h = fork_layer_norm(x, norm_weight, norm_bias, eps=eps)
    q, k, v = split_heads(linear(h, qkv_weight, qkv_bias), num_heads=num_heads)  # (B, nh, T, hs)
    if cos is not None:
        q, k = rotary(q, cos, sin), rotary(k, cos, sin)
    p, seed = weights_dropout
    y = merge_heads(fused_attention(q, k, v, mask, p=p, seed=seed))  # (B, T, C)
    p, seed = output_dropout
    return dropout_add(x, linear(y, proj_weight, proj_bias), p=p, seed=seed)


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
    dropout: Draw,
) -> Tensor:
    """x + mlp(norm(x)), the second half of a `TransformerBlock`: x (..., C) -> (..., C)."""
    x, h = fork_layer_norm(x, norm_weight, norm_bias, eps=eps)
    a = OPS[activation](linear(h, fc_weight, fc_bias))  # (..., hidden)
    p, seed = dropout
    return dropout_add(x, linear(a, proj_weight, proj_bias), p=p, seed=seed)


class FusedBlock(TransformerBlock):
    """A `TransformerBlock` that computes the same in two composites, with kernels of a backend.

    With a cache, with a mask other than booleans (T, T), or with a layer that was replaced, or has
    hooks or attributes of its own, it runs as a `TransformerBlock`; `backends.Trace` shows why.
    """

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        attention, mlp = self.attention, self.mlp
        why = "it is called with a cache" if cache is not None else _why_not_fused(self)
        if not why and mask is not None and (mask.ndim != 2 or mask.dtype != mask.backend.xp.bool):
            why = "its mask is not a matrix of booleans"
        if why:
            trace.fallback("fused block", why, self.backend.name)
        if why or x.shape[2:] != (attention.embed_dim,):  # then the block raises an error
            return super().forward(x, mask, cache)
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


def _why_not_fused(block: TransformerBlock) -> str:
    """Which layer is not this package's own, or does not run as its class does, or ""."""
    try:
        _check("the block", block, FusedBlock if type(block) is FusedBlock else TransformerBlock)
        for (name, cls), layer in zip(PARTS.items(), get_parts(block), strict=True):
            _check(name, layer, cls)
        if block.attention.rotary is not None:
            _check("attention.rotary", block.attention.rotary, RotaryEmbedding)
        if block.attention.num_kv_heads != block.attention.num_heads:
            return "groups of heads share keys and values"
        activation = block.mlp.activation
        if type(activation) not in NAMES:
            check_layer("mlp.activation", activation)
            return f"no kernel computes {class_name(activation)}"
        _check("mlp.activation", activation, type(activation))
    except (AttributeError, NotFusableError) as error:  # there may be no mlp.fc
        return str(error)
    for cls, functions in FUNCTIONS.items():
        if _functions(cls) != functions:
            return f"a method of {cls.__name__} was replaced"
    return ""


def _check(name: str, layer: Module, cls: type) -> None:
    """Check that a layer is one of `cls`, without hooks and without attributes of its own.

    Raises:
        NotFusableError: it is not.
    """
    if type(layer) is cls and not layer._hooks and vars(layer).keys() <= ATTRIBUTES[cls]:
        return  # the usual case; what follows finds the reason
    check_layer(name, layer, {cls})
    if own := sorted(vars(layer).keys() - ATTRIBUTES[cls]):
        raise NotFusableError(f"{name} has an attribute of its own, {own[0]}")


PARTS: dict[str, type[Module]] = {
    "ln1": LayerNorm,
    "attention": MultiHeadAttention,
    "attention.qkv": Linear,
    "attention.weights_dropout": Dropout,
    "attention.proj": Linear,
    "attention.output_dropout": Dropout,
    "ln2": LayerNorm,
    "mlp": MLP,
    "mlp.fc": Linear,
    "mlp.proj": Linear,
    "mlp.dropout": Dropout,
}
get_parts = operator.attrgetter(*PARTS)
get_biased = operator.attrgetter(*(n for n, cls in PARTS.items() if cls in (LayerNorm, Linear)))


def _functions(cls: type) -> list[Any]:
    """The methods of a class, to compare with later ones."""
    return [value for value in vars(cls).values() if callable(value)]


NAMES = {cls: name for name, cls in ACTIVATIONS.items()}
_BLOCK = "ln1 attention ln2 mlp"
_ATTRIBUTE_NAMES: dict[type, str] = {
    TransformerBlock: _BLOCK,
    FusedBlock: _BLOCK,
    LayerNorm: "size eps weight bias",
    MultiHeadAttention: "embed_dim num_heads num_kv_heads qkv proj rotary weights_dropout"
    " output_dropout",
    MLP: "fc activation proj dropout",
    Linear: "in_features out_features weight bias",
    Dropout: "p",
    RotaryEmbedding: "max_seq_len cos sin _cached _persistent",
    **dict.fromkeys(NAMES, ""),
}
# Attributes of this package's own layers; a layer with others may use them, and is not fused.
ATTRIBUTES = {
    cls: {*names.split(), "training", "_hooks"} for cls, names in _ATTRIBUTE_NAMES.items()
}
FUNCTIONS = {
    cls: _functions(cls) for cls in (TransformerBlock, RotaryEmbedding, *PARTS.values(), *NAMES)
}
LAYERS.add(FusedBlock)  # generation computes in full precision, as a TransformerBlock


def fuse_blocks(model: M) -> M:
    """Let the transformer blocks of a model run as `FusedBlock`s, and return the model.

    On a GPU, dropout is then part of the residual additions, and gradients of residual connections
    are added by the kernels of the norms. With ``TT_MATMUL=bf16``, each half of a block also keeps
    bfloat16 between its products: queries, keys, values, the MLP's hidden layer and their
    gradients. Parameters, their gradients, optimizer state, the residual stream and all sums stay
    float32, and so do all tensors.

    In NumPy, each half of a block without dropout is one node of the graph, which saves a fifth of
    a small model's step. On other backends nothing changes. Weights and dropout masks stay the
    same, and so do checkpoints.

    Blocks with other layers than `TransformerBlock` creates, with hooks, with attributes that this
    package's layers do not have, or whose code computes something else, such as a lesson's that was
    exported, run as before. So does bfloat16 with sizes that its kernels do not support: the width
    must be a multiple of 8 and at most 1024, that of heads a multiple of 16 and at most 128.

    Source: P. Micikevicius et al., "Mixed Precision Training" (2018).

    >>> from tinytorch import GPT
    >>> from tinytorch.runtime.fused_blocks import fuse_blocks
    >>> model = fuse_blocks(GPT(65, 32, 2, 2, max_seq_len=64))
    """
    if residual_mlp.name not in model.backend.kernels:
        return model
    compared: dict[tuple[str, bool, bool], str] = {}
    for block in model.modules():
        if not isinstance(block, TransformerBlock) or type(block) is FusedBlock:
            continue
        if type(block) is not TransformerBlock:
            why = f"{class_name(block)} is not TransformerBlock"
        elif not (why := _why_not_fused(block)):
            biases = {getattr(layer, "bias", None) is not None for layer in get_biased(block)}
            rotary = block.attention.rotary
            key = NAMES[type(block.mlp.activation)], rotary is not None, True in biases
            if key not in compared:
                compared[key] = compare(*key, FusedBlock)
            why = compared[key] or ("some of its layers have biases" if len(biases) > 1 else "")
        if why:
            trace.fallback("fused block", why, model.backend.name)
        else:
            block.__class__ = FusedBlock
    return model
