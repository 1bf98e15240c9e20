"""The stand-ins for compiled packages do the same as the packages."""

import importlib.util
import sys
import unicodedata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import regex
import safetensors.numpy

from tinytorch.browser.library import STANDINS
from tinytorch.serialization.checkpoint import CheckpointError, load, save

PATTERNS = [
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?:[ \t\f]*\n)+[ \t]*| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
    r"\P{L}+|\p{Lu}|\\p",
]


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that imports a stand-in under its own name, in the place of the package."""

    def load_as(name: str) -> ModuleType:
        for known in [n for n in sys.modules if n.split(".")[0] == name]:
            monkeypatch.delitem(sys.modules, known)
        monkeypatch.syspath_prepend(str(STANDINS))
        importlib.invalidate_caches()
        module = importlib.import_module(name)
        assert Path(str(module.__file__)).is_relative_to(STANDINS)
        return module

    yield load_as
    for known in [n for n in sys.modules if n.split(".")[0] in ("regex", "safetensors")]:
        if Path(str(getattr(sys.modules[known], "__file__", ""))).is_relative_to(STANDINS):
            del sys.modules[known]


def characters() -> str:
    """Every character that Python's Unicode and that of `regex` put into the same category."""
    every = "".join(map(chr, (*range(0xD800), *range(0xE000, sys.maxunicode + 1))))
    known = regex.findall(r"\P{Cn}", every)
    return "".join(c for c in known if unicodedata.category(c) != "Cn")


def test_regex_knows_the_same_letters_and_numbers(standin: Any) -> None:
    text = characters()
    mine = standin("regex")
    for name in ("L", "N"):
        pattern = rf"\p{{{name}}}"
        assert "".join(mine.compile(pattern).findall(text)) == "".join(regex.findall(pattern, text))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_regex_splits_the_same_words(standin: Any, pattern: str) -> None:
    text = "The dog's 12th \u00e9t\u00e9,\n\n  if x\\p: 日本語 Ⅻ ½\t'll  \n\u0301a A_b"
    assert standin("regex").compile(pattern).findall(text) == regex.findall(pattern, text)


def test_regex_refuses_an_unknown_property(standin: Any) -> None:
    mine = standin("regex")
    with pytest.raises(mine.error, match="unknown property Xx"):
        mine.compile(r"\p{Xx}")


ARRAYS: dict[str, Any] = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3), "é": np.float64(3.5).reshape(()),
    "mask": np.array([True, False, True]), "ids": np.array([[1, -2]]),
    "none": np.zeros((0, 4), np.float16),
}  # fmt: skip


def test_safetensors_writes_what_the_package_reads(standin: Any) -> None:
    standin("safetensors")
    written = importlib.import_module("safetensors.numpy").save(ARRAYS, {"step": "1"})
    read = safetensors.numpy.load(written)
    assert {name: (v.dtype, v.tolist()) for name, v in read.items()} == {
        name: (v.dtype, v.tolist()) for name, v in ARRAYS.items()
    }


def test_checkpoints_are_exchanged_with_the_package(tmp_path: Path, standin: Any) -> None:
    save(tmp_path / "a", ARRAYS, {"step": 3})
    standin("safetensors")
    arrays, metadata = load(tmp_path / "a")
    assert metadata == {"step": 3}
    assert {n: v.tolist() for n, v in arrays.items()} == {n: v.tolist() for n, v in ARRAYS.items()}
    save(tmp_path / "b", ARRAYS, {"step": 3})
    assert load(tmp_path / "b")[1] == {"step": 3}


def test_damaged_files_are_refused(tmp_path: Path, standin: Any) -> None:
    save(tmp_path / "a", ARRAYS, {})
    data = (tmp_path / "a").read_bytes()
    standin("safetensors")
    for damaged in (b"", data[:5], data[:40], data[:-1], data + b"\0", data.replace(b"F32", b"F33"),
                    data.replace(b"[2,3]", b"[2,4]"), b"\xff" * 7 + data[7:]):  # fmt: skip
        (tmp_path / "a").write_bytes(damaged)
        with pytest.raises(CheckpointError, match="is damaged"):
            load(tmp_path / "a")
