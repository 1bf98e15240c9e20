"""The TinyCoder program: training on a folder of modules, its figures, and completion of code."""

import io
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import load_module, require

from tinytorch.serialization import checkpoint
from tinytorch.tinygpt import PRESETS, Run, session
from tinytorch.tinygpt.presets import fit_steps
from tinytorch.tinygpt.run import CHECKPOINT, RESULTS

require("matplotlib")

PROGRAM = Path(__file__).parents[2] / "milestones" / "tinycoder.py"
SMALL = fit_steps(
    PRESETS["coder"], embed_dim=32, num_layers=1, num_heads=2, context=64, batch_size=16, steps=150
)


@pytest.fixture(scope="module")
def tinycoder() -> Any:
    """The program with a small model, whose completions are as short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "coder", SMALL)
        module = load_module(PROGRAM)
        patch.setattr(module, "CLAIMED_STEPS", 150)
        patch.setattr(module, "NEW_TOKENS", 32)
        patch.setattr(module, "NGRAM", 2)  # longer ones know the language of `library` too well
        patch.setattr(session, "EVALUATIONS", 1)
        yield module


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen modules of functions of one kind: a small grammar that can be learned."""
    folder, rng = tmp_path_factory.mktemp("a library"), random.Random(0)
    names = ["node", "value", "index", "count", "key", "size"]
    for number in range(12):
        text = '"""A module."""\n\nimport os\n'
        for _ in range(40):
            a, b, c = rng.sample(names, 3)
            text += f"\n\ndef {a}_of_{b}({b}, {c}):\n    if {b} > {c}:\n"
            text += f"        return {b}.{a}\n    return {c}[{rng.randint(0, 9)}]\n"
        (folder / f"module{number}.py").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def flags(library: Path) -> list[str]:
    sizes = ["--vocab-size", "300", "--processes", "1", "--quiet"]
    return ["--data", str(library), *sizes]


