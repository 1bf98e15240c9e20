"""Any text can be trained on, and on any console: no fixed English passes through a tokenizer."""

import io
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import load_module

from tinytorch.tinygpt import PRESETS
from tinytorch.tinygpt.report import ProgressReport

pytestmark = pytest.mark.slow

MILESTONES = Path(__file__).parents[2] / "milestones"
DEMO = MILESTONES / "05_transformer_era_2017" / "tinygpt_shakespeare.py"
SETTINGS = ("--steps", "2", "--batch-size", "2", "--processes", "1")

TEXTS = {
    "russian": "мороз и солнце; день чудесный!\n" * 80,
    "chinese": "语言模型很有趣。\n" * 300,
    "emoji": "👍🎭👩‍👩‍👧 \n" * 400,
    "arabic": "السلام عليكم\n" * 200,
    "dna": "GATTACA" * 400,
    "upper case": "TO BE OR NOT TO BE\n" * 150,
    "no newline": "the cat sat on the mat. " * 120,
    "spaces": " " * 2500,
    "newlines": "\n" * 2500,
    "one character": "a" * 2500,
    "dashes": "-x --y\n" * 400,
    "quotes": 'it\'s "$HOME" `x` \\n\n' * 150,
    "carriage returns": "one\r\ntwo\r\n\r\n" * 250,
    "nul": "a\0b\n" * 700,
    "control characters": "\x1b[31mred\x07\n" * 250,
    "combining marks": "e\u0301a\u0308 \u202eabc\n" * 300,
    "dollars": "$x_1$ {a} %s\n" * 250,
}
ENCODINGS = ("ascii", "cp1252", "latin-1")


@pytest.fixture(scope="module")
def tinygpt() -> Iterator[ModuleType]:
    """The program with a small model."""
    small = replace(PRESETS["default"], embed_dim=16, num_layers=1, num_heads=1, context=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "default", small)
        yield load_module(MILESTONES / "tinygpt.py")


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    return load_module(DEMO)


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8"))
    return path


@pytest.mark.parametrize("name", TEXTS)
def test_any_text_can_be_trained_on_and_sampled_as_the_output_says(
    tinygpt: ModuleType, tmp_path: Path, capsys: Any, name: str
) -> None:
    file, out = write(tmp_path / "text", TEXTS[name]), tmp_path / "run"
    assert tinygpt.main(["--data", str(file), *SETTINGS, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # no warnings of missing glyphs
    [command] = re.findall(r"--sample .*", printed.out)
    words = shlex.split(command)
    words[-1] = "5"
    assert tinygpt.main(words) == 0
    assert tinygpt.main(["--sample", str(out), "--tokens", "5"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["russian", "spaces", "no newline"])
def test_the_demo_explains_any_text(
    demo: ModuleType, tmp_path: Path, capsys: Any, name: str
) -> None:
    file = write(tmp_path / "text", TEXTS[name])
    flags = ["--data", str(file), "--epochs", "0.02", "--batch-size", "2"]
    assert demo.main([*flags, "--out", str(tmp_path / "run")]) == 0
    assert "6. Generate" in capsys.readouterr().out


def test_byte_pair_tokens_of_any_text(tinygpt: ModuleType, tmp_path: Path, capsys: Any) -> None:
    file, out = write(tmp_path / "text", TEXTS["chinese"]), str(tmp_path / "run")
    flags = ["--tokenizer", "bpe", "--vocab-size", "256", "--quiet"]
    assert tinygpt.main(["--data", str(file), *SETTINGS, *flags, "--out", out]) == 0
    assert tinygpt.main(["--sample", out, "--tokens", "5"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_console_that_cannot_show_the_text_prints_question_marks(
    tinygpt: ModuleType, demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    encoding: str,
) -> None:  # fmt: skip
    out = [str(tmp_path / name) for name in ("a", "b")]
    file = str(write(tmp_path / "text", "the “world” 语言模型 👍\n" * 200))
    flags = ["--data", file, "--batch-size", "2"]
    program = [*flags, "--steps", "8", "--processes", "1", "--out", out[0]]
    for main, arguments in (
        (tinygpt.main, program),
        (tinygpt.main, ["--sample", out[0], "--prompt", "world", "--tokens", "60"]),
        (demo.main, [*flags, "--epochs", "0.05", "--out", out[1]]),
    ):
        console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", console)
        assert main(arguments) == 0
        console.flush()
        assert b"?" in console.buffer.getvalue()  # type: ignore[attr-defined]


def test_a_checkpoint_is_saved_before_anything_is_printed(
    tinygpt: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def closed(self: Any, text: str) -> None:
        if "validation loss" in text:
            assert (tmp_path / "run" / "checkpoint.safetensors").exists()
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(ProgressReport, "print", closed)
    file = write(tmp_path / "text", TEXTS["dna"])
    flags = ["--data", str(file), *SETTINGS[2:], "--steps", "9", "--out", str(tmp_path / "run")]
    assert tinygpt.main(flags) == 2
    error = capsys.readouterr().err
    assert "Broken pipe; step 2 is saved, resume with: " in error
    assert tinygpt.main(["--resume", str(tmp_path / "run"), "--quiet"]) == 0


def test_a_reader_that_ends_is_one_sentence(tmp_path: Path) -> None:
    file = write(tmp_path / "text", TEXTS["dna"])
    program = [sys.executable, str(MILESTONES / "tinygpt.py"), "--data", str(file), *SETTINGS[2:]]
    with subprocess.Popen(
        [*program, "--steps", "1000000", "--out", str(tmp_path / "run")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.send_signal(signal.SIGINT)  # its message cannot be printed
        assert process.stderr is not None
        error = process.stderr.read()
    assert process.returncode in (2, 130)
    assert error.count("\n") <= 1
