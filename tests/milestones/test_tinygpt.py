"""The TinyGPT program: its output and files, resuming, and error messages."""

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tinytorch.serialization import checkpoint
from tinytorch.tinygpt import Run
from tinytorch.tinygpt import run as run_module
from tinytorch.tinygpt.run import CHECKPOINT
from tinytorch.training import Trainer

HANG = 300  # seconds after which a process that does not end has failed
PROGRAM = Path(__file__).parents[2] / "milestones" / "tinygpt.py"
SUMMARY = {
    "backend", "dataset", "dataset_sha256", "parameters", "steps", "tokens", "train_seconds",
    "tokens_per_second", "val_loss", "val_loss_per_char", "seed",
}  # fmt: skip


@pytest.fixture(scope="module")
def tinygpt() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tinygpt_program", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A small text with a learnable pattern."""
    rng = np.random.default_rng(5)
    words = ["the", "king", "and", "queen", "speak", "of", "love", "death", "night", "day"]
    lines = [" ".join(rng.choice(words, 6)) + ".\n\n" for _ in range(120)]
    path = tmp_path / "a text.txt"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def run(tinygpt: ModuleType, *arguments: Any) -> int:
    """Run the program in this process; return its exit code."""
    try:
        return int(tinygpt.main([str(a) for a in arguments]))
    except SystemExit as stop:
        return int(stop.code or 0)


