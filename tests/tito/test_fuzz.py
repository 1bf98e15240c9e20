"""Mutated notebooks are read or refused with a declared error; `tests/fuzz` has longer runs."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "fuzz" / "fuzz_files.py"

pytest.importorskip("resource", reason="this system cannot limit a process's memory")


@pytest.mark.slow
def test_mutated_notebooks_raise_only_declared_errors() -> None:
    command = [sys.executable, str(SCRIPT), "--cases", "200", "--seed", "15", "--only", "notebook"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " refused" in done.stdout
    assert " accepted" in done.stdout
    assert " accepted" in done.stdout
