"""Course folders: the package with every exercise blank, its notebooks, tests and milestones.

`tito export` fills the package in, lesson by lesson. Without kernels and other fast versions, it
runs the code that the student has written, on every backend of the host.
"""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from . import pages, weave
from .lesson import PACKAGE, Lesson, LessonError, lessons, load, read_module, replaced
from .package import without_fast_versions
from .written import is_filled

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
    return README.format(first=course[0].number, map=pages.short_map(course))


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

{map}

Work in `workspace/`, which `tito start` creates; commit it together with `tinytorch/`. `tito reset`
undoes an export. Fast versions for the CPU are left out of this package, so that all results come
from your own code; they are in the complete package.
"""
