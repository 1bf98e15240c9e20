"""Course folders: the package with every exercise blank, its notebooks, tests and milestones.

`tito export` fills the package in, lesson by lesson. Without kernels and other fast versions, it
runs the code that the student has written, on every backend of the host.
"""

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import export, weave
from .lesson import (
    PACKAGE,
    Definition,
    Lesson,
    LessonError,
    definitions,
    functions,
    lessons,
    lines_of,
    load,
    read_module,
)

# Fast versions of exercises: what remains of their files.
_NO_KERNELS = '''"""The fast versions of the package's code in NumPy: none in a course folder."""

from typing import Any

from ..base import KernelTable

KERNELS = KernelTable()
UPDATES: dict[str, Any] = {}
DECODE_STEP: Any = None
'''
_KEPT_OF_NUMPY = ("__init__.py", "backend.py", "threads.py")
_FAST_MERGES = ("_LinkedTokens", "_PairCounts", "learn_merges", "apply_merges")

_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "runs", "mistakes.py")


def new(root: Path, folder: Path) -> list[Lesson]:
    """Write a course folder, and return its lessons.

    Args:
        root: a checkout with the solutions; none of its lessons is exported.
        folder: the folder to create; an empty one may exist.

    Raises:
        LessonError: the folder is not empty or inside of the package, or a lesson is exported, so
            that a student's code would be taken for the solution.
    """
    own = [load(number, root) for number in lessons(root)]
    _check(root, folder, own)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Complete or absent: it is renamed when it is complete.
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}", dir=folder.parent) as scratch:
        target = Path(scratch, folder.name)
        _copy_package(root, target)
        _copy_rest(root, target)
        course = [_copy_lesson(lesson, target) for lesson in own]
        for lesson in course:
            blank(lesson)
        for lesson in course:  # given cells may show definitions of any lesson
            weave.write(weave.student(lesson), weave.notebook_path(lesson))
        (target / "README.md").write_text(_readme(course), encoding="utf-8")
        if folder.is_dir():
            folder.rmdir()
        target.rename(folder)
    return [load(number, folder) for number in lessons(folder)]


def _check(root: Path, folder: Path, own: Iterable[Lesson]) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LessonError(f"{folder} exists already; choose another name")
    if (root / PACKAGE).resolve() in folder.resolve().parents:
        raise LessonError(f"{folder} is inside of the package; choose a folder elsewhere")
    for lesson in own:
        if any(lesson.backups.rglob("*.py")):
            raise LessonError(
                f"lesson {lesson.number} is exported: tito reset {lesson.number} restores the"
                " solutions, from which a course is made"
            )
        if not is_filled(lesson):
            raise LessonError(
                f"{root} has no solution of lesson {lesson.number}: it is a course folder itself"
            )


def blank(lesson: Lesson) -> None:
    """Make the exercises of a lesson blank in its package."""
    for cell in lesson.cells:
        if cell.kind == "exercise":
            path = lesson.module_path(lesson.exercise(cell).module)
            text = replaced(read_module(path), lesson.unwritten(cell))
            path.write_text(text, encoding="utf-8")


def is_filled(lesson: Lesson) -> bool:
    """Whether no exercise of a lesson is blank in its package."""
    return not any(export.is_blank(definition) for definition in _written(lesson))


@dataclass(frozen=True)
class Share:
    """How much of a lesson's code in the package the student has written.

    Attributes:
        written, functions: number of functions and methods, and of those in the exercises.
        lines: lines of the functions written.
    """

    written: int
    functions: int
    lines: int


def share(lesson: Lesson) -> Share:
    """Return how much of a lesson's code in the package comes from an export."""
    bodies = _written(lesson)
    own = [d for d in bodies if not export.is_blank(d)] if export.is_exported(lesson) else []
    return Share(len(own), len(bodies), sum(d.stop - d.start for d in own))


def missing_lessons(root: Path, modules: Iterable[str]) -> list[int]:
    """Return the lessons of these modules that are blank in the package."""
    own = [load(number, root) for number in lessons(root)]
    return [lesson.number for lesson in own if lesson.name in modules and not is_filled(lesson)]


