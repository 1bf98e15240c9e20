"""Weights of transformers and nanoGPT give the same logits here, and ours give them there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import load_module, require

import tinytorch
from tinytorch import GPT, BPETokenizer, Linear, Tensor, no_grad
from tinytorch.generation.int8 import to_int8
from tinytorch.models import Llama
from tinytorch.models.llama import LlamaBlock
from tinytorch.nn.lora import add_lora
from tinytorch.pretrained import PretrainedError, load_pretrained, save_pretrained

files = load_module(Path(__file__).with_name("files.py"))

VARIANTS = [
    ("gpt2", {}),
    ("gpt2", {"tie_word_embeddings": False, "activation_function": "gelu"}),
    ("llama", {}),
    ("llama", {"tie_word_embeddings": True, "num_key_value_heads": 4, "rms_norm_eps": 1e-5,
               "rope_parameters": {"rope_type": "default", "rope_theta": 1e5}}),
    ("llama", {"max_position_embeddings": 64, "rope_parameters": files.LLAMA3}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5}}),
    ("llama", {"head_dim": 12}),
]  # fmt: skip
LIMITS = {"float64": 1e-12, "float32": 1e-5}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def assert_close(actual: Any, expected: Any, dtype: str) -> None:
    assert actual.dtype == expected.dtype == dtype
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error < LIMITS[dtype], error


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize(("family", "changes"), VARIANTS)
def test_both_ways_give_the_same_logits(
    family: str, changes: dict[str, Any], dtype: str, tmp_path: Path
) -> None:
    torch, transformers = require("torch"), require("transformers")
    exact = files.exact_llama if (family, dtype) == ("llama", "float64") else lambda model: model
    theirs = files.build(family, dtype, **changes)
    ours, tokenizer = load_pretrained(files.saved(theirs, tmp_path / "theirs"), dtype=dtype)
    assert tokenizer is None
    assert type(ours) is (Llama if family == "llama" else GPT)
    expected = files.logits(exact(theirs))
    assert_close(files.our_logits(ours), expected, dtype)

    save_pretrained(ours, None, tmp_path / "ours")
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert back.dtype == getattr(torch, dtype)  # config.json says it
    for name, values in theirs.state_dict().items():
        assert torch.equal(values, back.state_dict()[name]), name
    np.testing.assert_array_equal(files.logits(exact(back.eval())), expected)
    again, _ = load_pretrained(tmp_path / "ours", dtype=dtype)
    assert again.config == ours.config


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_half_precision_is_read_exactly(family: str, dtype: str, tmp_path: Path) -> None:
    torch, transformers = require("torch"), require("transformers")
    ours, _ = load_pretrained(files.saved(files.build(family, dtype), tmp_path))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert_close(files.our_logits(ours), files.logits(theirs.eval()), "float32")


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_shards_are_one_model(family: str, tmp_path: Path) -> None:
    theirs = files.build(family)
    files.saved(theirs, tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert_close(files.our_logits(load_pretrained(tmp_path)[0]), files.logits(theirs), "float32")


def test_names_without_a_prefix_and_masks_are_gpt2_as_well(tmp_path: Path) -> None:
    """As in the files of the hub's gpt2."""
    torch, safetensors = require("torch"), require("safetensors.torch")
    theirs = files.build("gpt2")
    files.saved(theirs, tmp_path)
    state = {n.removeprefix("transformer."): p for n, p in theirs.state_dict().items()}
    state["h.0.attn.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    del state["lm_head.weight"]
    safetensors.save_file(state, tmp_path / "model.safetensors")
    assert_close(files.our_logits(load_pretrained(tmp_path)[0]), files.logits(theirs), "float32")


@pytest.mark.parametrize("bias", [True, False])
def test_nanogpt_is_read_with_its_number_of_heads(bias: bool, tmp_path: Path) -> None:
    """Its names are GPT-2's, its matrices are (out, in), and its GELU is the exact one."""
    torch, safetensors = require("torch"), require("safetensors.torch")
    theirs = files.build("gpt2", activation_function="gelu")
    state = {}
    for name, p in theirs.state_dict().items():
        matrix = name.endswith("weight") and "ln" not in name and ".h." in name
        state[name] = p.T.contiguous() if matrix else p.clone()
        if name.endswith(".bias") and not bias:
            with torch.no_grad():
                p.zero_()
            del state[name]
    path = tmp_path / "nano.safetensors"
    safetensors.save_file({f"_orig_mod.{n}": p for n, p in state.items()}, path)
    with pytest.raises(PretrainedError, match="pass num_heads"):
        load_pretrained(path)
    ours, tokenizer = load_pretrained(path, num_heads=4)
    assert (ours.config.bias, ours.config.activation, tokenizer) == (bias, "gelu_erf", None)
    assert_close(files.our_logits(ours), files.logits(theirs), "float32")
    safetensors.save_file(state, path, {"n_head": "4"})
    assert load_pretrained(tmp_path)[0].config == ours.config

    save_pretrained(ours, None, tmp_path / "gpt2")  # without biases: with biases of zero
    back, _ = load_pretrained(tmp_path / "gpt2")
    assert_close(files.our_logits(back), files.logits(theirs), "float32")


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_model_is_loaded_on_every_backend(family: str, backend: str, tmp_path: Path) -> None:
    theirs = files.build(family)
    ours, _ = load_pretrained(files.saved(theirs, tmp_path), backend=backend)
    assert ours.backend.name == tinytorch.backends.get(backend).name
    assert_close(files.our_logits(ours), files.logits(theirs), "float32")


def test_a_loaded_model_is_in_evaluation_mode_and_can_be_trained(tmp_path: Path) -> None:
    ours, _ = load_pretrained(files.saved(files.build("gpt2"), tmp_path))
    assert not ours.training
    assert ours.config.dropout == 0.1
    assert all(parameter.requires_grad for parameter in ours.parameters())
    assert ours.head.weight is ours.embedding.tokens.weight


def test_a_tokenizer_goes_there_and_back(tmp_path: Path) -> None:
    transformers = require("transformers")
    text = "The dog's bone, the größer dog.\n" * 5
    tokenizer = BPETokenizer(280, ["<|endoftext|>"])
    tokenizer.train(text)
    V = tokenizer.vocab_size  # the special token is the last
    model = GPT(V, 16, 1, 2, max_seq_len=32, tie_weights=True)
    save_pretrained(model, tokenizer, tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for sample in (text, " a  b\n\n", "<|endoftext|>x", ""):
        assert theirs(sample)["input_ids"] == tokenizer.encode(sample, allow_special=True)
        assert theirs.decode(tokenizer.encode(sample)) == sample
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == V - 1
    assert theirs.eos_token == "<|endoftext|>"
    ours, again = load_pretrained(tmp_path)
    special = text + "<|endoftext|>"
    assert again.encode(special, allow_special=True) == tokenizer.encode(
        special, allow_special=True
    )
    save_pretrained(ours, again, tmp_path / "again")  # as it was read
    assert load_pretrained(tmp_path / "again")[1].encode(text) == tokenizer.encode(text)
    assert ours.config.vocab_size == again.vocab_size


def test_vocab_and_merges_are_read(tmp_path: Path) -> None:
    tokenizer = BPETokenizer(270)
    tokenizer.train("low lower lowest " * 9)
    state, V = tokenizer.to_dict(), tokenizer.vocab_size
    files.saved(files.build("gpt2", vocab_size=V), tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps(state["vocab"]))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(state["merges"]) + "\n")
    assert load_pretrained(tmp_path)[1].to_dict() == state
    files.saved(files.build("gpt2", vocab_size=V - 1), tmp_path)
    with pytest.raises(PretrainedError, match=f"has {V} tokens, but the model {V - 1}"):
        load_pretrained(tmp_path)


def test_what_no_file_can_say_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    odd = GPT(9, 8, 1, 2, positions="rotary", activation="squared_relu")
    with pytest.raises(
        PretrainedError, match="positions is 'rotary'; activation is 'squared_relu'"
    ):
        save_pretrained(odd, None, tmp_path)
    characters = tinytorch.create_tokenizer("char", corpus="abc")
    with pytest.raises(PretrainedError, match="no file of Hugging Face describes a CharTokenizer"):
        save_pretrained(GPT(9, 8, 1, 2), characters, tmp_path)
    with pytest.raises(PretrainedError, match="only a GPT or a Llama"):
        save_pretrained(odd.head, None, tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(PretrainedError, match="was not written"):
        save_pretrained(GPT(9, 8, 1, 2), None, file)


def exchanged(change: Any, **settings: Any) -> Llama:
    model = Llama(9, 8, 2, 2, 1, 16, max_seq_len=24, **settings)
    change(model)
    return model


EXCHANGED = {
    "LoRA layers: merge_lora": exchanged(add_lora),
    "rounded by to_int8": exchanged(to_int8),
    "unexpected: head.bias": exchanged(lambda m: setattr(m, "head", Linear(8, 9))),
    r"misfit: head.weight has shape \(10, 8\)": exchanged(
        lambda m: setattr(m, "head", Linear(8, 10, bias=False))
    ),
    "misfit: blocks.0.mlp.up": exchanged(
        lambda m: setattr(m.blocks[0].mlp, "up", Linear(16, 8, bias=False))
    ),
    "unexpected: head.weight": exchanged(
        lambda m: setattr(m, "head", Linear(8, 9, bias=False)), tie_weights=True
    ),
    "unexpected: blocks.2.ln1.weight": exchanged(
        lambda m: m.blocks.append(LlamaBlock(m.config, m.blocks[0].attention.rotary))
    ),
    "missing: blocks.1.ln1.weight": exchanged(lambda m: setattr(m, "blocks", m.blocks[:1])),
    "weights of float32 and float64": exchanged(lambda m: m.ln_f.to(dtype="float64")),
}


@pytest.mark.parametrize("message", EXCHANGED)
def test_a_model_whose_parts_were_exchanged_is_not_saved_as_its_configuration(
    message: str, tmp_path: Path
) -> None:
    with pytest.raises(PretrainedError, match=message):
        save_pretrained(EXCHANGED[message], None, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_head_that_is_tied_by_hand_is_saved(tmp_path: Path) -> None:
    model = exchanged(lambda m: setattr(m.head, "weight", m.embedding.tokens.weight))
    save_pretrained(model, None, tmp_path)
    ids = Tensor([[1, 2, 3]])
    np.testing.assert_array_equal(load_pretrained(tmp_path)[0](ids).numpy(), model(ids).numpy())


def test_a_trained_model_is_saved_with_what_it_has_learned(tmp_path: Path) -> None:
    """Saving reads the weights of now, also of a model that was loaded."""
    model = GPT(9, 8, 1, 2, max_seq_len=24)
    save_pretrained(model, None, tmp_path)
    with no_grad():
        model.head.weight += 1
    save_pretrained(model, None, tmp_path)
    again, _ = load_pretrained(tmp_path)
    np.testing.assert_array_equal(again.head.weight.numpy(), model.head.weight.numpy())
