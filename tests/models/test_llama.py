"""Llama: the same logits, loss and gradients as transformers' LlamaForCausalLM, and generation."""

import functools
import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch import Tensor, backends, manual_seed, no_grad
from tinytorch.backends import Trace
from tinytorch.losses import CrossEntropyLoss
from tinytorch.models import Llama, LlamaConfig, RopeScaling
from tinytorch.models.llama import GatedMLP

SIZES = {"vocab_size": 37, "embed_dim": 48, "num_layers": 2, "hidden_dim": 80, "max_seq_len": 24}
IDS = np.random.default_rng(0).integers(0, 37, (2, 24))


def llama(num_heads: int = 6, num_kv_heads: int = 2, **settings: Any) -> Llama:
    return Llama(num_heads=num_heads, num_kv_heads=num_kv_heads, **{**SIZES, **settings})


def twin(model: Llama, dtype: str) -> Any:
    """transformers' model with the weights of `model`."""
    torch, transformers = require("torch"), require("transformers")
    c = model.config
    config = transformers.LlamaConfig(
        vocab_size=c.vocab_size, hidden_size=c.embed_dim, intermediate_size=c.hidden_dim,
        num_hidden_layers=c.num_layers, num_attention_heads=c.num_heads,
        num_key_value_heads=c.num_kv_heads, max_position_embeddings=c.max_seq_len,
        head_dim=c.hs, rms_norm_eps=c.norm_eps, tie_word_embeddings=c.tie_weights,
        attn_implementation="sdpa",
        rope_parameters={"rope_type": "default", "rope_theta": c.rope_base},
    )  # fmt: skip
    other = transformers.LlamaForCausalLM(config).to(getattr(torch, dtype))
    found = other.state_dict()
    given = {k: torch.from_numpy(v.copy()) for k, v in renamed(model, values(model)).items()}
    if c.tie_weights:
        found.pop("lm_head.weight")
    assert given.keys() == found.keys()
    other.load_state_dict(given, strict=False)
    if dtype == "float64":  # transformers computes angles and norms in float32, whatever the dtype
        other.model.rotary_emb.forward = lambda x, position_ids: angles(torch, c)
        for module in other.modules():
            if type(module).__name__ == "LlamaRMSNorm":
                module.forward = functools.partial(rms_norm, module)
    return other


def rms_norm(module: Any, x: Any) -> Any:
    """PyTorch's own norm, with the weight of transformers'."""
    normalise = require("torch").nn.functional.rms_norm
    return normalise(x, module.weight.shape, module.weight, module.variance_epsilon)


def angles(torch: Any, config: LlamaConfig) -> Any:
    """Cosines and sines (1, T, hs) of all positions, rounded to float32 as `RotaryEmbedding`'s."""
    hs = config.hs
    steps = config.rope_base ** (-np.arange(0, hs, 2) / hs)
    table = np.tile(np.arange(config.max_seq_len)[:, None] * steps, 2)[None]
    return tuple(torch.from_numpy(f(table).astype(np.float32)).double() for f in (np.cos, np.sin))


def values(model: Llama) -> dict[str, Any]:
    return {name: parameter.numpy() for name, parameter in model.named_parameters()}


