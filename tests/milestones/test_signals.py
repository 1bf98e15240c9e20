"""Signals at chosen points of a run: what was learned is saved, and resuming gives the same run."""

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import load_module

from tinytorch.runtime.data_parallel import DataParallel
from tinytorch.serialization import atomic, checkpoint
from tinytorch.tinygpt import PRESETS, Run, session
from tinytorch.tinygpt.run import CHECKPOINT, RESULTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("hangup"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no signals like these"),
]

PROGRAM = Path(__file__).parents[2] / "milestones" / "tinygpt.py"
RESUME = ("--quiet", "--processes", "1", "--resume")
STEPS = 17
# Where the signal is sent: an object, its function, and the number of the call.
POINTS: dict[str, tuple[Any, str, int]] = {
    "step": (Run, "step", 8),
    "evaluation": (Run, "validate", 2),
    "log": (Run, "log", 4),
    "save": (atomic.os, "replace", 2),
    "save after the last step": (Run, "save", 8),
    "summary": (Run, "summarise", 1),
    "plot": (session, "plot_losses", 1),
    "second plot": (session, "plot_attention", 1),
}


@pytest.fixture(scope="module")
def tinygpt() -> Iterator[ModuleType]:
    """The program with a small model, because the tests run it some eighty times."""
    small = replace(PRESETS["default"], embed_dim=16, num_layers=1, num_heads=1, context=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "default", small)
        yield load_module(PROGRAM)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_text("to be or not to be, that is the question\n" * 40, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def flags(text: Path) -> list[str]:
    sizes = ["--steps", str(STEPS), "--batch-size", "2", "--processes", "1"]
    return ["--data", str(text), *sizes, "--quiet"]


@pytest.fixture(scope="module")
def whole(tinygpt: ModuleType, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    assert tinygpt.main([*flags, "--out", str(out)]) == 0
    return out


def run_in_child(main: Callable[[list[str]], int], arguments: list[str], prepare: Any) -> int:
    """Run a program in a forked process; return its exit code, -N if signal N ended it."""

    def work() -> None:
        prepare()
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=work)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads
        process.start()
    process.join(300)
    assert process.exitcode is not None
    return process.exitcode


def send_at(point: str, name: str) -> None:
    """Send this process a signal when it gets to a point."""
    owner, function, number = POINTS[point]
    original = getattr(owner, function)
    calls = 0

    def patched(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), getattr(signal, name))
        return original(*arguments, **keywords)

    setattr(owner, function, patched)


def assert_equal_runs(ours: Path, theirs: Path) -> None:
    """Weights, state, validation loss and metrics are the same; nothing else is in the folder."""
    assert sorted(path.name for path in ours.iterdir()) == sorted(RESULTS)
    a, b = (checkpoint.load(folder / CHECKPOINT)[0] for folder in (ours, theirs))
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)
    lines = [
        [
            {key: value for key, value in line.items() if key != "tokens_per_second"}
            for line in Run.resume(folder, processes=1).metrics()
        ]
        for folder in (ours, theirs)
    ]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("point", "name"),
    [(point, name) for name in ("SIGINT", "SIGKILL") for point in POINTS]
    + [(point, name) for name in ("SIGTERM", "SIGHUP") for point in ("step", "save", "plot")],
)
def test_a_signal_at_any_point(
    tinygpt: ModuleType, flags: list[str], whole: Path, tmp_path: Path, point: str, name: str
) -> None:
    out, number = tmp_path / "run", getattr(signal, name)

    def prepare() -> None:
        send_at(point, name)

    code = run_in_child(tinygpt.main, [*flags, "--out", str(out)], prepare)
    assert code == (-number if name == "SIGKILL" else 128 + number)
    saved = checkpoint.load(out / CHECKPOINT)[1]["step"]
    if name != "SIGKILL":
        steps = {"step": 8, "evaluation": 5, "log": 7, "save": 5}  # no step is lost
        assert saved == steps.get(point, STEPS)
        assert not list(out.glob(".tinytorch-*"))
    assert tinygpt.main([*RESUME, str(out)]) == 0
    assert_equal_runs(out, whole)


