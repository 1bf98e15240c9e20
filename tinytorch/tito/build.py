"""Build all notebooks from their sources, and the wheel."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import weave
from .export import export
from .lesson import Lesson, LessonError, lessons, load
from .package import copy_package


def weave_all(root: Path) -> Iterator[Path]:
    """Write the student notebook of every lesson, and yield the paths of those that changed."""
    for number in lessons(root):
        lesson = load(number, root)
        path = weave.notebook_path(lesson)
        before = path.read_bytes() if path.exists() else b""
        weave.write(weave.student(lesson), path)
        if path.read_bytes() != before:
            yield path


def check_round_trip(lesson: Lesson) -> None:
    """Check that weaving a notebook with solutions and exporting it changes nothing.

    Raises:
        LessonError: the exported code differs from the package.
    """
    with tempfile.TemporaryDirectory(prefix="tito") as folder:
        scratch = Path(folder)
        copy_package(lesson.root, scratch)
        notebook = scratch / "solution.ipynb"
        weave.write(weave.solution(lesson), notebook)
        changed = export(Lesson(lesson.source, scratch), notebook)
    if changed:
        raise LessonError(f"lesson {lesson.number}: the export differs in {', '.join(changed)}")


def build_wheel(root: Path) -> Path:
    """Build the wheel in dist/, and return its path.

    Raises:
        LessonError: pip failed; the message contains its errors.
    """
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", "dist", "."]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LessonError(f"the wheel could not be built:\n{done.stderr.strip()}")
    return max((root / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