@pytest.fixture(scope="module")
def trained(
    tinycoder: ModuleType, flags: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert tinycoder.main([*flags, "--out", str(out)]) == 0
    return out


def summary(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return content


def main(program: ModuleType, *arguments: Any) -> int:
    try:
        return int(program.main([str(a) for a in arguments]))
    except SystemExit as stop:
        return int(stop.code or 0)


def test_a_run_learns_and_confirms_its_claim(trained: Path, library: Path) -> None:
    assert sorted(path.name for path in trained.iterdir()) == sorted(RESULTS)
    result = summary(trained)
    assert result["dataset"] == library.name
    assert result["python"] == ".".join(map(str, sys.version_info[:3]))
    assert result["val_loss_per_char"] < result["ngram_loss_per_char"]
    per_token = result["val_loss_per_char"] * result["characters_per_token"]
    assert per_token == pytest.approx(result["val_loss"], rel=0.01)
    assert result["pairs_loss_per_char"] > result["val_loss_per_char"]
    assert [claim["holds"] for claim in result["claims"]] == [True]
    shares = result["completions"]
    assert list(shares) == ["TinyCoder", "n-grams", "real code"]
    assert {share["total"] for share in shares.values()} == {shares["real code"]["total"]}
    assert shares["real code"]["share"] == 1
    assert shares["TinyCoder"]["share"] > shares["n-grams"]["share"]


def test_a_run_says_what_it_measured_and_a_claim_that_does_not_hold_is_exit_code_1(
    tinycoder: ModuleType, flags: list[str], tmp_path: Path, capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(tinycoder, "CLAIMED_STEPS", 2)
    monkeypatch.setattr(tinycoder, "FUNCTIONS", 8)
    assert main(tinycoder, *flags[:-1], "--steps", 2, "--out", tmp_path / "r") == 1
    captured, result = capsys.readouterr(), summary(tmp_path / "r")
    assert [claim["holds"] for claim in result["claims"]] == [False]
    message = "tinycoder: not confirmed: it predicts better than the frequencies of pairs of tokens"
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1
    assert "Held out, 1 modules with" in captured.out
    assert "PSF" not in captured.out  # these modules are not Python's
    for name, share in result["completions"].items():
        (line,) = (x for x in captured.out.splitlines() if x.startswith(f"  {name} "))
        assert f"{share['share']:4.0%} ({share['low']:.0%} to {share['high']:.0%})" in line
        assert f"of 8, {share['lines']:.1f} lines each" in line


@pytest.mark.slow
def test_an_interrupted_run_resumes_bit_for_bit(
    tinycoder: ModuleType, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_method = Run.step

    def pressed(self: Run, until: int) -> Any:
        if self.trainer.step == 5:
            signal.raise_signal(signal.SIGINT)
        return step_method(self, until)

    monkeypatch.setattr(tinycoder, "FUNCTIONS", 8)
    short = [*flags, "--steps", "12"]
    assert main(tinycoder, *short, "--out", tmp_path / "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", pressed)
        assert main(tinycoder, *short, "--out", tmp_path / "broken") == 130
    assert not (tmp_path / "broken" / "summary.json").exists()
    resume = ("--resume", tmp_path / "broken", "--quiet", "--processes", 1)
    assert main(tinycoder, *resume) == 0
    a, b = (checkpoint.load(tmp_path / name / CHECKPOINT)[0] for name in ("whole", "broken"))
    assert all((a[name] == b[name]).all() for name in a)
    results = [summary(tmp_path / name) for name in ("whole", "broken")]
    for result in results:
        del result["train_seconds"], result["tokens_per_second"]
    assert results[0] == results[1]
    (tmp_path / "broken" / "summary.json").unlink()
    assert main(tinycoder, *resume) == 0  # what is missing is measured again
    assert summary(tmp_path / "broken")["completions"] == results[0]["completions"]


PROMPT = "def node_of_key(key, size):"


def test_code_is_completed_up_to_the_end_of_its_function(
    tinycoder: ModuleType, trained: Path, capsys: Any
) -> None:
    for start in (PROMPT, f"{PROMPT}\n    if key > size:", f"import os\n\n\n{PROMPT}\n    "):
        flags = ["--sample", trained, "--prompt", start, "--temperature", "0"]
        assert main(tinycoder, *flags) == 0
        text = capsys.readouterr().out
        assert text.startswith(start.rstrip() + "\n    ")
        written = text[len(start.rstrip()) :].split("\n")[1:]
        assert written
        assert all(line.startswith("    ") or not line.strip() for line in written)
    assert main(tinycoder, "--sample", trained, "--prompt", "import os", "--tokens", 90) == 0
    assert capsys.readouterr().out.count("def ") > 1  # no function is open, so all is shown


def test_what_is_shown_is_what_is_generated(tinycoder: ModuleType) -> None:
    program = tinycoder.TinyCoder("tinycoder", "")
    pieces = ["\n    ", "a", " =", " 1", "\n\n    ", "return a", "\n\n\n", "x", " = 2", "\n", "y"]
    shown = list(program.continuation("def f():", iter(pieces)))
    assert "".join(shown) == "\n    a = 1\n\n    return a"
    assert len(shown) > 1  # as it is generated
    for prompt in ("a = 1", "def f():\n    pass\n\nb = 2"):
        assert "".join(program.continuation(prompt, iter(pieces))) == "".join(pieces)
    assert "".join(program.continuation("def f():", iter(["\n  ", "a"]))) == "\n  a"


def test_piped_code_is_completed(
    tinycoder: ModuleType, trained: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = []
    for text in (PROMPT, PROMPT + "\n\n"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert main(tinycoder, "--sample", trained, "--seed", 1) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]  # the end of the last line makes no difference
    assert outputs[0].startswith(PROMPT)
    monkeypatch.setattr(sys, "stdin", io.StringIO(" \n"))
    assert main(tinycoder, "--sample", trained) == 2
    error = capsys.readouterr().err
    assert error == "tinycoder: the prompt is empty: it needs at least one character\n"
    monkeypatch.setattr(sys, "stdin", None)  # python tinycoder.py <&-
    assert main(tinycoder, "--sample", trained) == 2
    assert capsys.readouterr().err.startswith("tinycoder: there is no input, ")


def test_code_that_is_no_utf_8_is_completed_with_replacement_characters(
    tinycoder: ModuleType, trained: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--sample", trained, "--tokens", 3]
    strict = io.TextIOWrapper(io.BytesIO(b"a = '\xff"), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdin", strict)  # as where the locale is UTF-8
    assert main(tinycoder, *flags) == 0
    assert main(tinycoder, *flags, "--prompt", "a = '\udcff") == 0
    assert capsys.readouterr().out.count("a = '\ufffd") == 2


def test_typed_code_is_completed_at_each_empty_line(
    tinycoder: ModuleType, trained: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    typed = f"\n{PROMPT}\n    if key > size:\n\nimport os\n\nimport"
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert main(tinycoder, "--sample", trained, "--tokens", 40, "--seed", 1) == 0
    printed = capsys.readouterr().out
    assert "Ctrl-D ends" in printed
    assert f"{PROMPT}\n    if key > size:\n     " in printed
    assert printed.count("import os\n") == 1
    assert "\nimport" in printed.split("import os\n")[1]  # ended by Ctrl-D, and completed too


@pytest.mark.skipif(os.name != "posix", reason="other messages on Windows")
def test_errors_are_one_sentence_and_change_nothing(
    tinycoder: ModuleType, trained: Path, library: Path, tmp_path: Path, capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    text = library / "module0.py"
    (tmp_path / "empty").mkdir()
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    arrays, metadata = checkpoint.load(other / CHECKPOINT)
    metadata["config"]["data"], corpus = str(text), metadata["dataset_sha256"]
    checkpoint.save(other / CHECKPOINT, arrays, metadata)
    for flags, message in {
        ("--data", text): "--data must be a folder of Python modules, and",
        ("--data", "empty"): "at least two Python modules or packages",
        ("--data", "nothing"): "--data must be a folder of Python modules, and nothing is none",
        ("--vocab-size", "300", "--tokenizer", "char"): "--vocab-size needs --tokenizer bpe or",
        ("--vocab-size", "255"): "vocab_size must be at least 256",
        ("--sample", trained, "--steps", "3"): "--steps cannot be used with --sample",
        ("--resume", trained, "--prompt", "x"): "--prompt cannot be used with --resume",
        ("--resume", other): "has changed since the run was started",
    }.items():
        assert main(tinycoder, *flags) == 2
        error = capsys.readouterr().err
        assert error.startswith("tinycoder: ")
        assert error.count("\n") == 1
        assert message in error
    assert corpus != metadata["config"]["data"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "other"]


def test_a_run_on_another_text_is_not_resumed(
    tinycoder: ModuleType, tmp_path: Path, capsys: Any, library: Path
) -> None:
    tinygpt = load_module(PROGRAM.with_name("tinygpt.py"))
    text = tmp_path / "text"
    text.write_text("to be or not to be\n" * 90, encoding="utf-8")
    flags = ["--preset", "coder", "--steps", "1", "--quiet", "--processes", "1"]
    out = tmp_path / "r"
    assert main(tinygpt, *flags, "--data", text, "--out", out) == 0
    assert main(tinycoder, "--resume", out) == 2
    assert f"{out} is a run on text, not on modules" in capsys.readouterr().err
    assert main(tinygpt, *flags, "--data", library, "--out", tmp_path / "folder") == 0
    assert summary(tmp_path / "folder")["dataset"] == library.name