def renamed(model: Llama, arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays of parameters under transformers' names, with qkv.weight in its three parts."""
    names = {
        "embedding.tokens": "model.embed_tokens", "ln_f": "model.norm", "head": "lm_head",
        "attention.proj": "self_attn.o_proj", "blocks": "model.layers", "ln1": "input_layernorm",
        "ln2": "post_attention_layernorm", "gate": "gate_proj", "up": "up_proj",
        "down": "down_proj",
    }  # fmt: skip
    c, result = model.config, {}
    for name, array in arrays.items():
        for ours, theirs in names.items():
            name = ".".join(f".{name}.".replace(f".{ours}.", f".{theirs}.").strip(".").split("."))
        if "attention.qkv" in name:
            q, kv = c.num_heads * c.hs, c.num_kv_heads * c.hs
            parts = np.split(array, [q, q + kv])
            for part, letter in zip(parts, "qkv", strict=True):
                result[name.replace("attention.qkv", f"self_attn.{letter}_proj")] = part
        else:
            result[name] = array
    return result


CONFIGS: list[dict[str, Any]] = [
    {},
    {"num_heads": 4, "num_kv_heads": 1, "tie_weights": True, "rope_base": 500.0},
    {"num_heads": 3, "num_kv_heads": 3, "norm_eps": 1e-3},
    {"num_heads": 6, "num_kv_heads": 2, "head_dim": 14},  # wider than embed_dim
    {"num_heads": 4, "num_kv_heads": 4, "head_dim": 6},  # narrower
]


@pytest.mark.slow  # the import of transformers
@pytest.mark.parametrize(("dtype", "limit"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("settings", CONFIGS, ids=str)
def test_logits_loss_and_gradients_equal_those_of_transformers(
    settings: dict[str, Any], dtype: str, limit: float
) -> None:
    torch = require("torch")
    model = llama(**settings).to(dtype=dtype)
    other = twin(model, dtype)
    logits = model(Tensor(IDS))
    loss = CrossEntropyLoss()(logits[:, :-1], Tensor(IDS[:, 1:]))
    loss.backward()
    ids = torch.from_numpy(IDS)
    expected = other(ids).logits  # its own loss computes in float32
    cross_entropy = torch.nn.functional.cross_entropy
    expected_loss = cross_entropy(expected[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    expected_loss.backward()
    assert str(logits.dtype) == dtype

    def compare(what: str, found: Any, wanted: Any) -> None:
        wanted = wanted.detach().numpy()
        largest = max(1e-3, np.abs(wanted).max())
        np.testing.assert_allclose(found / largest, wanted / largest, 0, limit, err_msg=what)

    compare("logits", logits.numpy(), expected)
    compare("loss", loss.numpy(), expected_loss)
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    theirs = dict(other.named_parameters())
    assert renamed(model, gradients).keys() == theirs.keys()
    for name, gradient in renamed(model, gradients).items():
        compare(name, gradient, theirs[name].grad)


def test_the_cache_holds_the_heads_of_keys_only() -> None:
    model = llama()
    caches = model.new_caches()
    with no_grad():
        model(Tensor(IDS[:, :5]), caches)
    assert [cache._keys.shape for cache in caches if cache._keys is not None] == [(2, 2, 24, 8)] * 2


@pytest.mark.parametrize("settings", CONFIGS, ids=str)
def test_a_model_reads_a_text_in_parts_as_at_once(settings: dict[str, Any], backend: str) -> None:
    model = llama(**settings, backend=backend)
    caches = model.new_caches()
    with no_grad():
        whole = model(Tensor(IDS, backend=backend)).numpy()
        bounds = [0, 7, 8, 9, 24]
        parts = [
            model(Tensor(IDS[:, i:j], backend=backend), caches).numpy()
            for i, j in itertools.pairwise(bounds)
        ]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-5)


SCALED = {"rope_scaling": RopeScaling(8.0, 1.0, 4.0, 64), "rope_base": 100.0}


def test_a_configuration_with_scaled_positions_is_rebuilt_from_json() -> None:
    config = llama(**SCALED).config
    again = LlamaConfig(**json.loads(json.dumps(config.to_dict())))
    assert again == config
    ours, other = Llama.from_config(again), llama(rope_base=100.0)
    assert not np.array_equal(
        ours.blocks[0].attention.rotary.cos.numpy(), other.blocks[0].attention.rotary.cos.numpy()
    )
    with pytest.raises(TypeError, match="rope_scaling must be a RopeScaling, not 'llama3'"):
        llama(rope_scaling="llama3")
    with pytest.raises(TypeError, match="'beta'"):
        llama(rope_scaling={"factor": 2.0, "beta": 3})


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("settings", [*CONFIGS, SCALED], ids=str)
def test_a_text_is_the_same_without_a_cache(
    settings: dict[str, Any], batch: int, backend: str
) -> None:
    manual_seed(1)
    model = llama(**settings, backend=backend)
    for parameter in model.parameters():
        parameter.data = parameter.numpy() * (1 if parameter.ndim == 1 else 8)
    with Trace() as trace:
        text = model.generate(IDS[:batch, :20], 8, temperature=0)  # beyond the context
    found = trace.ran("decode step")
    assert found.get("fused", 0) > 3 or backends.get(backend).decode_step is None
    again = model.generate(IDS[:batch, :20], 8, temperature=0, use_cache=False)
    np.testing.assert_array_equal(text.numpy(), again.numpy())


def test_a_replaced_part_is_called_when_decoding() -> None:
    model = llama()

    class Doubled(GatedMLP):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    model.blocks[0].mlp = Doubled(48, 80)
    with Trace() as trace:
        text = model.generate(IDS[0, :5], 10, temperature=0)
    (why,) = trace.ran("decode step")
    assert "Doubled" in why
    again = model.generate(IDS[0, :5], 10, temperature=0, use_cache=False)
    assert text.tolist() == again.tolist()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_kv_heads": 4}, "num_kv_heads=4 does not divide num_heads=6"),
        ({"num_heads": 5}, "num_heads=5 does not divide embed_dim=48"),
        ({"hidden_dim": 0}, "hidden_dim"),
        ({"num_kv_heads": 0}, "num_kv_heads"),
        ({"rope_base": float("nan")}, "rope_base"),
        ({"norm_eps": -1.0}, "norm_eps"),
        ({"num_heads": 16}, "head_dim=3 must be even"),
        ({"head_dim": 0}, "head_dim must be at least 1, not 0"),
        ({"tie_weights": 1}, "tie_weights"),
    ],
)
def test_wrong_sizes_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        llama(**wrong)


def test_a_config_rebuilds_the_model() -> None:
    config = LlamaConfig(37, 48, 2, 6, 2, 80, 24, 500.0, 1e-6, True)
    model = Llama.from_config(config)
    assert model.config == config == LlamaConfig(**config.to_dict())
    assert model.head.weight is model.embedding.tokens.weight
    assert (model.blocks[0].ln1.eps, model.ln_f.eps) == (1e-6, 1e-6)


@pytest.mark.parametrize(("head_dim", "sizes"), [(None, (4, 8)), (4, (4, 4)), (6, (6, 6))])
def test_the_size_of_a_head_follows_a_changed_configuration(
    head_dim: int | None, sizes: tuple[int, int]
) -> None:
    config = LlamaConfig(20, 16, 1, 4, 2, 32, head_dim=head_dim)
    assert (config.hs, replace(config, num_heads=2).hs) == sizes
