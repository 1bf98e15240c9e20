"""The programs of milestones/ use the package of their own checkout, installed or not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinytorch.tito.milestones import MILESTONES, TINYGPT

ROOT = Path(__file__).parents[2]
PROGRAMS = [m.script.removeprefix("milestones/") for m in MILESTONES]
OF_TINYGPT = [
    m.script.removeprefix("milestones/")
    for m in MILESTONES
    if m.modules == TINYGPT and m.name not in ("06", "tinycoder")  # a model, a folder of modules
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh clone in which tinytorch/ and backends/ print their checkout's name when imported."""
    root = tmp_path / "my clone"
    for name in ("tinytorch", "backends", "milestones"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=ignore)
    for half in ("tinytorch", "backends"):
        with open(root / half / "__init__.py", "a", encoding="utf-8") as file:
            file.write(f"\nprint('the clone has {half}')\n")
    return root


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with another `tinytorch`, which cannot be imported."""
    package = tmp_path / "other" / "tinytorch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('the other tinytorch')\n")
    return package.parent


def run(program: Path, *words: str, installed: Path) -> str:
    """Output of a program that finds `installed` where an installed package would be."""
    done = subprocess.run(
        [sys.executable, str(program), *words],
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONUTF8": "1"},
        cwd=installed,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_imports_the_package_of_its_own_checkout(
    checkout: Path, other: Path, program: str
) -> None:
    shown = run(checkout / "milestones" / program, "--help", installed=other)
    assert "the clone has tinytorch\n" in shown
    assert "the clone has backends\n" in shown
    assert "--seed" in shown


@pytest.mark.slow
@pytest.mark.parametrize("program", OF_TINYGPT)
def test_a_program_trains_without_an_install(checkout: Path, other: Path, program: str) -> None:
    text, out = other / "text.txt", other / "out"
    text.write_text("to be or not to be, that is the question\n\n" * 80, encoding="utf-8")
    flags = ["--batch-size", "4", "--epochs", "0.5", "--data", str(text), "--out", str(out)]
    run(checkout / "milestones" / program, *flags, installed=other)
    assert (out / "summary.json").is_file()