def program(*arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a separate process."""
    return subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def summary(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return content


def metrics(out: Path) -> list[dict[str, Any]]:
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C during this training step."""
    step_method = Run.step

    def pressed(self: Run, until: int) -> Any:
        if self.trainer.step == step:
            signal.raise_signal(signal.SIGINT)
        return step_method(self, until)

    monkeypatch.setattr(Run, "step", pressed)


def test_a_run_writes_summary_metrics_plots_and_checkpoint(
    tinygpt: ModuleType, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "run"
    assert run(tinygpt, "--data", text, "--steps", 16, "--out", out) == 0
    printed = capsys.readouterr().out
    result = summary(out)
    assert set(result) == SUMMARY
    assert (result["steps"], result["tokens"], result["backend"]) == (16, 16 * 2048, "numpy")
    assert result["val_loss"] == result["val_loss_per_char"] < 3.1
    assert result["parameters"] > 300_000
    lines = metrics(out)
    assert [m["step"] for m in lines if "loss" in m] == [1, 10, 16]
    assert [m for m in lines if "val_loss" in m][-1]["val_loss"] == result["val_loss"]
    for picture in ("loss.png", "attention.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    assert "sample 2" in printed
    command = re.findall(r"--sample .*", printed)[-1]
    words = shlex.split(command)
    prompt = words[words.index("--prompt") + 1]
    assert prompt in text.read_text(encoding="utf-8")
    assert run(tinygpt, *words) == 0
    assert capsys.readouterr().out.startswith(prompt)


@pytest.mark.slow
def test_the_validation_loss_averages_over_every_token(
    tinygpt: ModuleType, text: Path, tmp_path: Path
) -> None:
    run(tinygpt, "--data", text, "--steps", 3, "--out", tmp_path / "r", "--quiet")
    done = Run.resume(tmp_path / "r")
    ids, context = done.val_ids, done.config.preset.context
    total = 0.0
    for start in range(0, len(ids) - 1, context):
        block = ids[start : start + context + 1]
        logits = done.model.eval()(_tensor(block[None, :-1])).numpy().astype(np.float64)[0]
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        total -= log_p[np.arange(len(block) - 1), block[1:]].sum()
    assert summary(tmp_path / "r")["val_loss"] == pytest.approx(total / (len(ids) - 1), abs=1e-4)


def _tensor(ids: Any) -> Any:
    from tinytorch import Tensor

    return Tensor(ids)


@pytest.mark.slow
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    tinygpt: ModuleType, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    flags = ("--data", text, "--steps", 13, "--quiet")
    assert run(tinygpt, *flags, "--out", whole) == 0
    with monkeypatch.context() as patch:
        interrupt_at(5, patch)
        assert run(tinygpt, *flags[:-1], "--out", broken) == 130
    output = capsys.readouterr().out
    assert "Stopped after step 6" in output
    assert f"--resume {broken}" in output
    assert not (broken / "summary.json").exists()
    with monkeypatch.context() as patch:
        interrupt_at(9, patch)
        assert run(tinygpt, "--resume", broken) == 130
    assert run(tinygpt, "--resume", broken, "--quiet") == 0
    ours, theirs = (checkpoint.load(folder / CHECKPOINT)[0] for folder in (whole, broken))
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    assert summary(whole)["val_loss"] == summary(broken)["val_loss"]
    assert _losses(whole) == _losses(broken)


def _losses(out: Path) -> list[tuple[int, float]]:
    return [(m["step"], m["loss"]) for m in metrics(out) if "loss" in m]


def test_resuming_a_finished_run_changes_nothing(
    tinygpt: ModuleType, text: Path, tmp_path: Path, capsys: Any
) -> None:
    run(tinygpt, "--data", text, "--steps", 2, "--out", tmp_path / "r", "--quiet")
    before = (tmp_path / "r" / "summary.json").read_bytes()
    assert run(tinygpt, "--resume", tmp_path / "r") == 0
    assert "already finished" in capsys.readouterr().out
    assert (tmp_path / "r" / "summary.json").read_bytes() == before


@pytest.mark.slow
def test_ctrl_c_and_kill_of_a_real_process(text: Path, tmp_path: Path) -> None:
    """Interrupted, resumed with the command that it printed, killed, and resumed again."""
    out = tmp_path / "run"
    command = [sys.executable, str(PROGRAM), "--data", str(text), "--steps", "1000000"]
    process = subprocess.Popen(
        [*command, "--out", str(out)], stdout=subprocess.PIPE, encoding="utf-8"
    )
    _wait_for(lambda: (out / "metrics.jsonl").exists(), process)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=HANG)
    assert process.returncode == 130
    resume = shlex.split(printed.strip().splitlines()[-1])
    assert resume[-2:] == ["--resume", str(out)]
    saved = checkpoint.load(out / CHECKPOINT)[1]["step"]
    process = subprocess.Popen([sys.executable, *resume[1:]], stdout=subprocess.DEVNULL)
    _wait_for(lambda: metrics(out)[-1]["step"] > saved, process)
    process.kill()
    process.wait(HANG)
    assert Run.resume(out).trainer.step == saved
    assert metrics(out)[-1]["step"] <= saved


def _wait_for(condition: Any, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + HANG
    while not condition():
        assert process.poll() is None, "the program ended on its own"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("later", "steps"), [(1.0, 45), (0.5, 75), (2.0, 30)])
def test_the_schedule_adapts_to_a_time_limit(
    tinygpt: ModuleType,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    later: float,
    steps: int,
) -> None:
    """The limit is 45 s; the first 15 steps take 1 s each, all others `later` seconds."""
    now, train_step = 0.0, Trainer.train_step

    def timed(self: Trainer, batches: Any) -> Any:
        nonlocal now
        now += 1.0 if now < 15 else later
        return train_step(self, batches)

    monkeypatch.setattr(run_module, "clock", lambda: now)
    monkeypatch.setattr(Trainer, "train_step", timed)
    out = tmp_path / "r"
    flags = ("--minutes", 0.75, "--batch-size", 1, "--preset", "demo", "--quiet")
    assert run(tinygpt, "--data", text, *flags, "--out", out) == 0
    assert (summary(out)["steps"], summary(out)["train_seconds"]) == (steps, 45)
    rates = [m["lr"] for m in metrics(out) if "lr" in m]
    assert rates[-1] < 0.2 * max(rates)


@pytest.mark.slow
def test_epochs_determine_the_number_of_steps(
    tinygpt: ModuleType, text: Path, tmp_path: Path
) -> None:
    flags = ("--data", text, "--epochs", 0.7, "--batch-size", 4, "--quiet")
    run(tinygpt, *flags, "--out", tmp_path / "r")
    train_tokens = int(0.9 * len(text.read_text(encoding="utf-8")))
    assert summary(tmp_path / "r")["steps"] == -(-0.7 * train_tokens // (4 * 256))


@pytest.mark.slow
def test_byte_pair_tokens(tinygpt: ModuleType, text: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "r"
    flags = ("--tokenizer", "bpe", "--vocab-size", 300, "--preset", "nanogpt-cpu")
    assert run(tinygpt, "--data", text, "--steps", 4, *flags, "--out", out, "--quiet") == 0
    result = summary(out)
    assert result["val_loss_per_char"] < result["val_loss"]
    assert capsys.readouterr().out == ""
    words = "--prompt", "the quéen €", "--tokens", 9, "--seed", 3
    samples = []
    for _ in range(2):
        assert run(tinygpt, "--sample", out, *words, "--temperature", 1, "--top-k", 5) == 0
        samples.append(capsys.readouterr().out)
    assert samples[0] == samples[1]
    assert samples[0].startswith("the quéen €")


@pytest.mark.slow
def test_results_of_an_earlier_run_are_kept(
    tinygpt: ModuleType, text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    for seed in (1, 2, 3):
        flags = ("--data", text, "--steps", 1, "--seed", seed, "--quiet")
        assert run(tinygpt, *flags, "--out", out) == 0
    seeds = [summary(folder)["seed"] for folder in (out / "earlier-1", out / "earlier-2", out)]
    assert seeds == [1, 2, 3]
    assert (out / "earlier-1" / CHECKPOINT).exists()


def test_the_default_folder_is_relative_to_the_working_directory(
    tinygpt: ModuleType, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(tinygpt, "--data", text.name, "--steps", 1, "--quiet") == 0
    assert summary(tmp_path / "runs" / "tinygpt")["steps"] == 1
    monkeypatch.chdir("/")
    assert Run.resume(tmp_path / "runs" / "tinygpt").finished


@pytest.mark.slow
def test_training_on_other_backends_equals_training_on_numpy(text: Path, tmp_path: Path) -> None:
    text.write_text(text.read_text(encoding="utf-8")[:2700], encoding="utf-8")
    flags = ("--data", text, "--steps", 2, "--batch-size", 2, "--quiet")
    names = ("numpy", "strict", "reference")
    for backend in names:
        done = program(*flags, "--out", tmp_path / backend, TT_BACKEND=backend)
        assert (done.returncode, done.stderr) == (0, "")
        assert summary(tmp_path / backend)["backend"] == backend
    losses = [summary(tmp_path / name)["val_loss"] for name in names]
    assert losses[1:] == pytest.approx([losses[0]] * 2, abs=1e-4)


BAD_FLAGS = {
    "unknown flag": ["--foo"],
    "zero steps": ["--steps", "0"],
    "not a number": ["--steps", "x"],
    "infinite time": ["--minutes", "inf"],
    "two lengths": ["--steps", "3", "--minutes", "2"],
    "unknown preset": ["--preset", "huge"],
    "prompt without sample": ["--prompt", "x"],
    "vocabulary size without bpe": ["--vocab-size", "300"],
    "steps for a resumed run": ["--resume", "{good}", "--steps", "4"],
    "negative temperature": ["--sample", "{good}", "--temperature", "-1"],
    "short text": ["--data", "{short}"],
    "empty text": ["--data", "{empty}"],
    "not UTF-8": ["--data", "{latin}"],
    "no file": ["--data", "{missing}"],
    "a folder": ["--data", "{good}"],
    "unwritable folder": ["--data", "{text}", "--steps", "1", "--out", "{short}/run"],
    "truncated checkpoint": ["--resume", "{cut}"],
    "truncated checkpoint to sample": ["--sample", "{cut}"],
    "no checkpoint": ["--resume", "{missing}"],
    "checkpoint of another program to sample": ["--sample", "{other}"],
    "checkpoint of another program": ["--resume", "{other}"],
    "weights of another model": ["--sample", "{wrong}"],
    "unknown characters": ["--sample", "{good}", "--prompt", "Ωmega"],
    "empty prompt": ["--sample", "{good}", "--prompt", ""],
    "changed text": ["--resume", "{changed}"],
}


@pytest.fixture(scope="module")
def places(tinygpt: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A valid run, and invalid files of every kind."""
    base = tmp_path_factory.mktemp("places")
    found = {
        name: base / name
        for name in ("text", "short", "empty", "latin", "missing", "good", "changed")
    }
    found["text"].write_text("to be or not to be, that is the question\n" * 80, encoding="utf-8")
    found["short"].write_text("too short", encoding="utf-8")
    found["empty"].write_bytes(b"")
    found["latin"].write_bytes("Öde Plätze".encode("latin-1") * 500)
    run(tinygpt, "--data", found["text"], "--steps", 1, "--out", found["good"], "--quiet")
    arrays, metadata = checkpoint.load(found["good"] / CHECKPOINT)
    config = {**metadata["config"], "data": str(base / "changing")}
    (base / "changing").write_text("something else, long enough\n" * 60, encoding="utf-8")
    versions = {
        "cut": (arrays, metadata),
        "other": ({"weights": np.zeros(3)}, {"made by": "somebody"}),
        "wrong": ({**arrays, "model/head.weight": np.zeros((2, 2))}, metadata),
        "changed": (arrays, {**metadata, "config": config}),
    }
    for name, (a, m) in versions.items():
        found[name] = base / name
        found[name].mkdir(exist_ok=True)
        checkpoint.save(found[name] / CHECKPOINT, a, m)
    whole = (found["cut"] / CHECKPOINT).read_bytes()
    (found["cut"] / CHECKPOINT).write_bytes(whole[: len(whole) // 2])
    return found


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_errors_are_one_sentence_and_leave_all_files_unchanged(
    tinygpt: ModuleType, places: dict[str, Path], case: str, capsys: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    base = places["good"].parent
    before = {p: p.read_bytes() for p in base.rglob("*") if p.is_file()}
    arguments = [a.format(**{k: str(v) for k, v in places.items()}) for a in BAD_FLAGS[case]]
    assert run(tinygpt, *arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("tinygpt: ")
    assert output.err.count("\n") == 1
    assert "Traceback" not in output.err
    assert {p: p.read_bytes() for p in base.rglob("*") if p.is_file()} == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["cupy", "abacus"])
def test_an_unusable_backend_is_an_error_before_training(
    backend: str, text: Path, tmp_path: Path
) -> None:
    done = program("--data", text, "--steps", 1, "--out", tmp_path / "r", TT_BACKEND=backend)
    if backend == "cupy" and done.returncode == 0:
        pytest.skip("CuPy has a GPU here, so there is no error to see")
    assert done.returncode == 2
    assert done.stderr.startswith("tinygpt: ")
    assert done.stderr.count("\n") == 1
    assert backend in done.stderr
    assert not (tmp_path / "r").exists()


def test_processes_that_the_backend_does_not_support_are_an_error_before_training(
    text: Path, tmp_path: Path
) -> None:
    flags = ["--data", text, "--steps", 1, "--out", tmp_path / "r", "--processes", 2]
    done = program(*flags, TT_BACKEND="strict")
    assert done.returncode == 2
    assert done.stderr.startswith("tinygpt: processes cannot share arrays of the backend strict")
    assert done.stderr.endswith(": use one process\n")
    assert not (tmp_path / "r").exists()


def test_missing_packages_are_reported_before_training(
    tinygpt: ModuleType, monkeypatch: pytest.MonkeyPatch, text: Path, capsys: Any
) -> None:
    monkeypatch.setattr("tinytorch.tinygpt.program.find_spec", lambda name: None)
    assert run(tinygpt, "--data", text, "--steps", 1) == 2
    assert 'pip install -e ".[milestones]"' in capsys.readouterr().err
