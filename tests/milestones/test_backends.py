"""The backend of a milestone is the one that TT_BACKEND names."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import load_module, require, write_short_samples

from tinytorch.backends import registry
from tinytorch.tito.milestones import MILESTONES, Milestone, find

from .tiny_chat import tiny_chat_model

require("matplotlib")

ROOT = Path(__file__).parents[2]
# Flags of the shortest runs; nothing is learned in them.
SHORT = {
    "01": "--points 10 --passes 2",
    "02": "--steps 2",
    "03": "--epochs 1",
    "04": "--epochs 1",
    "05": "--data text --batch-size 2 --epochs 0.05",
    "06": "--model model --prompt hello --tokens 3",
    "tinygpt": "--data text --batch-size 2 --steps 2",
    "tinycoder": "--data . --batch-size 2 --steps 2 --vocab-size 260",
}


@pytest.mark.parametrize("milestone", MILESTONES, ids=lambda milestone: milestone.name)
def test_an_unusable_backend_is_one_sentence(milestone: Milestone, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / milestone.script), "--out", str(tmp_path / "out")],
        env={**os.environ, "TT_BACKEND": "nonsense"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "unknown backend 'nonsense'; available: numpy, cupy, strict, reference" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch, cupy: str) -> Iterator[str]:
    """TT_BACKEND names the cupy backend, and is read again."""
    monkeypatch.setenv("TT_BACKEND", cupy)
    registry._named_by_environment.cache_clear()
    yield cupy
    registry._named_by_environment.cache_clear()


@pytest.mark.parametrize(
    "milestone", [find("05"), find("tinygpt")], ids=lambda milestone: milestone.name
)
def test_a_blank_exercise_is_one_sentence(
    milestone: Milestone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """As in a course folder, if the program is started by itself, without tito."""

    def blank(*arguments: Any, **settings: Any) -> None:
        raise NotImplementedError("exercise 13.1 of lesson 13, transformers: forward is blank")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tinytorch.transformers.GPT.__init__", blank)
    assert load_module(ROOT / milestone.script).main([]) == 2
    error = capsys.readouterr().err
    message = "exercise 13.1 of lesson 13, transformers: forward is blank; tito status shows what"
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("milestone", MILESTONES, ids=lambda milestone: milestone.name)
def test_a_milestone_runs_on_a_gpu_if_the_environment_names_it(
    milestone: Milestone, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("to be or not to be, that is the question\n" * 80, encoding="utf-8")
    for name in "abc":
        Path(f"{name}.py").write_text("def f(x):\n    return x\n\n\n" * 80, encoding="utf-8")
    if milestone.name == "06":
        tiny_chat_model(Path("model"))
    program = load_module(ROOT / milestone.script)
    write_short_samples(program, monkeypatch)
    monkeypatch.setattr(program, "FUNCTIONS", 2, raising=False)
    assert program.main(SHORT[milestone.name].split()) in (0, 1)
    summary = json.loads((Path("runs") / milestone.results / "summary.json").read_text("utf-8"))
    assert summary["backend"] == chosen
