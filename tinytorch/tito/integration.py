"""Run a lesson's integration tests on a copy of the package with the student's code."""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ._optional import check
from .export import ExportError, export
from .lesson import Lesson, LessonError
from .package import copy_package, environment_for
from .process import LIMITS
from .process import run as run_limited

TIMEOUT = 120  # seconds per test
clock: Callable[[], float] = time.monotonic  # in seconds; replaced in tests


@dataclass(frozen=True)
class Report:
    """Result of pytest: status "passed", "failed" or "not run", and its output."""

    status: str
    output: str


def run(lesson: Lesson, notebook: Path, tests: Path, timeout: float = TIMEOUT) -> Report:
    """Export a notebook into a temporary copy of the package, and run `tests` on that copy.

    The status is "not run" if the notebook cannot be exported, and "failed" if a test takes longer
    than `timeout` seconds.
    """
    check("pytest", "test")
    if not tests.exists():
        return Report("not run", f"{tests} is missing")
    with tempfile.TemporaryDirectory(prefix="tito") as folder:
        scratch = Path(folder)
        copy_package(lesson.root, scratch)
        try:
            export(Lesson(lesson.source, scratch), notebook)
        except (ExportError, LessonError) as error:
            return Report("not run", str(error))
        return _pytest(tests, scratch, timeout)


# A plugin of pytest: the file tells which test is running, and whether pytest has reached its end.
_PROGRESS = (
    LIMITS
    + """
import os

def _write(text):
    with open(os.environ["TITO_PROGRESS"], "w", encoding="utf-8") as file:
        file.write(text)

def pytest_runtest_logstart(nodeid):
    _write(nodeid)

def pytest_sessionfinish():
    _write("")
"""
)


def _pytest(tests: Path, scratch: Path, timeout: float) -> Report:
    plugin, progress = scratch / "tito_progress.py", scratch / "progress"
    plugin.write_text(_PROGRESS, encoding="utf-8")
    start = "the import of the tests"
    progress.write_text(start, encoding="utf-8")
    # -P: do not search the current folder, which may contain another copy of the package.
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    # Lessons need neither a GPU nor a compiler, and a solution may use NumPy's own functions.
    command += ["-k", "not cupy and not strict"]
    command += ["-p", plugin.stem, "--import-mode=importlib"]
    # Relative to its folder, because pytest takes no brackets in a path.
    folder, name = (tests, ".") if tests.is_dir() else (tests.parent, tests.name)
    environment = environment_for(scratch) | {"TITO_PROGRESS": str(progress)}
    environment.pop("PYTEST_ADDOPTS", None)  # set for the calling pytest, if any

    seen, since = start, clock()

    def hangs() -> bool:
        nonlocal seen, since
        now = progress.read_text(encoding="utf-8", errors="replace")
        if now != seen:
            seen, since = now, clock()
        return clock() - since > timeout

    done = run_limited([*command, name], folder, environment, hangs)
    running = progress.read_text(encoding="utf-8")
    if done.code is None:
        running = running or "the end of pytest"
        why = f"{running} was stopped after {timeout:g} seconds: is there an endless loop?"
        return Report("failed", f"{done.output}\n{why}".strip())
    if running and (running != start or done.code in (0, 1)):  # os._exit, for example
        why = f"{running} ended Python, with exit code {done.code}"
        return Report("failed", f"{done.output}\n{why}".strip())
    return Report({0: "passed", 1: "failed"}.get(done.code, "not run"), done.output)
