"""Pyodide for tests: from a package that carries it, run by node or Chromium."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import helpers
import pytest
from helpers import require_program

from tinytorch.browser import library

RUNNER = Path(__file__).with_name("pyodide.mjs")


@pytest.fixture(scope="session")
def pyodide_folder() -> Path:
    return helpers.pyodide_folder()


@pytest.fixture(scope="session")
def in_pyodide(
    pyodide_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """A function that runs code in Pyodide under node, and returns what it prints."""
    node, folder = require_program("node"), tmp_path_factory.mktemp("pyodide")
    archive = folder / "tinytorch.zip"
    archive.write_bytes(library.archive())

    def run(code: str, packages: str = "numpy,openblas") -> str:
        program = folder / "program.py"
        program.write_text(code, encoding="utf-8")
        command = [node, str(RUNNER), str(pyodide_folder), str(archive), packages, str(program)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run
