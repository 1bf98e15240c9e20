"""Find the notebooks to grade: one, a released lesson, or a folder with those of a class."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import notebook as notebooks
from ..lesson import Lesson, definitions

SKIPPED = ("__pycache__", "node_modules", "venv")  # besides hidden folders


@dataclass(frozen=True)
class Submission:
    """A notebook to grade.

    Attributes:
        student: the name of the student's folder, or of the notebook.
        path: the notebook, or the folder if it has none.
        lesson: its number; None if the notebook is of no known lesson.
        problem: why it cannot be graded, or "".
    """

    student: str
    path: Path
    lesson: int | None = None
    problem: str = ""


def find(path: Path, lessons: Iterable[Lesson], only: int | None = None) -> list[Submission]:
    """Return the submissions in a path, in the order of their names.

    In a folder, each inner folder is a student, and so is each notebook. Solutions and notebooks
    of other things are left out, unless a student has nothing else. Links are not followed, since
    they could lead to other files of the person who grades.

    Args:
        path: a notebook, or a folder.
        lessons: the known lessons.
        only: number of the only lesson to grade.
    """
    known = list(lessons)
    if path.is_file() or (path.suffix == ".ipynb" and not path.is_dir()):
        return [_submission(path.stem, path, known, only)]
    own = _notebooks_of_release(path)
    if own:
        name = path.resolve().name
        return [_submission(name, notebook, known, only) for notebook in own]
    found: list[Submission] = []
    for entry in sorted(path.iterdir(), key=lambda p: _natural(p.name)):
        if entry.name.startswith(".") and entry.name != ".ipynb":
            continue
        if entry.suffix == ".ipynb" or entry.name == ".ipynb":
            found.append(_submission(entry.stem, entry, known, only))
        elif entry.is_dir() and entry.name not in SKIPPED:
            found += _of_student(entry, known, only)
    return found


def _of_student(folder: Path, lessons: list[Lesson], only: int | None) -> list[Submission]:
    """Return the submissions in the folder of one student."""
    if folder.is_symlink():
        return [Submission(folder.name, folder, only, "the folder is a link")]
    own = _notebooks_of_release(folder) or list(_notebooks(folder))
    found = [_submission(folder.name, notebook, lessons, only) for notebook in own]
    lesson_found = [s for s in found if s.lesson is not None and not s.problem]
    if lesson_found:
        return lesson_found
    return found or [Submission(folder.name, folder, only, "there is no notebook in the folder")]


def _notebooks_of_release(folder: Path) -> list[Path]:
    """Return the notebooks of a folder written by `tito release`, which may have any name."""
    sources = sorted(folder.glob("*_dev.py"))
    return [folder / f"{s.name.removesuffix('_dev.py')}.ipynb" for s in sources]


def _notebooks(folder: Path) -> Iterator[Path]:
    """Yield the notebooks in a folder, without those that editors keep in hidden folders."""
    for place, folders, files in os.walk(folder):  # does not follow links
        linked = [f for f in folders if f.endswith(".ipynb")]
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and f not in SKIPPED and f not in linked
        )
        for name in sorted([*files, *linked]):
            if name.endswith(".ipynb"):
                yield Path(place, name)


def _submission(student: str, path: Path, lessons: list[Lesson], only: int | None) -> Submission:
    if path.is_symlink():
        return Submission(student, path, only, "it is a link")
    try:
        cells = notebooks.read(path)
        number = _number(path) or _by_cells(cells, lessons)
    except (OSError, ValueError) as error:
        name = next((x.number for x in lessons if path.stem == x.name), None)
        return Submission(student, path, only or name, str(error))
    if only is not None and number not in (only, None):
        return Submission(student, path, only, f"it is a notebook of lesson {number}, not {only}")
    if only is not None or any(number == lesson.number for lesson in lessons):
        return Submission(student, path, only or number)
    if number is None:
        return Submission(student, path, None, "it is not the notebook of a lesson")
    return Submission(student, path, None, f"it is of lesson {number}, whose tests are not here")


def _number(path: Path) -> int | None:
    """Return the number of the lesson that `tito start` has written into a notebook."""
    try:
        number = json.loads(path.read_bytes())["metadata"]["tinytorch"]["lesson"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return number if type(number) is int else None


def _by_cells(cells: list[notebooks.StudentCell], lessons: list[Lesson]) -> int | None:
    """Return the lesson whose exercises a notebook has: by their numbers, or by what it defines."""
    numbers = [cell.exercise.partition(".")[0] for cell in cells if cell.exercise]
    if numbers and numbers[0].isdecimal():
        return int(numbers[0])
    names: set[str] = set()
    for cell in cells:
        try:
            names |= set(definitions(cell.source)) if cell.type == "code" else set()
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    counts = {x.number: len(names & {n for e in x.exercises for n in e.names}) for x in lessons}
    best = max(counts, key=lambda number: counts[number], default=None)
    return best if best is not None and counts[best] else None


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in names by their value."""
    parts = re.split(r"(\d{1,9})", name.casefold())
    return [(int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts)]
