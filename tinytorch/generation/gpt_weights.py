"""The weights of a GPT for a fused decode step, if all of its layers are this package's own."""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from ..attention import MultiHeadAttention
from ..backends import Backend
from ..backends.base import Array
from ..backends.decode_step import (
    BlockWeights,
    GPTWeights,
    LinearWeights,
    NormWeights,
    NotFusableError,
)
from ..embeddings import (
    Embedding,
    EmbeddingLayer,
    PositionalEncoding,
    RotaryEmbedding,
    SinusoidalEncoding,
)
from ..layers import Dropout, LayerNorm, Linear
from ..modules.containers import ModuleList
from ..modules.module import Module
from ..ops.op import OPS
from ..transformers import ACTIVATIONS, GPT, MLP, TransformerBlock
from .decode_step import WEIGHTS, class_name
from .int8 import Int8Embedding, Int8Linear

M = TypeVar("M", bound=GPT)

# The layers whose forward a fused step computes. Subclasses, and classes of the same name in a
# notebook, are not included, since their forward may differ.
LAYERS = {
    GPT, TransformerBlock, MultiHeadAttention, MLP, ModuleList,
    EmbeddingLayer, Embedding, PositionalEncoding, SinusoidalEncoding, RotaryEmbedding,
    Linear, LayerNorm, Dropout, *ACTIVATIONS.values(),
}  # fmt: skip

INT8_LAYERS = {Int8Linear, Int8Embedding}


def gpt_weights(model: GPT) -> GPTWeights:
    """The arrays and settings of a GPT.

    Raises:
        NotFusableError: a layer is not the package's own, or applies dropout, or a weight is
            float16, which ops compute in float32.
    """
    return checked_weights(model, LAYERS | INT8_LAYERS, _read)


def checked_weights(
    model: M, layers: Collection[type], read: Callable[[M], GPTWeights]
) -> GPTWeights:
    """``read(model)``, if all layers are of the classes `layers`; errors as for `gpt_weights`."""
    if type(model.blocks) is not ModuleList:  # changes of a list would not be noticed
        raise NotFusableError(f"blocks is a {type(model.blocks).__name__}, not a ModuleList")
    for name, module in model.named_modules():
        check_layer(name or "the model", module, layers)
        if isinstance(module, Dropout) and module.training and module.p > 0:
            raise NotFusableError(f"{name} drops elements: it is in training mode")
    dtypes = {str(tensor.dtype) for _, tensor in model._named_tensors()} - {"int8"}
    if dtypes not in ({"float32"}, {"float64"}):  # float16 is computed in float32 and rounded
        raise NotFusableError(f"its weights are {' and '.join(sorted(dtypes))}")
    try:
        return read(model)
    except AttributeError as error:
        raise NotFusableError(f"a layer has been rewritten: {error}") from error


WEIGHTS[GPT] = gpt_weights


def check_layer(name: str, module: Module, layers: Collection[type] = LAYERS) -> None:
    """Check that a layer computes what its class does, and is one of `layers`.

    Raises:
        NotFusableError: it does not.
    """
    cls = type(module)
    if module._hooks:
        raise NotFusableError(f"{name} has hooks")
    if cls not in layers:
        raise NotFusableError(f"{name} is a {class_name(module)}, not a layer of the fused step")
    for attribute in vars(module):
        if callable(getattr(cls, attribute, None)):
            raise NotFusableError(f"{name} has its own {attribute} instead of its class's")


def _read(model: GPT) -> GPTWeights:
    first, embedding = model.blocks[0], model.embedding
    rotary = first.attention.rotary
    return GPTWeights(
        **token_weights(embedding.tokens),
        scale=embedding.scale,
        positions=_positions(embedding.positions),
        rotary=None if rotary is None else (rotary.cos._array, rotary.sin._array),
        blocks=[_block(block) for block in model.blocks],
        norm=_norm(model.ln_f),
        head=linear_weights(model.head),
        num_heads=first.attention.num_heads,
        num_kv_heads=first.attention.num_kv_heads,
        activation=activation_of(_activation_name(first.mlp.activation), model.backend),
        activation_name=_activation_name(first.mlp.activation),
    )


def _positions(encoding: Module | None) -> Array | None:
    """The table (T, C) that is added to the token vectors."""
    if isinstance(encoding, PositionalEncoding):
        return encoding.weight._array
    return encoding.table._array if isinstance(encoding, SinusoidalEncoding) else None


def _activation_name(module: Module) -> str:
    """The op of an activation layer."""
    names = {cls: name for name, cls in ACTIVATIONS.items()}
    if type(module) not in names:
        raise NotFusableError(f"{class_name(module)} is not an activation of GPT")
    return names[type(module)]


def activation_of(name: str, backend: Backend) -> Callable[[Array], Array]:
    """The op of an activation, as a function of one array."""
    op = OPS[name]
    kernel = backend.kernels.get(op.key) or op.reference
    return lambda x: kernel.forward(backend.xp, x)[0]


def _block(block: TransformerBlock) -> BlockWeights:
    return BlockWeights(
        norm1=_norm(block.ln1),
        qkv=linear_weights(block.attention.qkv),
        proj=linear_weights(block.attention.proj),
        norm2=_norm(block.ln2),
        fc=linear_weights(block.mlp.fc),
        out=linear_weights(block.mlp.proj),
    )


def _norm(norm: LayerNorm) -> NormWeights:
    return NormWeights(norm.weight._array, _bias(norm), norm.eps)


def linear_weights(linear: Linear | Int8Linear) -> LinearWeights:
    """The arrays of a linear layer."""
    scale = linear.scale._array if isinstance(linear, Int8Linear) else None
    return LinearWeights(linear.weight._array, _bias(linear), scale)


def token_weights(tokens: Embedding | Int8Embedding) -> dict[str, Any]:
    """The arrays of a token embedding, by the names of `GPTWeights`."""
    scale = tokens.scale._array if isinstance(tokens, Int8Embedding) else None
    return {"tokens": tokens.weight._array, "tokens_scale": scale}


def _bias(layer: Linear | Int8Linear | LayerNorm) -> Array | None:
    return None if layer.bias is None else layer.bias._array
