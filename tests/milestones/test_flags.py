"""Flags and folders of both programs: a bad one is one sentence, code 2, and changes no file."""

import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import load_module

from tinytorch.serialization import checkpoint
from tinytorch.tinygpt import Run
from tinytorch.tinygpt.interrupt import Stop
from tinytorch.tinygpt.lock import FolderLock
from tinytorch.tinygpt.report import ProgressReport
from tinytorch.tinygpt.run import CHECKPOINT

MILESTONES = Path(__file__).parents[2] / "milestones"
DEMO = MILESTONES / "05_transformer_era_2017" / "tinygpt_shakespeare.py"
HUGE = "1" + "0" * 19
DIGITS = "9" * 5000
POSIX = pytest.mark.skipif(os.name != "posix", reason="Windows has no pipes and locks like these")


@pytest.fixture(scope="module")
def programs() -> dict[str, ModuleType]:
    return {"tinygpt": load_module(MILESTONES / "tinygpt.py"), "demo": load_module(DEMO)}


@pytest.fixture(scope="module")
def good(programs: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and the folder `run` of a finished run."""
    base = tmp_path_factory.mktemp("good")
    text = "to be or not to be, that is the question\n" * 80
    (base / "text").write_text(text, encoding="utf-8")
    (base / "spaces").write_text(" " * 200, encoding="utf-8")
    (base / "file").write_text("a file", encoding="utf-8")
    if os.name == "posix":
        os.mkfifo(base / "pipe")
        (base / "loop").symlink_to("loop")
        (base / "piped").mkdir()
        os.mkfifo(base / "piped" / CHECKPOINT)
    flags = ["--data", str(base / "text"), "--steps", "12", "--batch-size", "2", "--quiet"]
    sizes = ["--processes", "1", "--out", str(base / "run")]
    assert programs["tinygpt"].main([*flags, *sizes]) == 0
    return base


TRAIN = ["--data", "{}/text", "--out", "{}/new", "--steps", "1"]
BAD: dict[str, list[str]] = {
    **{
        f"{flag} {value:.20}": [
            *TRAIN[: 4 if flag in ("--minutes", "--epochs") else 6],
            flag,
            value,
        ]
        for flag, values in {
            "--seed": ["-1", "1.5", "", DIGITS, str(2**64)],
            "--batch-size": ["0", "-3", HUGE, DIGITS, "10000000", "x", "²"],
            "--minutes": ["0", "-1", "nan", "inf", "1e305", "1e7", "5e-324"],
            "--epochs": ["0", "nan", "1e308", "1e30", "5e-324"],
            "--steps": ["0", HUGE, DIGITS, "1e3"],
            "--processes": ["0", "-1", DIGITS],
            "--data": ["", "{}/pipe", "{}/loop", "/dev/zero", "{}", "{}/nothing", "{}/spaces"],
            "--out": ["", "{}/file", "{}/file/run", "{}/loop"],
            "--tokenizer": ["", "word"],
            "--vocab-size": ["300"],
            "--temperature": ["0", "1"],
            "--tokens": ["5"],
            "--prompt": [""],
        }.items()
        for value in values
    },
    "vocab-size 255": [*TRAIN, "--tokenizer", "bpe", "--vocab-size", "255"],
    "vocab-size 1": [*TRAIN, "--tokenizer", "bpe", "--vocab-size", "1"],
    "resume with seed 0": ["--resume", "{}/run", "--seed", "0"],
    "resume nothing": ["--resume", ""],
    "resume a pipe": ["--resume", "{}/piped"],
    "sample with steps": ["--sample", "{}/run", "--steps", "3"],
    "sample and resume": ["--sample", "{}/run", "--resume", "{}/run"],
    "sample nothing": ["--sample", ""],
    "sample a pipe": ["--sample", "{}/piped"],
    "sample with seed -1": ["--sample", "{}/run", "--seed", "-1"],
    "sample with huge tokens": ["--sample", "{}/run", "--tokens", DIGITS],
    "sample with top-k 0": ["--sample", "{}/run", "--top-k", "0"],
    "sample with temperature nan": ["--sample", "{}/run", "--temperature", "nan"],
    "sample with a surrogate": ["--sample", "{}/run", "--prompt", "\udcff"],
}
BAD_DEMO: dict[str, list[str]] = {
    f"{flag} {value:.20}": ["--data", "{}/text", "--out", "{}/new", flag, value]
    for flag, values in {
        "--seed": ["-1", "x"],
        "--epochs": ["0", "nan", "1e308"],
        "--batch-size": ["0", "10000000", HUGE, "1" + "0" * 30],
        "--data": ["", "{}/pipe", "{}/loop", "/dev/zero", "{}/nothing"],
        "--out": ["", "{}/file"],
    }.items()
    for value in values
}


def snapshot(folder: Path) -> dict[Path, bytes | None]:
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def main(program: ModuleType, arguments: list[str], base: Path) -> int:
    """Run a program with `base` in place of {} in its arguments."""
    try:
        return int(program.main([a.replace("{}", str(base)) for a in arguments]))
    except SystemExit as stop:
        return int(stop.code or 0)


def assert_one_sentence(captured: Any, name: str) -> None:
    assert captured.err.startswith(f"{name}: ")
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 900


@POSIX
@pytest.mark.parametrize("case", BAD)
def test_bad_flags(
    programs: dict[str, ModuleType], good: Path, capsys: Any, case: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = snapshot(good)
    assert main(programs["tinygpt"], BAD[case], good) == 2
    captured = capsys.readouterr()
    assert_one_sentence(captured, "tinygpt")
    assert captured.out == ""
    assert snapshot(good) == before
    assert not list(tmp_path.iterdir())


@POSIX
@pytest.mark.parametrize("case", BAD_DEMO)
def test_bad_flags_of_the_demo(
    programs: dict[str, ModuleType], good: Path, capsys: Any, case: str
) -> None:
    before = snapshot(good)
    assert main(programs["demo"], BAD_DEMO[case], good) == 2
    assert_one_sentence(capsys.readouterr(), "tinygpt_shakespeare")
    assert snapshot(good) == before


@pytest.mark.parametrize("value", ["1e-320", "1e-7", "0"])
def test_a_tiny_temperature_is_greedy(
    programs: dict[str, ModuleType], good: Path, capsys: Any, value: str
) -> None:
    outputs = []
    for temperature in (value, "0"):
        flags = ["--sample", "{}/run", "--tokens", "9", "--temperature", temperature]
        assert main(programs["tinygpt"], flags, good) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


def test_a_huge_temperature_a_huge_top_k_and_a_huge_seed(
    programs: dict[str, ModuleType], good: Path
) -> None:
    flags = ["--temperature", "1e308", "--top-k", str(10**12), "--seed", str(2**64 - 1)]
    assert main(programs["tinygpt"], ["--sample", "{}/run", "--tokens", "3", *flags], good) == 0


# Checkpoints that are readable, but have wrong contents


def _with(path: str, value: Any) -> Any:
    """Return a function that sets a place such as "config/preset/lr" in a checkpoint's metadata."""

    def change(arrays: dict[str, Any], metadata: dict[str, Any]) -> None:
        *outer, last = path.split("/")
        for name in outer:
            metadata = metadata[int(name) if isinstance(metadata, list) else name]
        metadata[last] = value

    return change


def _array(name: str, value: Any) -> Any:
    def change(arrays: dict[str, Any], metadata: dict[str, Any]) -> None:
        arrays[name] = value(arrays[name])

    return change


DAMAGES: dict[str, Any] = {
    **{
        f"{path} {value!r:.20}": _with(path, value)
        for path, values in {
            "config": [None, [], {}, "x"],
            "config/preset": [None, {}, []],
            "config/preset/num_layers": [2**31, -1, 3, "4", None],
            "config/preset/accumulation": [2**31, 0, 1.5],
            "config/preset/embed_dim": [95, 2**20],
            "config/preset/num_heads": [0, 7],
            "config/preset/context": [2**31, 0],
            "config/preset/context_doublings": [-1, 17, "2", None],
            "config/preset/batch_size": [2**31, -2],
            "config/preset/betas": [None, 0.9, [1], ["a", "b"]],
            "config/preset/positions": ["none", 3],
            "config/preset/unknown": [1],
            "config/data": [3, "", "/dev/zero", "/nothing", "a\0b"],
            "config/tokenizer": ["word", None],
            "config/seed": [-1, "x"],
            "config/minutes": [-1, "x", float("nan"), float("inf")],
            "config/epochs": [-1, 1e308],
            "tokenizer": [None, {}, {"type": ""}, {"type": "char", "vocab": []}, [], "char"],
            "dataset_sha256": [None, 3, "x"],
            "seconds": [None, -1, "x", float("nan"), True],
            "step": [None, -1, "x", 1.5, True],
            "optimizers": [None, [], {}, [{}, {}], [1, 2]],
            "optimizers/0/param_groups": [None, [], [{}], [{}, {}], "x"],
            "optimizers/0/param_groups/0/lr": [None, "a", float("nan"), -1, [0.1]],
            "optimizers/0/param_groups/1/params": [None, [], [3, "x"]],
            "optimizers/0/state": [None, "x", {"99": {}}],
            "optimizers/0/state/0/step": [None, -1, "x"],
            "random": [None, {}, {"bit_generator": "x"}],
            "random/masks": [[1], "x", [1.5, 2]],
        }.items()
        for value in values
    },
    "no step": lambda arrays, metadata: metadata.pop("step"),
    "no seconds": lambda arrays, metadata: metadata.pop("seconds"),
    "no random state": lambda arrays, metadata: metadata.pop("random"),
    "no head": lambda arrays, metadata: arrays.pop("model/head.weight"),
    "no embedding": lambda arrays, metadata: arrays.pop("model/embedding.tokens.weight"),
    "no weights": lambda arrays, metadata: arrays.clear(),
    "another shape": _array("model/head.weight", lambda a: a.T.copy()),
    "NaN weights": _array("model/head.weight", lambda a: np.full_like(a, np.nan)),
    "infinite weights": _array("model/ln_f.weight", lambda a: np.full_like(a, np.inf)),
}
# Damages that do not matter to --sample, which needs the model and the tokenizer only.
SAMPLED = ("tokenizer", "no head", "no embedding", "no weights", "another", "NaN", "infinite")


@pytest.mark.parametrize("case", DAMAGES)
def test_a_checkpoint_with_wrong_contents(
    programs: dict[str, ModuleType], good: Path, capsys: Any, case: str, tmp_path: Path
) -> None:
    arrays, metadata = checkpoint.load(good / "run" / CHECKPOINT)
    DAMAGES[case](arrays, metadata)
    checkpoint.save(tmp_path / CHECKPOINT, arrays, metadata)
    (tmp_path / "metrics.jsonl").write_text('{"step": 99, "loss": 1.0}\n', encoding="utf-8")
    before = snapshot(tmp_path)
    flags = [["--resume"], ["--sample"]] if case.startswith(SAMPLED) else [["--resume"]]
    for flag in flags:
        assert main(programs["tinygpt"], [*flag, str(tmp_path)], good) == 2
        captured = capsys.readouterr()
        assert_one_sentence(captured, "tinygpt")
        assert captured.out == ""
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "change",
    [_with("model/num_layers", 2**31), _with("model/max_seq_len", 2**40), _with("model", None),
     _with("model/vocab_size", 9), _with("model/bias", "x"), _with("model/dropout", -1),
     _with("model/num_heads", 0)],
)  # fmt: skip
def test_a_checkpoint_with_another_model_to_sample(
    programs: dict[str, ModuleType], good: Path, capsys: Any, change: Any, tmp_path: Path
) -> None:
    arrays, metadata = checkpoint.load(good / "run" / CHECKPOINT)
    change(arrays, metadata)
    checkpoint.save(tmp_path / CHECKPOINT, arrays, metadata)
    assert main(programs["tinygpt"], ["--sample", str(tmp_path)], good) == 2
    assert_one_sentence(capsys.readouterr(), "tinygpt")


