"""Damaged, hostile and foreign files are one sentence each, and nothing is allocated for them."""

import json
import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinytorch import GPT
from tinytorch.models import Llama
from tinytorch.pretrained import PretrainedError, load_pretrained, save_pretrained

ALLOWED = 2 * 2**20  # bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_pretrained(GPT(40, 16, 2, 2, max_seq_len=16, tie_weights=True), None, tmp_path)
    return tmp_path


def error_of(path: Path) -> str:
    """The message of loading, which must be short and must not have cost memory."""
    tracemalloc.start()
    try:
        with pytest.raises(PretrainedError) as error:
            load_pretrained(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < ALLOWED
    message = str(error.value)
    assert len(message) < 700
    assert "\n" not in message
    return message


def test_a_good_file_needs_less_than_is_allowed(folder: Path) -> None:
    tracemalloc.start()
    load_pretrained(folder)
    assert tracemalloc.get_traced_memory()[1] < ALLOWED
    tracemalloc.stop()


# safetensors


def read_header(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def write_header(path: Path, header: Any, numbers: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)


def entry(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        header["transformer.wte.weight"].update(changes)

    return change


def overlap(header: dict[str, Any]) -> None:
    header["transformer.ln_f.bias"] = header["transformer.ln_f.weight"]


def beyond(header: dict[str, Any]) -> None:
    size = 4 * 10**9
    header["transformer.wte.weight"].update(shape=[10**9], data_offsets=[0, size])


HEADERS = {
    "has 2560 bytes, but as F32 of shape (1099511627776, 16) it needs": entry(shape=[2**40, 16]),
    "has 2559 bytes": entry(data_offsets=[0, 2559]),
    "describes 'transformer.wte.weight' as dict of length 3": entry(shape=[-1, 16]),
    "as dict": entry(dtype="F31"),
    "of length 3": entry(shape=None),
    "dict of length": entry(data_offsets=[0, 1, 2]),
    "overlaps with": overlap,
    "would end at byte": beyond,
    "has the type I32; weights can be F64": entry(dtype="I32"),
    "missing: wte.weight; unexpected: x": lambda h: h.update(x=h.pop("transformer.wte.weight")),
    "misfit: wte.weight has shape (16, 40), not (40, 16)": entry(shape=[16, 40]),
    "holds two tensors wte.weight": lambda h: h.update(
        {"wte.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    ),
}


@pytest.mark.parametrize("message", HEADERS)
def test_a_wrong_header_is_one_sentence(message: str, folder: Path) -> None:
    path = folder / "model.safetensors"
    header, numbers = read_header(path)
    HEADERS[message](header)
    write_header(path, header, numbers)
    assert message in error_of(folder)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, 5000, -1])
def test_a_truncated_file_is_one_sentence(size: int, folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert "model.safetensors" in error_of(folder)


@pytest.mark.parametrize("header", [b"[]", b"{", b"\xff", b"[" * 10**5, b"1" * 5000, b'{"a": 1}'])
def test_a_header_of_something_else_is_one_sentence(header: bytes, folder: Path) -> None:
    write_header(folder / "model.safetensors", header, b"")
    assert "model.safetensors" in error_of(folder)


def test_the_size_of_the_header_is_not_believed(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    assert "is truncated: it has 10 bytes" in error_of(folder)
    with open(folder / "model.safetensors", "r+b") as file:
        file.write(struct.pack("<Q", 2**30))
        file.truncate(2**31)  # a hole, which takes no space
    assert f"a header of {2**30} bytes, not of a model" in error_of(folder)


# config.json

CONFIGS = {
    "should have 2147483648 layers, but holds 2": {"n_layer": 2**31},
    "should have 1 layers, but holds 2": {"n_layer": 1},
    "misfit: wte.weight has shape (40, 16), not (1099511627776, 16)": {"vocab_size": 2**40},
    "misfit: wpe.weight": {"n_positions": 2**40},
    f"wpe.weight has shape (16, 16), not ({10**30}, 16)": {"n_positions": 10**30},
    "n_inner is 17, not 64": {"n_inner": 17},
    "scale_attn_weights is False, not True; attn_pdrop is 0.5, not 0.0": {
        "scale_attn_weights": False, "attn_pdrop": 0.5,
    },
    "activation_function is 'relu', not one of gelu_new": {"activation_function": "relu"},
    "activation_function is [1]": {"activation_function": [1]},
    "layer_norm_epsilon is 1e-06, not 1e-05": {"layer_norm_epsilon": 1e-6},
    "describes a model of type 'bert'; known are gpt2, llama": {"model_type": "bert"},
    "describes a model of type None": {"model_type": None},
    "embed_dim must be an integer, not '16'": {"n_embd": "16"},
    "num_heads=3 does not divide embed_dim=16": {"n_head": 3},
    "num_heads must be at least 1, not 0": {"n_head": 0},
    "num_heads must be an integer, not 2.0": {"n_head": 2.0},
    "tie_weights must be True or False": {"tie_word_embeddings": "yes"},
    "missing: lm_head.weight": {"tie_word_embeddings": False},
    "Dropout": {"resid_pdrop": 7, "embd_pdrop": 7, "attn_pdrop": 7},
    "lacks hidden_size": {"model_type": "llama"},
}  # fmt: skip


@pytest.mark.parametrize("message", CONFIGS)
def test_a_config_that_lies_is_one_sentence(message: str, folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **CONFIGS[message]}))
    assert message in error_of(folder)


def test_another_number_of_heads_than_a_file_says_is_an_error(folder: Path) -> None:
    assert load_pretrained(folder, num_heads=2)[0].config.num_heads == 2
    for heads in (4, 0):
        with pytest.raises(PretrainedError, match=f"with 2 heads, not num_heads={heads}"):
            load_pretrained(folder, num_heads=heads)


LLAMAS = {
    "promises a context of 2147483648 tokens": {"max_position_embeddings": 2**31},
    "lacks factor, low_freq_factor": {"rope_parameters": {"rope_type": "llama3"}},
    "scaled by 'yarn', not by one of default, linear, llama3": {
        "rope_parameters": None, "rope_scaling": {"type": "yarn", "factor": 2},
    },
    "scaled by [1], not by": {"rope_parameters": {"rope_type": [1]}},
    "factor of rope_scaling must be in [1, 1000000000]": {
        "rope_parameters": {"rope_type": "linear", "factor": 0.0},
    },
    "low=4 of rope_scaling must be less than high=2": {"rope_parameters": {
        "rope_type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 2,
        "original_max_position_embeddings": 8,
    }},
    "partial_rotary_factor is 0.5, not 1.0": {"partial_rotary_factor": 0.5},
    "rope_parameters that are no object": {"rope_parameters": [1]},
    "rope_base must be a number": {"rope_parameters": {"rope_theta": "x"}},
    "head_dim must be an integer": {"head_dim": 4.5},
    "layers.0.self_attn.q_proj.weight": {"head_dim": 8},
    "attention_bias is True, not False": {"attention_bias": True},
    "num_kv_heads=3 does not divide": {"num_key_value_heads": 3},
    "misfit: layers.0.self_attn.k_proj.weight": {"num_key_value_heads": 4},
}  # fmt: skip


@pytest.mark.parametrize("message", LLAMAS)
def test_a_config_of_another_llama_is_one_sentence(message: str, tmp_path: Path) -> None:
    save_pretrained(Llama(40, 16, 2, 4, 2, 24, max_seq_len=16), None, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **LLAMAS[message]}))
    assert message in error_of(tmp_path)


# Files


def shards(folder: Path, places: Any) -> None:
    """Put the model into one shard with an index."""
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    names = [name for name in read_header(folder / "a.safetensors")[0] if name[0] != "_"]
    index = {"weight_map": places(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


INDICES = {
    "there is no file": lambda names: dict.fromkeys(names, "b.safetensors"),
    "names '../a.safetensors', not a file beside it": lambda n: {"x": "../a.safetensors"},
    "names 'model.safetensors.index.json'": lambda n: {"x": "model.safetensors.index.json"},
    "a.safetensors lacks x": lambda names: {"x": "a.safetensors"},
    "has no weight_map": lambda names: {"x": 1},
    "should have 2 layers, but holds 0": lambda names: dict.fromkeys(names[:1], "a.safetensors"),
}


@pytest.mark.parametrize("message", INDICES)
def test_a_wrong_index_is_one_sentence(message: str, folder: Path) -> None:
    shards(folder, INDICES[message])
    assert message in error_of(folder)


def test_links_in_a_loop_are_one_sentence(folder: Path) -> None:
    shards(folder, lambda names: dict.fromkeys(names, "a.safetensors"))
    (folder / "a.safetensors").unlink()
    (folder / "a.safetensors").symlink_to(folder / "b.safetensors")
    (folder / "b.safetensors").symlink_to(folder / "a.safetensors")
    assert "a.safetensors cannot be read" in error_of(folder)


def test_what_is_not_there_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert error_of(folder).endswith("lacks model.safetensors")
    (folder / "config.json").unlink()
    assert error_of(folder).endswith("lacks config.json and model.safetensors")
    assert "there is no file or folder" in error_of(folder / "x.safetensors")
    (folder / "x.txt").touch()
    assert "is not a folder, a .safetensors or a .gguf file" in error_of(folder / "x.txt")


def test_nothing_is_unpickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    marker = folder / "ran"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(str(marker))))
    assert "as pickles only, and reading them runs code" in error_of(folder)
    assert "holds pickles, and reading them runs code" in error_of(folder / "pytorch_model.bin")
    assert not marker.exists()


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_pipe_is_not_waited_for(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "it is a pipe or a device" in error_of(folder)


def test_a_damaged_tokenizer_is_one_sentence(folder: Path) -> None:
    (folder / "vocab.json").write_text("{")
    (folder / "merges.txt").write_text("")
    assert "the tokenizer in" in error_of(folder)
    (folder / "tokenizer.json").write_text("[1]")
    assert "a tokenizer is described by a dict" in error_of(folder)


# GGUF

MAGIC = b"GGUF" + struct.pack("<I", 3)
GGUFS = {
    "is not a GGUF file": b"GGML" + bytes(100),
    "is truncated or damaged": b"GG",
    "of version 1": b"GGUF" + struct.pack("<I", 1) + bytes(100),
    "metadata do not end": MAGIC + struct.pack("<QQ", 0, 2**63),
    "do not end": MAGIC + struct.pack("<QQ", 2**63, 0),
    "truncated": MAGIC + struct.pack("<QQQ", 0, 1, 2**62),
    "no metadata have the type 99": MAGIC + struct.pack("<QQQI", 0, 1, 0, 99),
    "damaged: its metadata": MAGIC + struct.pack("<QQQIIQ", 0, 1, 0, 9, 0, 2**62),
    "or damaged": MAGIC + struct.pack("<QQQIIQ", 0, 1, 0, 9, 8, 2**62),
    "an array of the type 9": MAGIC + struct.pack("<QQQIIQ", 0, 1, 0, 9, 9, 1),
    "has 4294967295 axes": MAGIC + struct.pack("<QQQI", 1, 0, 0, 2**32 - 1),
    "would end at byte": MAGIC + struct.pack("<QQQIQIQ", 1, 0, 0, 1, 2**40, 0, 0),
    "cannot be Q8_0, in blocks of 32": MAGIC + struct.pack("<QQQIQIQ", 1, 0, 0, 1, 31, 8, 0),
    "the type number 77": MAGIC + struct.pack("<QQQIQIQ", 1, 0, 0, 1, 31, 77, 0),
    "describes a model of type None; known are llama": MAGIC + bytes(16),
}


@pytest.mark.parametrize("message", GGUFS)
def test_a_wrong_gguf_is_one_sentence(message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(GGUFS[message])
    assert message in error_of(path)


def test_an_empty_gguf_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").touch()
    assert "is truncated or damaged" in error_of(tmp_path)
