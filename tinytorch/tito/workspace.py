"""The student's workspace: started notebooks and their progress."""

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path

from . import export, weave
from .lesson import WORKSPACE, Lesson, LessonError, definitions, lessons, load
from .notebook import exercise_cells, read, source_of
from .written import Share, share


def notebook(lesson: Lesson) -> Path:
    """Return the path of the student's notebook of a lesson."""
    return lesson.root / WORKSPACE / lesson.folder / f"{lesson.name}.ipynb"


def started_notebook(lesson: Lesson) -> Path:
    """Return the path of the student's notebook; LessonError if the lesson is not started."""
    path = notebook(lesson)
    if not path.exists():
        raise LessonError(f"lesson {lesson.number} is not started: run tito start {lesson.number}")
    return path


def start(lesson: Lesson) -> bool:
    """Create the blank notebook in the workspace; an existing one is kept, and False returned."""
    path = notebook(lesson)
    if path.exists():
        return False
    weave.write(weave.student(lesson), path)
    return True


def start_again(lesson: Lesson) -> Path | None:
    """Create the blank notebook, and return the path under which an earlier one is kept."""
    path, blank = notebook(lesson), weave.student(lesson)
    kept = None
    if os.path.lexists(path):  # also a link to nowhere
        kept = _unused(path, date.today().isoformat())
        path.rename(kept)
    weave.write(blank, path)
    return kept


def _unused(path: Path, day: str) -> Path:
    """Return the path of a file that does not exist, "attention-2026-11-27.ipynb"."""
    names = (f"{path.stem}-{day}{more}{path.suffix}" for more in ("", *range(-2, -10_000, -1)))
    return next(p for p in map(path.with_name, names) if not os.path.lexists(p))


def open_jupyter(path: Path) -> bool:
    """Open a notebook in JupyterLab and wait until it exits; False if it is not installed."""
    if not has_jupyterlab():
        return False
    subprocess.run([sys.executable, "-m", "jupyter", "lab", str(path)], check=False)
    return True


def has_jupyterlab() -> bool:
    """Whether JupyterLab is installed."""
    return find_spec("jupyterlab") is not None


def lesson_here(root: Path, folder: Path) -> int | None:
    """Return the lesson whose folder in workspace/ or notebooks/ contains `folder`."""
    for path in (folder, *folder.parents):
        if path.parent in (root / WORKSPACE, root / "notebooks"):
            number = path.name.split("_")[0]
            return int(number) if number.isdigit() else None
    return None


@dataclass(frozen=True)
class Progress:
    """Progress in a lesson.

    Attributes:
        lesson: the lesson.
        started: whether its notebook exists in the workspace.
        filled: number of exercises without a blank.
        exercises: number of exercises.
        share: how much of its code in the package the student has written.
        problem: why the lesson or the notebook cannot be read, and the way out, or "".
    """

    lesson: Lesson
    started: bool
    filled: int
    exercises: int
    share: Share
    problem: str = ""


def progress(root: Path) -> list[Progress]:
    """Return the progress in all lessons, in order."""
    return [_progress(load(number, root)) for number in lessons(root)]


def _progress(lesson: Lesson) -> Progress:
    path, own = notebook(lesson), Share(0, 0, 0)
    filled, numbers, problem = 0, 0, ""
    try:
        numbers = len(lesson.exercises)
        own = share(lesson)
        if path.exists():
            cells = exercise_cells(read(path), lesson.exercises)
            filled = sum(_is_filled(source_of(cells[e.number]), e.names) for e in lesson.exercises)
    except LessonError as error:
        problem = str(error)
    except (OSError, ValueError) as error:
        way_out = f"tito start {lesson.number} --again keeps this file and creates a blank notebook"
        problem = f"{error} ({way_out})"
    return Progress(lesson, path.exists(), filled, numbers, own, problem)


def _is_filled(source: str, names: tuple[str, ...]) -> bool:
    """Whether the code of an exercise defines its names, without a blank."""
    try:
        found = definitions(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(name in found and not export.is_blank(found[name]) for name in names)
