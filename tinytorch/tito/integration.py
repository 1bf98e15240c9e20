"""Run a lesson's integration tests on a copy of the package with the student's code."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import backends
from .export import ExportError, export
from .lesson import PACKAGE, Lesson


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


def copy_package(root: Path, folder: Path) -> None:
    """Copy the package of a checkout, or else the installed package, into `folder`."""
    package, its_backends = root / PACKAGE, root / "backends"
    if not package.is_dir():
        package, its_backends = Path(__file__).resolve().parents[1], Path(backends.__file__).parent
    # In a checkout tinytorch/backends is a link, or a text file where links are not supported.
    ignore = shutil.ignore_patterns("__pycache__", "backends")
    shutil.copytree(package, folder / PACKAGE, ignore=ignore)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(its_backends, folder / PACKAGE / "backends", ignore=ignore)


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
