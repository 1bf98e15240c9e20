"""Release a lesson as a folder for nbgrader or GitHub Classroom, and find it again to grade."""

import re
import shutil
from pathlib import Path

from . import weave
from .lesson import Lesson, LessonError

README = """# Lesson {number}: {name}

Complete the exercises of `{name}.ipynb` from top to bottom, in JupyterLab (`pip install
jupyterlab`), VS Code or another editor. Each exercise is followed by its tests. Once, in this
folder:

    python -m pip install -r requirements.txt

To see your score:

    tito grade .

It tests the code of your notebook on a copy of the package, needs no GPU and, once installed, no
network. The other files are for these tests: please do not change them.
"""

INSTRUCTOR = """# Releases of TinyTorch's lessons, for instructors

| here | what it is | for students? |
|---|---|---|
| `NN_name/` | a lesson with blank exercises, its tests, `requirements.txt`, a workflow | yes |
| `source/NN_name/` | the same notebook for nbgrader, with the solutions between its markers | no |
| `nbgrader_config.py` | settings that make this folder a course of nbgrader | no |

Answers to the questions and a rubric are in neither: `tito solutions N` writes them.

The package that `requirements.txt` installs contains the solutions, because the lessons run on it.
No test can tell who wrote the code of a notebook.

## GitHub Classroom

Make the contents of `NN_name/` the template repository. The workflow in it runs `tito grade .` on
each push, in a repository of any name. A student can edit every file of a repository, also the
tests and the workflow, so its result is feedback. For marks, clone the repositories into one
folder, and grade them with the tests that are here:

    tito grade CLONES --lesson NN_name --csv points.csv

## nbgrader

In this folder, with nbgrader in the environment of TinyTorch:

    nbgrader generate_assignment NN_name --create    # source/NN_name -> release/NN_name
    nbgrader autograde NN_name                       # submitted/STUDENT/NN_name -> autograded/
    nbgrader generate_feedback NN_name               # autograded/ -> feedback/
    nbgrader export                                  # the points of all students: grades.csv

- Students get `release/NN_name/`. Put no other notebook into `source/`: that of `NN_name/` or of
  `tito solutions` has no markers, and nbgrader would empty its exercises, names included.
- If you have a course folder, copy `source/NN_name/` into its `source/`, and the settings too:
  nbgrader stops a cell after 30 seconds, and some cells train a model.
- The tests are visible, because students learn from them. Add hidden ones to the test cells in
  `source/`, between `### BEGIN HIDDEN TESTS` and `### END HIDDEN TESTS`.
- nbgrader restores edited tests, but runs them in the notebook's process, where other code can
  change what they do. `tito grade submitted --lesson NN_name` does not rely on the notebook.

## Grade in a container

A submission is a program, and grading it runs it with your rights. Run `tito grade` and `nbgrader
autograde` in a container without a network, as TinyTorch's docs/grading.md shows.
"""

NBGRADER = """c = get_config()
c.Execute.timeout = 300  # seconds for a cell; some cells train a model
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

SHARED = {"INSTRUCTOR.md": INSTRUCTOR, "nbgrader_config.py": NBGRADER}
EXTRA = "[grade]"  # of pyproject.toml
PROJECT = f"tinytorch-backends{EXTRA}"


def release(lesson: Lesson, folder: Path, package: str | Path = "") -> list[str]:
    """Write a lesson for students, and its source for nbgrader.

    Args:
        lesson: the lesson.
        folder: gets NN_name/ for students, source/NN_name/ for nbgrader, and two files for
            instructors, which are kept if they exist.
        package: what requirements.txt installs: a URL as in pip's requirements, or the path of a
            wheel, which is copied. By default, the package of this name on an index.

    Returns:
        The paths of the written files in `folder`.

    Raises:
        LessonError: the lesson is already released to the folder, or has no tests.
    """
    target, source = folder / lesson.folder, folder / "source" / lesson.folder
    for path in (target, source):
        if path.exists():
            raise LessonError(f"{path} already exists: choose another folder")
    tests = lesson.root / "tests"
    integration = tests / lesson.folder / f"test_{lesson.name}_integration.py"
    for path in (integration, tests / "conftest.py"):
        if not path.is_file():
            raise LessonError(f"{path} is missing")
    texts = {
        target / f"{lesson.name}_dev.py": lesson.for_students(),
        target / "README.md": README.format(number=lesson.number, name=lesson.name),
        target / "requirements.txt": _requirement(package),
        target / ".github" / "workflows" / "classroom.yml": WORKFLOW,
        **{folder / name: text for name, text in SHARED.items() if not (folder / name).exists()},
    }
    copies = [integration, tests / "conftest.py", *([package] if isinstance(package, Path) else [])]
    target.mkdir(parents=True)
    try:
        weave.write(weave.student(lesson), target / f"{lesson.name}.ipynb")
        weave.write(weave.for_nbgrader(lesson), source / f"{lesson.name}.ipynb")
        for path in copies:
            shutil.copyfile(path, target / path.name)
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
    except BaseException:  # no half release, which would be in the way of the next attempt
        for path in (target, source):
            shutil.rmtree(path, ignore_errors=True)
        raise
    written = [p for inner in (target, source) for p in inner.rglob("*") if p.is_file()]
    written += [path for path in texts if path.parent == folder]
    return sorted(path.relative_to(folder).as_posix() for path in written)


def package_at(place: str) -> str | Path:
    """Return what `release` takes as its package, given a URL or the path of a wheel.

    Raises:
        LessonError: it is neither.
    """
    if "://" not in place:
        path = Path(place)
        if path.suffix == ".whl" and path.is_file():
            return path
    elif re.fullmatch(r"(git\+)?\w+://[^\s/]\S*", place):
        archive = place.partition("#")[0].endswith((".whl", ".zip", ".tar.gz"))
        return place if archive or place.startswith("git+") else f"git+{place}"
    raise LessonError(
        f"{place} is neither a URL, such as https://github.com/OWNER/NAME, nor the path of a wheel"
    )


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


def solutions(lesson: Lesson, folder: Path) -> Path:
    """Write the solution notebook to `folder`, and return its path.

    Raises:
        LessonError: a different file of this name exists.
    """
    path = folder / f"{lesson.name}_solution.ipynb"
    notebook = weave.solution(lesson)
    if path.exists() and path.read_bytes() != weave.as_bytes(notebook):
        raise LessonError(f"{path} exists and is different: move it, or choose another folder")
    weave.write(notebook, path)
    return path


def _requirement(package: str | Path) -> str:
    if isinstance(package, Path):
        return f"./{package.name}{EXTRA}\n"  # in the folder of the lesson
    return f"{PROJECT} @ {package}\n" if package else f"{PROJECT}\n"
