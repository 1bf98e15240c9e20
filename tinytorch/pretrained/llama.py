"""Llama-like models: their configurations and their keys, of Hugging Face and of GGUF files."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..arguments import shown
from ..models import Llama, LlamaConfig, RopeScaling
from ..models.rope import frequencies
from .config import Field, check_fixed, read_fields
from .errors import PretrainedError
from .family import Layout
from .keys import Array, Row, Sizes

FIELDS = [
    Field("vocab_size", "vocab_size"),
    Field("embed_dim", "hidden_size"),
    Field("num_layers", "num_hidden_layers"),
    Field("num_heads", "num_attention_heads"),
    Field("num_kv_heads", "num_key_value_heads", None),  # as many as heads
    Field("head_dim", "head_dim", None),  # hidden_size / num_attention_heads
    Field("hidden_dim", "intermediate_size"),
    Field("max_seq_len", "max_position_embeddings", 2048),
    Field("norm_eps", "rms_norm_eps", 1e-6),
    Field("tie_weights", "tie_word_embeddings", False),
]
FIXED = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
ROPE_FIXED = {"partial_rotary_factor": 1.0}
# Fields of rope_parameters by rope_type: the arguments of RopeScaling.
LINEAR = [Field("factor", "factor")]
LLAMA3 = [
    Field("factor", "factor"),
    Field("low", "low_freq_factor"),
    Field("high", "high_freq_factor"),
    Field("original", "original_max_position_embeddings"),
]
SCALINGS = {"default": None, "linear": LINEAR, "llama3": LLAMA3}


def config(given: Mapping[str, Any], source: Any) -> LlamaConfig:
    """Our configuration of a Llama's config.json, of transformers 4 or 5."""
    found = read_fields(FIELDS, given, source)
    rope = given.get("rope_parameters") or given.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise PretrainedError(f"{source} has rope_parameters that are no object")
    base = rope.get("rope_theta", given.get("rope_theta", 10000.0))
    check_fixed(ROPE_FIXED, {**given, **rope}, source)
    kind = rope.get("rope_type", rope.get("type"))
    scaling = _scaling("default" if kind is None else kind, SCALINGS, rope, source)
    check_fixed(FIXED, given, source)
    return _config(found, base, scaling)


def _scaling(
    kind: Any, known: Mapping[str, list[Field] | None], rope: Mapping[str, Any], source: Any
) -> RopeScaling | None:
    """The scaling of rotary positions of a kind, with the fields that it has."""
    if not isinstance(kind, str) or kind not in known:
        raise PretrainedError(
            f"{source} describes another model: its rotary positions are scaled by {shown(kind)},"
            f" not by one of {', '.join(known)}"
        )
    fields = known[kind]
    return None if fields is None else RopeScaling(**read_fields(fields, rope, source))


def _config(found: dict[str, Any], base: Any, scaling: RopeScaling | None) -> LlamaConfig:
    if found["num_kv_heads"] is None:
        found["num_kv_heads"] = found["num_heads"]
    return LlamaConfig(**found, rope_base=base, rope_scaling=scaling)


def config_to(ours: LlamaConfig) -> dict[str, Any]:
    """The config.json of a model."""
    scaling = ours.rope_scaling
    kind = "default" if scaling is None else "linear" if scaling.original is None else "llama3"
    rope = {f.theirs: getattr(scaling, f.ours) for f in SCALINGS[kind] or []}
    rope |= {"rope_type": kind, "rope_theta": ours.rope_base}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **{f.theirs: value for f in FIELDS if (value := getattr(ours, f.ours)) is not None},
        **FIXED,
        "rope_theta": ours.rope_base,  # of transformers 4; 5 reads rope_parameters
        **({} if scaling is None else {"rope_scaling": rope}),
        "rope_parameters": rope,
    }


def sizes(ours: LlamaConfig) -> Sizes:
    """The numbers of the letters in the rows; Q is the width of queries, K of keys and values."""
    return {
        "V": ours.vocab_size, "C": ours.embed_dim, "F": ours.hidden_dim, "L": ours.num_layers,
        "Q": ours.hs * ours.num_heads, "K": ours.hs * ours.num_kv_heads,
        "hs": ours.hs,
    }  # fmt: skip


# The parts of qkv.weight, (Q + 2 K, C).


def queries(qkv: Array, sizes: Sizes) -> Array:
    return qkv[: sizes["Q"]]


def keys(qkv: Array, sizes: Sizes) -> Array:
    return qkv[sizes["Q"] : sizes["Q"] + sizes["K"]]


def values(qkv: Array, sizes: Sizes) -> Array:
    return qkv[sizes["Q"] + sizes["K"] :]