def test_a_checkpoint_without_the_right_to_read_it(
    programs: dict[str, ModuleType], good: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*arguments: Any, **settings: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("safetensors.safe_open", denied)
    for flag in ("--resume", "--sample"):
        assert main(programs["tinygpt"], [flag, "{}/run"], good) == 2
        assert "cannot be read: Permission denied" in capsys.readouterr().err


# metrics.jsonl


@pytest.fixture
def unfinished(good: Path, tmp_path: Path) -> Path:
    """The finished run without its summary, so that it can be resumed."""
    for name in (CHECKPOINT, "metrics.jsonl", "loss.png", "attention.png"):
        (tmp_path / name).write_bytes((good / "run" / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    "end",
    [b'{"step": 9, "lo', b"\0" * 100, b"\n", b"\xff\xfe", b"[1]\n", b'{"loss": 1.0}\n', b"7\n",
     b'{"step": "x"}', b'{"step": 1, "loss": null}\n', b"[" * 9999],
)  # fmt: skip
def test_a_damaged_last_line_of_metrics_is_dropped(
    programs: dict[str, ModuleType], good: Path, unfinished: Path, end: bytes
) -> None:
    whole = (unfinished / "metrics.jsonl").read_bytes()
    (unfinished / "metrics.jsonl").write_bytes(whole + end)
    assert main(programs["tinygpt"], ["--quiet", "--resume", str(unfinished)], good) == 0
    assert (unfinished / "metrics.jsonl").read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [b'{"step": 9, "lo', b"\0", b"\xff", b"[1]", b'{"loss": 1.0}', b"7", b'{"step": -1}',
     b'{"step": 1, "loss": 1' + b"0" * 400 + b"}", b'{"step": 1, "val_loss": -1e308}'],
)  # fmt: skip
def test_another_damaged_line_of_metrics_is_named(
    programs: dict[str, ModuleType], good: Path, unfinished: Path, line: bytes, capsys: Any
) -> None:
    first, *rest = (unfinished / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (unfinished / "metrics.jsonl").write_bytes(b"".join([first, line + b"\n", *rest]))
    before = snapshot(unfinished)
    assert main(programs["tinygpt"], ["--resume", str(unfinished)], good) == 2
    captured = capsys.readouterr()
    assert_one_sentence(captured, "tinygpt")
    assert "line 2 of" in captured.err
    assert snapshot(unfinished) == before


def test_duplicate_and_blank_lines_of_metrics_are_dropped(
    programs: dict[str, ModuleType], good: Path, unfinished: Path
) -> None:
    whole = (unfinished / "metrics.jsonl").read_bytes()
    (unfinished / "metrics.jsonl").write_bytes(whole + b"\n\r\n" + whole)
    assert main(programs["tinygpt"], ["--quiet", "--resume", str(unfinished)], good) == 0
    assert (unfinished / "metrics.jsonl").read_bytes() == whole


# Two runs in one folder


@POSIX
def test_a_second_run_in_a_folder_is_refused(
    programs: dict[str, ModuleType], good: Path, unfinished: Path, capsys: Any
) -> None:
    (unfinished / ".tinytorch-0123456789abcdef.tmp").write_bytes(b"of the first run")
    before = snapshot(unfinished)
    train = [*TRAIN, "--out", str(unfinished)]
    with FolderLock(unfinished):
        for program, flags in (("tinygpt", train), ("tinygpt", ["--resume", str(unfinished)]),
                               ("demo", [*TRAIN[:2], "--out", str(unfinished)])):  # fmt: skip
            assert main(programs[program], flags, good) == 2
            error = capsys.readouterr().err
            assert f"another run is training in {unfinished}" in error
            assert error.count("\n") == 1
        assert snapshot(unfinished) == before
        assert main(programs["tinygpt"], ["--sample", str(unfinished), "--tokens", "2"], good) == 0
    assert main(programs["tinygpt"], ["--quiet", "--resume", str(unfinished)], good) == 0


@POSIX
def test_a_run_does_not_write_to_a_folder_that_replaced_its_own(
    programs: dict[str, ModuleType], good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:  # fmt: skip
    """As after `rm -r` of its folder and a new run there."""
    step, out = Run.step, tmp_path / "run"

    def patched(run: Run, until: int) -> Any:
        if run.trainer.step == 5:
            out.rename(tmp_path / "moved")
            out.mkdir()
            (out / CHECKPOINT).write_bytes(b"of another run")
        return step(run, until)

    monkeypatch.setattr(Run, "step", patched)
    flags = [*TRAIN[:2], "--steps", "9", "--out", str(out), "--quiet", "--processes", "1"]
    assert main(programs["tinygpt"], flags, good) == 2
    assert_one_sentence(captured := capsys.readouterr(), "tinygpt")
    assert f"folder {out} was replaced by another one" in captured.err
    assert [path.name for path in out.iterdir()] == [CHECKPOINT]
    assert (out / CHECKPOINT).read_bytes() == b"of another run"


def test_where_folders_cannot_be_locked_the_run_goes_on(
    programs: dict[str, ModuleType], good: Path, unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "win32":
        import fcntl

        def unsupported(*arguments: Any) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(fcntl, "flock", unsupported)
    left = unfinished / ".tinytorch-0123456789abcdef.tmp"
    left.write_bytes(b"may be of another run")
    assert main(programs["tinygpt"], ["--quiet", "--resume", str(unfinished)], good) == 0
    assert left.exists()


@POSIX
def test_temporary_files_of_killed_saves_are_removed(
    programs: dict[str, ModuleType], good: Path, unfinished: Path
) -> None:
    kept = [unfinished / name for name in (".tinytorch-x.tmp", "a.tmp", ".tinytorch-0.tmp.txt")]
    for path in [unfinished / ".tinytorch-0123456789abcdef.tmp", *kept]:
        path.write_bytes(b"half a checkpoint")
    assert main(programs["tinygpt"], ["--quiet", "--resume", str(unfinished)], good) == 0
    assert sorted(unfinished.glob("*tmp*")) == sorted(kept)


# Other errors of the demo


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("Unable to allocate"), "out of memory (Unable to allocate): try a --batch"),
        (checkpoint.CheckpointError("the disk is full"), "the disk is full"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_errors_of_the_demo_are_one_sentence(
    programs: dict[str, ModuleType], good: Path, tmp_path: Path, capsys: Any,
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str,
) -> None:  # fmt: skip
    def failing(run: Run, until: int) -> None:
        raise error

    monkeypatch.setattr(Run, "step", failing)
    flags = [*TRAIN[:2], "--out", str(tmp_path / "run")]
    assert main(programs["demo"], flags, good) == 2
    captured = capsys.readouterr()
    assert_one_sentence(captured, "tinygpt_shakespeare")
    assert message in captured.err


def test_the_demo_stopped_by_a_signal_at_once(
    programs: dict[str, ModuleType], good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(run: Run, until: int) -> None:
        raise Stop(15)

    monkeypatch.setattr(Run, "step", stopped)
    assert main(programs["demo"], [*TRAIN[:2], "--out", str(tmp_path / "run")], good) == 143


@POSIX
@pytest.mark.slow
@pytest.mark.usefixtures("hangup")
def test_the_demo_is_saved_if_its_terminal_is_closed(
    programs: dict[str, ModuleType], good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGHUP comes, and writing to the terminal fails from then on, also to end the bar."""
    step, closed = Run.step, []

    def patched(run: Run, until: int) -> Any:
        if run.trainer.step == 5:
            os.kill(os.getpid(), signal.SIGHUP)
            closed.append(True)
        return step(run, until)

    def failing(*arguments: Any) -> None:
        if closed:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(Run, "step", patched)
    monkeypatch.setattr(ProgressReport, "__exit__", failing)
    flags = [*TRAIN[:2], "--batch-size", "2", "--out", str(tmp_path / "run")]
    assert main(programs["demo"], flags, good) == 129
    assert checkpoint.load(tmp_path / "run" / CHECKPOINT)[1]["step"] == 6


def test_a_diverged_run_is_one_sentence_and_keeps_the_last_good_checkpoint(
    programs: dict[str, ModuleType], good: Path, tmp_path: Path, capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    step = Run.step

    def diverge(self: Run, until: int) -> Any:
        if self.trainer.step == 5:
            self.model.ln_f.weight.data = float("nan")
        return step(self, until)

    monkeypatch.setattr(Run, "step", diverge)
    flags = [*TRAIN[:2], "--steps", "12", "--batch-size", "2", "--out", str(tmp_path / "run")]
    assert main(programs["tinygpt"], ["--quiet", *flags], good) == 2
    captured = capsys.readouterr()
    assert_one_sentence(captured, "tinygpt")
    assert "training has diverged" in captured.err
    arrays, metadata = checkpoint.load(tmp_path / "run" / CHECKPOINT)
    assert metadata["step"] <= 5
    assert all(np.isfinite(a).all() for a in arrays.values())
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