def _written(lesson: Lesson) -> list[Definition]:
    """Return the functions and methods of the package that a lesson's exercises write.

    Those that the package does not define any more are left out.
    """
    result = []
    for exercise in lesson.exercises:
        found = definitions(read_module(lesson.module_path(exercise.module)))
        for name in exercise.names:
            for full_name, node in functions(found[name]) if name in found else ():
                if full_name in exercise.hints:
                    stop = node.end_lineno or node.lineno
                    result.append(Definition(full_name, node, node.lineno - 1, stop))
    return result


def replaced(module: str, source: str) -> str:
    """Return the text of a module with the definitions of another text in their places."""
    lines, new_lines = lines_of(module), lines_of(source)
    theirs = definitions(module)
    edits = [
        (theirs[name].start, theirs[name].stop, new_lines[d.start : d.stop])
        for name, d in definitions(source).items()
        if name in theirs
    ]
    for start, stop, text in sorted(edits, reverse=True):  # from the end: lines stay valid
        lines[start:stop] = text
    return "\n".join(lines) + "\n"


def without_fast_versions(package: Path) -> None:
    """Remove the kernels of NumPy and fast BPE from a copy of the package."""
    folder = package / "backends" / "numpy"
    for path in folder.glob("*.py"):
        if path.name not in _KEPT_OF_NUMPY:
            path.unlink()
    (folder / "kernels.py").write_text(_NO_KERNELS, encoding="utf-8")
    path = package / "text" / "fast_bpe.py"
    text = path.read_text(encoding="utf-8")
    lines = lines_of(text)
    found = definitions(text)
    for name in sorted(_FAST_MERGES, key=lambda n: -found[n].start):
        del lines[found[name].start : found[name].stop]
    path.write_text("\n".join(lines).rstrip("\n") + "\n", encoding="utf-8")


def _copy_package(root: Path, target: Path) -> None:
    """Copy the package, and the folder backends/ that it links to."""
    copy = shutil.copytree
    copy(root / PACKAGE, target / PACKAGE, symlinks=True, ignore=_IGNORED)
    copy(root / "backends", target / "backends", ignore=_IGNORED)
    without_fast_versions(target / PACKAGE)


def _copy_lesson(lesson: Lesson, target: Path) -> Lesson:
    """Copy a lesson's source, without the cells for instructors, and its integration tests."""
    source = target / "notebooks" / lesson.folder / lesson.source.name
    source.parent.mkdir(parents=True)
    source.write_text(lesson.for_students(), encoding="utf-8")
    name = f"test_{lesson.name}_integration.py"
    tests = target / "tests" / lesson.folder
    tests.mkdir(parents=True)
    shutil.copyfile(lesson.root / "tests" / lesson.folder / name, tests / name)
    return Lesson(source, target)


def _copy_rest(root: Path, target: Path) -> None:
    shutil.copytree(root / "milestones", target / "milestones", ignore=_IGNORED)
    for name in ("pyproject.toml", "LICENSE", "tests/conftest.py"):
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(root / name, target / name)


def _readme(course: list[Lesson]) -> str:
    rows = "\n".join(f"| {lesson.number:02} | {lesson.title} |" for lesson in course)
    return README.format(first=course[0].number, rows=rows)


README = """# My TinyTorch

A small deep-learning library that you write yourself, lesson by lesson. The package `tinytorch/`
has gaps: every function and method of an exercise raises `NotImplementedError`, with the number of
the exercise. When you have filled them all, it trains a GPT.

```text
python -m venv .venv && source .venv/bin/activate     # Windows: .venv\\Scripts\\activate
pip install -e ".[lessons,grade]"
tito doctor                # check that everything is installed
tito start {first}               # open the first notebook
tito test {first}                # test the code in your notebook
tito export {first}              # write it into tinytorch/
tito status                # see how much of the package is yours
tito milestone list        # programs that run on your package
```

| lesson | |
|---|---|
{rows}

Work in `workspace/`, which `tito start` creates; commit it together with `tinytorch/`. `tito reset`
undoes an export. Fast versions for the CPU are left out of this package, so that all results come
from your own code; they are in the complete package.
"""
