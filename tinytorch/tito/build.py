"""Build all notebooks from their sources, and the wheel."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import weave
from .export import export, is_exported
from .lesson import PACKAGE, Lesson, LessonError, lessons, load
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


def build_wheel(root: Path, folder: Path) -> Path:
    """Build the wheel of a checkout in `folder`, and return its path.

    It is built from a copy, without the files that an earlier build may have left behind.

    Raises:
        LessonError: a lesson is exported, or pip failed; the message contains its errors.
    """
    exported = [number for number in lessons(root) if is_exported(load(number, root))]
    if exported:
        ways_out = " and ".join(f"tito reset {number}" for number in exported)
        raise LessonError(f"the wheel would contain exported code of a notebook: first {ways_out}")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    if _has_setuptools():
        command.append("--no-build-isolation")  # needs no network
    with tempfile.TemporaryDirectory(prefix="tito") as copy:
        scratch, wheels = Path(copy, "checkout"), Path(copy, "wheels")
        scratch.mkdir()
        copy_package(root, scratch)
        (scratch / PACKAGE / "backends").rename(scratch / "backends")
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copyfile(root / name, scratch / name)
        command += ["-w", str(wheels), str(scratch)]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LessonError(f"the wheel could not be built:\n{done.stderr.strip()}")
        (built,) = wheels.glob("*.whl")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(built, folder))


def _has_setuptools() -> bool:
    """Whether the installed setuptools is the one that pyproject.toml requires."""
    try:
        return int(version("setuptools").partition(".")[0]) >= 77
    except (PackageNotFoundError, ValueError):
        return False
