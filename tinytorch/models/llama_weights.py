"""The weights of a `Llama` for a fused decode step, if all of its layers are this package's own."""

from typing import cast

from ..backends.decode_step import BlockWeights, GPTWeights, NormWeights, NotFusableError
from ..generation.decode_step import WEIGHTS
from ..generation.gpt_weights import (
    INT8_LAYERS,
    LAYERS,
    activation_of,
    checked_weights,
    linear_weights,
    token_weights,
)
from ..nn.normalization import RMSNorm
from .llama import GatedMLP, Llama, LlamaBlock
from .rope import ScaledRotaryEmbedding

LLAMA_LAYERS = {
    *LAYERS, *INT8_LAYERS, Llama, LlamaBlock, GatedMLP, RMSNorm, ScaledRotaryEmbedding,
}  # fmt: skip


def llama_weights(model: Llama) -> GPTWeights:
    """The arrays and settings of a Llama.

    Raises:
        NotFusableError: as for `gpt_weights`.
    """
    return checked_weights(model, LLAMA_LAYERS, _read)


WEIGHTS[Llama] = llama_weights


def _read(model: Llama) -> GPTWeights:
    first, embedding = model.blocks[0], model.embedding
    rotary = first.attention.rotary
    return GPTWeights(
        **token_weights(embedding.tokens),
        scale=embedding.scale,
        positions=None,
        rotary=None if rotary is None else (rotary.cos._array, rotary.sin._array),
        blocks=[_block(block) for block in model.blocks],
        norm=_norm(cast(RMSNorm, model.ln_f)),
        head=linear_weights(model.head),
        num_heads=first.attention.num_heads,
        num_kv_heads=first.attention.num_kv_heads,
        activation=activation_of("silu", model.backend),
        activation_name="silu",
    )


def _block(block: LlamaBlock) -> BlockWeights:
    return BlockWeights(
        norm1=_norm(block.ln1),
        qkv=linear_weights(block.attention.qkv),
        proj=linear_weights(block.attention.proj),
        norm2=_norm(block.ln2),
        fc=linear_weights(block.mlp.up),
        out=linear_weights(block.mlp.down),
        gate=linear_weights(block.mlp.gate),
    )


def _norm(norm: RMSNorm) -> NormWeights:
    if norm.weight is None or norm.eps is None:
        raise NotFusableError(f"{norm} has no weight, or takes eps from the dtype")
    return NormWeights(norm.weight._array, None, norm.eps, centred=False)