ROWS = [
    Row("embedding.tokens.weight", "embed_tokens.weight", "V C"),
    Row("blocks.*.ln1.weight", "layers.*.input_layernorm.weight", "C"),
    Row("blocks.*.attention.qkv.weight", "layers.*.self_attn.q_proj.weight", "Q C", queries),
    Row("blocks.*.attention.qkv.weight", "layers.*.self_attn.k_proj.weight", "K C", keys),
    Row("blocks.*.attention.qkv.weight", "layers.*.self_attn.v_proj.weight", "K C", values),
    Row("blocks.*.attention.proj.weight", "layers.*.self_attn.o_proj.weight", "C Q"),
    Row("blocks.*.ln2.weight", "layers.*.post_attention_layernorm.weight", "C"),
    Row("blocks.*.mlp.gate.weight", "layers.*.mlp.gate_proj.weight", "F C"),
    Row("blocks.*.mlp.up.weight", "layers.*.mlp.up_proj.weight", "F C"),
    Row("blocks.*.mlp.down.weight", "layers.*.mlp.down_proj.weight", "C F"),
    Row("ln_f.weight", "norm.weight", "C"),
    Row("head.weight", "lm_head.weight", "V C"),
]
HUGGING_FACE = Layout(Llama, config, sizes, ROWS, ("*.rotary_emb.inv_freq",), "model.")

# GGUF files ---------------------------------------------------------------------------------------

GGUF_FIELDS = [
    Field("embed_dim", "llama.embedding_length"),
    Field("num_layers", "llama.block_count"),
    Field("num_heads", "llama.attention.head_count"),
    Field("num_kv_heads", "llama.attention.head_count_kv", None),
    Field("head_dim", "llama.attention.key_length", None),
    Field("hidden_dim", "llama.feed_forward_length"),
    Field("max_seq_len", "llama.context_length"),
    Field("norm_eps", "llama.attention.layer_norm_rms_epsilon"),
]
GGUF_SCALINGS = {"none": None, "linear": [Field("factor", "llama.rope.scaling.factor")]}
LLAMA3_CONTEXT = 8192  # tokens, before the scaling; files do not tell it


def gguf_config(given: Mapping[str, Any], source: Any) -> LlamaConfig:
    """Our configuration of a GGUF's metadata, and of its tensors (see `load.read_gguf_model`)."""
    found = read_fields(GGUF_FIELDS, given, source)
    found |= {name: given[name] for name in ("vocab_size", "tie_weights")}
    base = given.get("llama.rope.freq_base", 10000.0)
    kind = given.get("llama.rope.scaling.type", "none")
    scaling = _scaling(kind, GGUF_SCALINGS, given, source)
    ours = _config(found, base, scaling)
    hs = dict.fromkeys(("llama.attention.value_length", "llama.rope.dimension_count"), ours.hs)
    check_fixed(hs, given, source)
    divisors = given.get("rope_divisors")
    return ours if divisors is None else replace(ours, rope_scaling=_llama3(ours, divisors, source))


def _llama3(ours: LlamaConfig, divisors: Array, source: Any) -> RopeScaling:
    """The scaling whose divisors a file holds as a tensor: that of Llama 3.1 and later."""
    scaling = RopeScaling(max(1.0, float(divisors.max(initial=1))), 1.0, 4.0, LLAMA3_CONTEXT)
    expected = scaling.divisors(frequencies(ours.hs, ours.rope_base))
    if divisors.shape != expected.shape or not np.allclose(divisors, expected, rtol=1e-4):
        raise PretrainedError(
            f"{source} describes another model: rope_freqs.weight is not the scaling of Llama 3.1"
        )
    return scaling


def _interleaved(rows: Array, sizes: Sizes) -> Array:
    """The rows of each head in GGUF's order: the two of each rotated pair are neighbours."""
    hs, C = sizes["hs"], sizes["C"]
    return rows.reshape(-1, 2, hs // 2, C).swapaxes(1, 2)  # (heads, hs/2, 2, C)


def gguf_queries(qkv: Array, sizes: Sizes) -> Array:
    return _interleaved(queries(qkv, sizes), sizes)


def gguf_keys(qkv: Array, sizes: Sizes) -> Array:
    return _interleaved(keys(qkv, sizes), sizes)


GGUF_ROWS = [
    Row("embedding.tokens.weight", "token_embd.weight", "V C"),
    Row("blocks.*.ln1.weight", "blk.*.attn_norm.weight", "C"),
    Row("blocks.*.attention.qkv.weight", "blk.*.attn_q.weight", "Q C", gguf_queries),
    Row("blocks.*.attention.qkv.weight", "blk.*.attn_k.weight", "K C", gguf_keys),
    Row("blocks.*.attention.qkv.weight", "blk.*.attn_v.weight", "K C", values),
    Row("blocks.*.attention.proj.weight", "blk.*.attn_output.weight", "C Q"),
    Row("blocks.*.ln2.weight", "blk.*.ffn_norm.weight", "C"),
    Row("blocks.*.mlp.gate.weight", "blk.*.ffn_gate.weight", "F C"),
    Row("blocks.*.mlp.up.weight", "blk.*.ffn_up.weight", "F C"),
    Row("blocks.*.mlp.down.weight", "blk.*.ffn_down.weight", "C F"),
    Row("ln_f.weight", "output_norm.weight", "C"),
    Row("head.weight", "output.weight", "V C"),
]
GGUF = Layout(Llama, gguf_config, sizes, GGUF_ROWS, ("rope_freqs.weight",))
