"""Run a lesson's integration tests on a copy of the package with the student's code."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .export import ExportError, export
from .lesson import Lesson
from .package import copy_package


@dataclass(frozen=True)
class Report:
    """Result of pytest: status "passed", "failed" or "not run", and its output."""

    status: str
    output: str


def run(lesson: Lesson, notebook: Path, tests: Path) -> Report:
    """Export a notebook into a temporary copy of the package, and run `tests` on that copy.

    The status is "not run" if the notebook cannot be exported.
    """
    with tempfile.TemporaryDirectory(prefix="tito") as folder:
        scratch = Path(folder)
        copy_package(lesson.root, scratch)
        try:
            export(Lesson(lesson.source, scratch), notebook)
        except ExportError as error:
            return Report("not run", str(error))
        return _pytest(tests, scratch)


def _pytest(tests: Path, scratch: Path) -> Report:
    # -P: do not search the current folder, which may contain another copy of the package.
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-k", "not cupy"]  # lessons need neither a GPU nor a compiler
    environment = {**os.environ, "PYTHONPATH": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_ADDOPTS", None)  # set for the calling pytest, if any
    done = subprocess.run(
        [*command, str(tests)],
        env=environment,
        cwd=tests if tests.is_dir() else tests.parent,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    output = (done.stdout + done.stderr).strip()
    return Report({0: "passed", 1: "failed"}.get(done.returncode, "not run"), output)
