"""`save` and `load` keep nested tensors and plain values, and refuse the rest with a reason."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import Linear, Tensor, load, save, tensor, zeros
from tinytorch.serialization.checkpoint import CheckpointError

PLAIN: dict[str, Any] = {
    "none": None,
    "numbers": [1, -2.5, True, 10**30, float("inf")],
    "strings": {"": "é\0", "$tensor": "no tensor", "$dict": 1},
    "tuples": {"betas": (0.9, 0.999), "nested": ((1,), [(2, [])]), "empty": ()},
    "keys": {0: "a", (1, "b"): "c", None: {}, True: 1, 2.5: 2},
    "dtype": np.dtype("float16"),
    "device": tinytorch.device("cuda:0"),
}


@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
def test_plain_values_come_back_equal(value: Any, tmp_path: Path) -> None:
    save(value, tmp_path / "file")
    loaded = load(tmp_path / "file")
    assert loaded == value
    assert repr(loaded) == repr(value)


def test_a_checkpoint_of_a_script_comes_back(tmp_path: Path, backend: str) -> None:
    model = Linear(2, 3, backend=backend)
    state = {name: Tensor(p.detach()) for name, p in model.named_parameters()}
    checkpoint = {
        "model": state,
        "optimizer": {"state": {0: {"step": tensor(3.0)}}, "param_groups": [{"lr": np.float32(1)}]},
        "epoch": 3,
        "losses": [1.5, 0.5],
        "split": np.arange(3),
        "best": tensor(2.0, requires_grad=True),
    }
    path = os.fspath(tmp_path / "checkpoint.pt")
    save(checkpoint, path)
    loaded = load(path, map_location=backend, weights_only=True)
    assert loaded["epoch"] == 3
    assert loaded["losses"] == [1.5, 0.5]
    assert loaded["split"].tolist() == [0, 1, 2]
    assert loaded["best"].requires_grad
    assert loaded["optimizer"]["state"][0]["step"].item() == 3
    assert loaded["optimizer"]["param_groups"] == [{"lr": 1.0}]
    assert loaded["model"].keys() == state.keys()
    for name, value in loaded["model"].items():
        assert value.backend.name == backend
        np.testing.assert_array_equal(value.numpy(), state[name].numpy())
        value.data = 0.0  # writable


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float16", "float64"])
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)])
def test_tensors_keep_dtype_and_shape(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    x = tinytorch.ones(shape, dtype=dtype)
    save(x, tmp_path / "file")
    loaded = load(tmp_path / "file")
    assert (loaded.dtype, loaded.shape, loaded.tolist()) == (x.dtype, shape, x.tolist())


def test_shared_tensors_are_saved_once_and_stay_shared(tmp_path: Path) -> None:
    x = tinytorch.zeros(1000, 2)
    save({"a": x, "b": x.detach(), "c": x.T, "d": x.detach().requires_grad_()}, tmp_path / "file")
    assert os.path.getsize(tmp_path / "file") < 18000
    loaded = load(tmp_path / "file")
    loaded["a"].fill_(1)
    assert loaded["b"].sum() == loaded["d"].sum() == 2000
    assert loaded["c"].sum() == 0
    assert [loaded[name].requires_grad for name in "abd"] == [False, False, True]


def test_names_that_collide_are_told_apart(tmp_path: Path) -> None:
    value = {"a": {"b": tensor(1)}, "a.b": tensor(2), "a.b-2": tensor(3), "__metadata__": tensor(4)}
    save(value, tmp_path / "file")
    loaded = load(tmp_path / "file")
    assert [loaded["a"]["b"].item(), loaded["a.b"].item(), loaded["a.b-2"].item()] == [1, 2, 3]
    assert loaded["__metadata__"].item() == 4


def test_open_files_are_written_and_read() -> None:
    buffer = io.BytesIO()
    save([tensor([1.0])], buffer)
    buffer.seek(0)
    assert load(buffer)[0].tolist() == [1.0]


REFUSED: dict[str, tuple[Any, str]] = {
    "module": (Linear(1, 1), r"save: Linear cannot be saved as a whole; save its state_dict\(\)"),
    "nested module": ({"m": [Linear(1, 1)]}, r"obj\['m'\]\[0\] is Linear.*state_dict"),
    "function": ({"f": print}, r"obj\['f'\] is builtin"),
    "set": ({1}, "only tensors"),
    "complex": ([1j], r"obj\[0\] is 1j"),
    "key": ({frozenset(): 1}, "cannot be saved"),
    "object": (type("Config", (), {})(), "save its attributes, vars"),
    "object array": (np.array([None]), "dtype object"),
}


@pytest.mark.parametrize(("value", "match"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_saved_is_refused_and_the_old_file_stays(
    value: Any, match: str, tmp_path: Path
) -> None:
    save(1, tmp_path / "file")
    with pytest.raises(CheckpointError, match=match):
        save(value, tmp_path / "file")
    assert load(tmp_path / "file") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_object_that_contains_itself_is_refused(tmp_path: Path) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(CheckpointError, match="contains itself"):
        save(value, tmp_path / "file")


def test_files_that_cannot_be_read_raise(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "nothing")
    with pytest.raises(TypeError, match="needs a path"):
        load(3)
    with pytest.raises(CheckpointError, match="folder"):
        load(tmp_path)
    for start in (b"PK\x03\x04", b"\x80\x02}"):
        (tmp_path / "model.pt").write_bytes(start + b"0" * 100)
        with pytest.raises(CheckpointError, match=r"model.pt is a pickle.*save_file"):
            load(tmp_path / "model.pt")
    save({"a": tensor([1.0, 2.0])}, tmp_path / "file")
    content = (tmp_path / "file").read_bytes()
    for damaged in (b"", content[:-3], content[:20], content[:-1] + b"\x01"):
        (tmp_path / "file").write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"damaged|cannot be read"):
            load(tmp_path / "file")


def test_safetensors_files_of_other_programs_are_dicts_of_tensors(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"w": np.ones((2, 3), np.float32)}, tmp_path / "weights.safetensors")
    loaded = load(tmp_path / "weights.safetensors")
    assert [*loaded] == ["w"]
    assert loaded["w"].shape == (2, 3)


def test_map_location_may_be_a_function_or_a_dict(tmp_path: Path) -> None:
    save(tensor([1.0]), tmp_path / "file")
    assert load(tmp_path / "file", lambda storage, location: storage).tolist() == [1.0]
    assert load(tmp_path / "file", {"cpu": "strict"}).backend.name == "strict"
    assert load(tmp_path / "file", tinytorch.device("cpu")).backend.name == "numpy"


def test_a_file_with_any_length_of_its_header_is_no_pickle(tmp_path: Path) -> None:
    path, first_bytes = tmp_path / "object.pt", set()
    for length in range(0, 264, 8):  # the first byte of the file is that of the header's length
        save({"a" * length: zeros(1)}, path)
        first_bytes.add(path.read_bytes()[:1])
        assert list(load(path)) == ["a" * length]
    assert b"\x80" in first_bytes  # with which a pickle starts
