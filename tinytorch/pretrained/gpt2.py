"""GPT-2 and nanoGPT: their configurations and their keys."""

from collections.abc import Mapping
from typing import Any

from ..arguments import check_integer
from ..transformers import GPT, GPTConfig
from .config import Field, check_fixed, read_fields
from .errors import PretrainedError
from .family import Layout
from .keys import Row, Sizes, transposed

FIELDS = [
    Field("vocab_size", "vocab_size", 50257),
    Field("embed_dim", "n_embd", 768),
    Field("num_layers", "n_layer", 12),
    Field("num_heads", "n_head", 12),
    Field("max_seq_len", "n_positions", 1024),
    Field("dropout", "resid_pdrop", 0.1),
    Field("tie_weights", "tie_word_embeddings", True),
    Field("activation", "activation_function", "gelu_new"),
]
FIXED = {
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}
ACTIVATIONS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu": "gelu_erf"}


def config(given: Mapping[str, Any], source: Any) -> GPTConfig:
    """Our configuration of a GPT-2's config.json."""
    found = read_fields(FIELDS, given, source)
    same = {"embd_pdrop": found["dropout"], "attn_pdrop": found["dropout"]}
    inner = 4 * found["embed_dim"] if isinstance(found["embed_dim"], int) else None
    check_fixed({**FIXED, "n_inner": inner, **same}, given, source)
    check_integer("GPT: num_heads", found["num_heads"], 1)
    activation = found.pop("activation")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise PretrainedError(
            f"{source} describes another model: activation_function is {activation!r:.60}, not"
            f" one of {', '.join(ACTIVATIONS)}"
        )
    return GPTConfig(**found, activation=ACTIVATIONS[activation])


def config_to(ours: GPTConfig) -> dict[str, Any]:
    """The config.json of a model.

    Raises:
        PretrainedError: GPT-2 has no such model; it names all that differs.
    """
    names = {activation: name for name, activation in reversed(ACTIVATIONS.items())}
    problems = [
        f"{name} is {value!r}"
        for name, value, known in (
            ("positions", ours.positions, ["learned"]),
            ("activation", ours.activation, [*names]),
        )
        if value not in known
    ]
    if problems:
        raise PretrainedError(f"no GPT-2 is such a model: {'; '.join(problems)}")
    values = {**ours.to_dict(), "activation": names[ours.activation]}
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **{field.theirs: values[field.ours] for field in FIELDS},
        "embd_pdrop": ours.dropout,
        "attn_pdrop": ours.dropout,
        **FIXED,
    }


def sizes(ours: GPTConfig) -> Sizes:
    """The numbers of the letters in the rows."""
    C = ours.embed_dim
    return {
        "V": ours.vocab_size, "C": C, "3C": 3 * C, "4C": 4 * C, "T": ours.max_seq_len,
        "L": ours.num_layers,
    }  # fmt: skip


ROWS = [
    Row("embedding.tokens.weight", "wte.weight", "V C"),
    Row("embedding.positions.weight", "wpe.weight", "T C"),
    Row("blocks.*.ln1.weight", "h.*.ln_1.weight", "C"),
    Row("blocks.*.ln1.bias", "h.*.ln_1.bias", "C"),
    Row("blocks.*.attention.qkv.weight", "h.*.attn.c_attn.weight", "C 3C", transposed),
    Row("blocks.*.attention.qkv.bias", "h.*.attn.c_attn.bias", "3C"),
    Row("blocks.*.attention.proj.weight", "h.*.attn.c_proj.weight", "C C", transposed),
    Row("blocks.*.attention.proj.bias", "h.*.attn.c_proj.bias", "C"),
    Row("blocks.*.ln2.weight", "h.*.ln_2.weight", "C"),
    Row("blocks.*.ln2.bias", "h.*.ln_2.bias", "C"),
    Row("blocks.*.mlp.fc.weight", "h.*.mlp.c_fc.weight", "C 4C", transposed),
    Row("blocks.*.mlp.fc.bias", "h.*.mlp.c_fc.bias", "4C"),
    Row("blocks.*.mlp.proj.weight", "h.*.mlp.c_proj.weight", "4C C", transposed),
    Row("blocks.*.mlp.proj.bias", "h.*.mlp.c_proj.bias", "C"),
    Row("ln_f.weight", "ln_f.weight", "C"),
    Row("ln_f.bias", "ln_f.bias", "C"),
    Row("head.weight", "lm_head.weight", "V C"),
]
MASKS = ("h.*.attn.bias", "h.*.attn.masked_bias")
HUGGING_FACE = Layout(GPT, config, sizes, ROWS, MASKS, "transformer.")

# nanoGPT: GPT-2's names, with matrices as (out, in).
NANOGPT_ROWS = [
    Row(row.ours, row.theirs, " ".join(reversed(row.shape.split())))
    if row.view is transposed
    else row
    for row in ROWS
]


def nanogpt_config(given: Mapping[str, Any], source: Any) -> GPTConfig:
    """The configuration of a nanoGPT: of its tensors' shapes, and the number of heads."""
    return GPTConfig(**given, tie_weights=True, activation="gelu_erf")


NANOGPT = Layout(GPT, nanogpt_config, sizes, NANOGPT_ROWS, MASKS, "transformer.")
