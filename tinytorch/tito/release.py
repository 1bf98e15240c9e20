"""Release a lesson as a folder for nbgrader or GitHub Classroom, and find it again to grade."""

import shutil
from pathlib import Path

from . import weave
from .lesson import Lesson, LessonError, load

README = """# Lesson {number}: {name}

Complete the exercises of `{name}.ipynb` from top to bottom. In the notebook, each exercise is
followed by its tests. To see your score:

    python -m pip install -r requirements.txt
    tito grade .

`tito grade` runs the inline tests on the code in your notebook, then
`test_{name}_integration.py` on a copy of the package with that code. It needs no GPU and, once
installed, no network.

For instructors: the cells have nbgrader's metadata (put the notebook into `source/{folder}/`). For
GitHub Classroom, make this folder the template repository; its workflow grades each push.
`{name}_dev.py` contains the tests, but no solutions.
"""

WORKFLOW = """name: grade
on: [push]
jobs:
  grade:
    runs-on: ubuntu-latest
    timeout-minutes: 30
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: python -m pip install -r requirements.txt
      - run: tito grade .
"""


def release(lesson: Lesson, folder: Path) -> list[str]:
    """Write a lesson for students to `folder`/NN_name, and return the file names.

    Raises:
        LessonError: the folder already exists.
    """
    target = folder / lesson.folder
    if target.exists():
        raise LessonError(f"{target} already exists: choose another folder")
    tests = lesson.root / "tests"
    integration = tests / lesson.folder / f"test_{lesson.name}_integration.py"
    for path in (integration, tests / "conftest.py"):
        if not path.is_file():
            raise LessonError(f"{path} is missing")
    target.mkdir(parents=True)
    try:
        weave.write(weave.student(lesson), target / f"{lesson.name}.ipynb")
        _write(target / lesson.source.name, lesson.for_students())
        for path in (integration, tests / "conftest.py"):
            shutil.copyfile(path, target / path.name)
        about = {"number": lesson.number, "name": lesson.name, "folder": lesson.folder}
        _write(target / "README.md", README.format(**about))
        _write(target / "requirements.txt", _requirements(lesson.root))
        _write(target / ".github" / "workflows" / "classroom.yml", WORKFLOW)
    except BaseException:  # no half release, which would be in the way of the next attempt
        shutil.rmtree(target, ignore_errors=True)
        raise
    return sorted(p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file())


def released(folder: Path) -> list[tuple[Lesson, Path]]:
    """Return the lessons of a released folder, which may have any name, and their notebooks.

    Raises:
        LessonError: it contains no released lesson.
    """
    folder = folder.resolve()
    found = []
    for source in sorted(folder.glob("*_dev.py")):
        name = source.name.removesuffix("_dev.py")
        notebook, tests = folder / f"{name}.ipynb", folder / f"test_{name}_integration.py"
        for path in (notebook, tests):
            if not path.is_file():
                raise LessonError(f"{folder} is incomplete: {path.name} is missing")
        lesson = Lesson(source, folder)
        if not any(cell.kind == "test" for cell in lesson.cells):
            raise LessonError(f"{source.name} contains no tests of exercises")
        found.append((lesson, notebook))
    if not found:
        inner = [p.parent.name for p in folder.glob("*/*_dev.py")]
        hint = f"; it contains the folders {', '.join(sorted(inner)[:5])}" if inner else ""
        raise LessonError(f"{folder} is not a released lesson: it has no NAME_dev.py{hint}")
    return found


def solutions(number: int, root: Path, folder: Path) -> Path:
    """Write the solution notebook to `folder`, and return its path.

    Raises:
        LessonError: a different file of this name exists.
    """
    lesson = load(number, root)
    path = folder / f"{lesson.name}_solution.ipynb"
    notebook = weave.solution(lesson)
    if path.exists() and path.read_bytes() != weave.as_bytes(notebook):
        raise LessonError(f"{path} exists and is different: move it, or choose another folder")
    weave.write(notebook, path)
    return path


def _requirements(root: Path) -> str:
    address = weave.repository(root)
    if address is None:
        return (
            "# The project has no public repository yet: install it from a checkout instead,\n"
            '# with pip install "PATH/TO/CHECKOUT[test]".\n'
        )
    return f"tinytorch-backends[test] @ git+{address}\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
