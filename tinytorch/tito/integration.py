"""A lesson's tests in `tests/`, run on a copy of the package that holds the student's code."""

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
    """What pytest said; status is "passed", "failed" or "not run"."""

    status: str
    output: str


def run(lesson: Lesson, notebook: Path, tests: Path) -> Report:
    """Export a notebook into a copy of the package, and run `tests` on that.

    The package itself stays as it is. A notebook that cannot be exported has not run.
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
    """The package of a checkout, or where there is none the installed one, in `folder`."""
    ignore = shutil.ignore_patterns("__pycache__")
    package, beside = root / PACKAGE, root / "backends"
    if not package.is_dir():
        package, beside = Path(__file__).resolve().parents[1], Path(backends.__file__).parent
    shutil.copytree(package, folder / PACKAGE, ignore=ignore)
    shutil.copytree(beside, folder / PACKAGE / "backends", ignore=ignore, dirs_exist_ok=True)


def _pytest(tests: Path, scratch: Path) -> Report:
    # -P: the current folder, with its own copy of the package, is not searched.
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-k", "not cupy"]  # a lesson needs no GPU, and no compiler that stands in for one
    environment = {**os.environ, "PYTHONPATH": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_ADDOPTS", None)  # meant for another run than this one
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