def test_half_a_line_of_metrics_is_written_again(
    tinygpt: ModuleType, flags: list[str], whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    original = Run.log

    def torn(self: Run, **values: Any) -> None:
        if self.trainer.step == 10:
            with open(self.out / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write('{"step": 10, "lo')
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, **values)

    def prepare() -> None:
        Run.log = torn  # type: ignore[method-assign]

    assert run_in_child(tinygpt.main, [*flags, "--out", str(out)], prepare) == -9
    assert tinygpt.main([*RESUME, str(out)]) == 0
    assert_equal_runs(out, whole)


def test_a_signal_to_all_processes_of_a_run(
    tinygpt: ModuleType, flags: list[str], tmp_path: Path
) -> None:
    """The replicas may end before the run has handled its own signal."""
    out = tmp_path / "run"

    def prepare() -> None:
        os.setsid()
        step = Run.step

        def patched(self: Run, until: int) -> Any:
            if self.trainer.step == 5:
                os.killpg(0, signal.SIGTERM)
            return step(self, until)

        Run.step = patched  # type: ignore[method-assign]

    arguments = [*flags, "--out", str(out)]
    arguments[arguments.index("--processes") + 1] = "2"
    assert run_in_child(tinygpt.main, arguments, prepare) == 128 + signal.SIGTERM
    assert checkpoint.load(out / CHECKPOINT)[1]["step"] >= 5


def test_a_replica_that_is_killed_costs_no_step(
    tinygpt: ModuleType, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:  # fmt: skip
    backward, calls = DataParallel.backward, 0

    def patched(self: DataParallel, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            os.kill(self.processes[0].pid, signal.SIGKILL)
        return backward(self, *arguments)

    whole, out = tmp_path / "whole", tmp_path / "run"
    arguments = list(flags)
    arguments[arguments.index("--processes") + 1] = "2"
    assert tinygpt.main([*arguments, "--out", str(whole)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(DataParallel, "backward", patched)
        assert tinygpt.main([*arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("tinygpt: replica 1, which computes part of each batch, ended with")
    assert "exit code -9" in error
    assert "step 5 is saved, resume with: " in error
    assert error.count("\n") == 1
    assert tinygpt.main(["--resume", str(out), "--processes", "2", "--quiet"]) == 0
    assert_equal_runs(out, whole)


def test_an_error_that_comes_with_a_signal_is_reported(
    tinygpt: ModuleType, flags: list[str], tmp_path: Path, capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Only an ended replica or a closed terminal is a result of the signal."""
    from tinytorch.training import Trainer

    accumulate = Trainer.accumulate

    def failing(self: Trainer, *arguments: Any) -> Any:
        if self.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
            raise KeyError("a bug")
        return accumulate(self, *arguments)

    monkeypatch.setattr(Trainer, "accumulate", failing)
    assert tinygpt.main([*flags, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "a bug" in error
    assert "step 7 is saved, resume with: " in error


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left"), KeyError("x")])
def test_any_error_of_a_step_saves_the_steps_before_it(
    tinygpt: ModuleType, flags: list[str], whole: Path, tmp_path: Path, capsys: Any,
    monkeypatch: pytest.MonkeyPatch, error: Exception,
) -> None:  # fmt: skip
    from tinytorch.training import Trainer

    accumulate = Trainer.accumulate

    def failing(self: Trainer, *arguments: Any) -> Any:
        if self.step == 7:
            raise error
        return accumulate(self, *arguments)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "accumulate", failing)
        assert tinygpt.main([*flags, "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert "step 7 is saved, resume with: " in message
    assert message.count("\n") == 1
    assert tinygpt.main([*RESUME, str(out)]) == 0
    assert_equal_runs(out, whole)


def test_an_unexpected_error_names_its_place_and_debugging_shows_the_traceback(
    tinygpt: ModuleType, flags: list[str], tmp_path: Path, capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def failing(run: Run, until: int) -> None:
        raise AttributeError("no such method")

    monkeypatch.setattr(Run, "step", failing)
    assert tinygpt.main([*flags, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "AttributeError: no such method (in test_signals.py, line " in error
    monkeypatch.setenv("TT_DEBUG", "1")
    assert tinygpt.main([*flags, "--out", str(tmp_path)]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_weights_that_are_half_updated_are_not_saved(
    tinygpt: ModuleType, flags: list[str], whole: Path, tmp_path: Path, capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from tinytorch.optimizers import Muon

    update = Muon.update

    def failing(self: Muon, *arguments: Any) -> Any:
        if self.steps == 7:
            raise MemoryError
        return update(self, *arguments)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Muon, "update", failing)
        assert tinygpt.main([*flags, "--out", str(out)]) == 2
    assert "the last save is intact, resume with: " in capsys.readouterr().err
    assert tinygpt.main([*RESUME, str(out)]) == 0
    assert_equal_runs(out, whole)


@pytest.mark.parametrize("error", [MemoryError(), ImportError("no module"), OSError(28, "full")])
@pytest.mark.parametrize("plot", ["plot_losses", "plot_attention"])
def test_plots_that_fail_leave_the_results_and_are_drawn_later(
    tinygpt: ModuleType, flags: list[str], whole: Path, tmp_path: Path, capsys: Any,
    monkeypatch: pytest.MonkeyPatch, plot: str, error: Exception,
) -> None:  # fmt: skip
    def failing(*arguments: Any) -> None:
        raise error

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(session, plot, failing)
        assert tinygpt.main([*flags, "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert "the plots were not drawn" in message
    assert message.count("\n") == 1
    assert (out / "summary.json").exists()
    assert tinygpt.main([*RESUME, str(out)]) == 0
    assert_equal_runs(out, whole)


@pytest.mark.parametrize("name", ["attention.png", "loss.png", "summary.json"])
def test_a_result_that_is_removed_is_made_again(
    tinygpt: ModuleType, flags: list[str], whole: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "run"
    assert tinygpt.main([*flags, "--out", str(out)]) == 0
    (out / name).unlink()
    assert tinygpt.main([*RESUME, str(out)]) == 0
    assert_equal_runs(out, whole)


def test_ctrl_c_during_the_imports_is_not_a_traceback(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")
