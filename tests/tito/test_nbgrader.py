"""The real nbgrader on a released lesson: what students get, and the points of their notebooks."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from helpers import require_distribution

from tinytorch.tito import inline, weave
from tinytorch.tito.lesson import Lesson, lessons, load
from tinytorch.tito.release import release

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """The folder of a course, in which `nbgrader` runs."""
    require_distribution("nbgrader")
    return tmp_path / "course"


# Runs commands of nbgrader, one after the other, as its command line does.
COMMANDS = """
import json, sys
from contextlib import suppress
from jupyter_core.application import NoStart
from nbgrader.apps.nbgraderapp import NbGraderApp
for words in json.loads(sys.argv[1]):
    app = NbGraderApp()
    app.initialize(words)
    with suppress(NoStart):  # raised when the command has ended
        app.start()
    type(app.subapp).clear_instance()
"""


def nbgrader(course: Path, *commands: str) -> str:
    """Run commands of nbgrader in one process, which saves the time of its start."""
    words = json.dumps([command.split() for command in commands])
    paths = [str(Path(sys.executable).parent), *filter(None, [os.environ.get("PATH")])]
    environment = {**os.environ, "PATH": os.pathsep.join(paths), "MPLBACKEND": "Agg"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, words],
        cwd=course, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def released(course: Path, *numbers: int) -> list[Lesson]:
    """Release lessons to the course folder, and generate nbgrader's assignments from them."""
    own = [load(number, ROOT) for number in numbers]
    for lesson in own:
        release(lesson, course)
    nbgrader(course, *(f"generate_assignment --create {lesson.folder}" for lesson in own))
    return own


def submit(course: Path, lesson: Lesson, student: str, notebook: Any) -> Path:
    path = course / "submitted" / student / lesson.folder / f"{lesson.name}.ipynb"
    weave.write(notebook, path)
    return path


def grades(course: Path, lesson: Lesson) -> dict[str, tuple[float, float]]:
    """Score and maximum of each student in a lesson, as nbgrader has exported them."""
    with (course / "grades.csv").open(newline="") as file:
        return {
            row["student_id"]: (float(row["score"]), float(row["max_score"]))
            for row in csv.DictReader(file)
            if row["assignment"] == lesson.folder
        }


def cells(notebook: Any, kind: str) -> list[Any]:
    return [c for c in notebook.cells if c.metadata.get("tinytorch", {}).get("kind") == kind]


def fill_in(lesson: Lesson, notebook: Any, chosen: Callable[[str], bool]) -> Any:
    """Replace the blanks of nbgrader by the solutions of the chosen exercises."""
    solved = {c.id: c.source for c in weave.solution(lesson).cells}
    for cell in cells(notebook, "exercise"):
        if chosen(cell.metadata.tinytorch.exercise):
            cell.source = solved[cell.id]
    return notebook


def test_nbgrader_releases_what_tito_start_writes_and_grades_it(course: Path) -> None:
    """Signatures, docstrings, hints and given methods stay.

    A right notebook has all points, and a blank one, here of the first lesson, has none.
    """
    own = released(course, *lessons(ROOT))
    for lesson in own:
        path = course / "release" / lesson.folder / f"{lesson.name}.ipynb"
        got = nbformat.read(path, as_version=4)
        check_release(lesson, got)
        for cell in cells(got, "code"):  # figures and measurements: test_notebooks.py runs them
            cell.source = ""
        if lesson is own[0]:
            submit(course, lesson, "blank", got)
        submit(course, lesson, "right", fill_in(lesson, got, lambda exercise: True))
    nbgrader(course, *(f"autograde {lesson.folder}" for lesson in own), "export")
    for lesson in own:
        total = sum(cell.points for cell in lesson.cells if cell.kind == "test")
        assert grades(course, lesson) == {"blank": (0, total), "right": (total, total)}, lesson.name


def check_release(lesson: Lesson, got: Any) -> None:
    """Check that a released notebook is that of `tito start`, except for the message of a blank."""
    expected = weave.student(lesson)
    assert [c.id for c in got.cells] == [c.id for c in expected.cells]
    for mine, own in zip(got.cells, expected.cells, strict=True):
        blank = re.sub(r'NotImplementedError\("exercise .*"\)', "NotImplementedError()", own.source)
        assert mine.source == blank
        assert mine.metadata.get("tinytorch") == own.metadata.get("tinytorch")


def test_nbgrader_and_tito_give_the_same_points(course: Path) -> None:
    (lesson,) = released(course, 12)
    path = course / "release" / lesson.folder / f"{lesson.name}.ipynb"

    def notebook(*chosen: str) -> Any:
        return fill_in(lesson, nbformat.read(path, as_version=4), lambda e: e in chosen)

    half = notebook("12.1", "12.2", "12.3")
    wrong = notebook("12.1", "12.2", "12.3", "12.4")
    (first, *_) = cells(wrong, "exercise")
    assert ">=" in first.source
    first.source = first.source.replace(">=", ">")
    tampered = notebook("12.1", "12.2")
    for cell in cells(tampered, "test"):
        cell.source = "pass"
    deleted = notebook("12.1")
    _, *others = (cell.id for cell in cells(deleted, "test"))
    deleted.cells = [cell for cell in deleted.cells if cell.id not in others]
    submit(course, lesson, "deleted", deleted)
    submitted = {
        name: submit(course, lesson, name, made)
        for name, made in {"half": half, "wrong": wrong, "tampered": tampered}.items()
    }
    nbgrader(course, f"autograde {lesson.folder}", "export")
    found = grades(course, lesson)
    for name, file in submitted.items():
        outcomes = inline.run(lesson, file)
        points = sum(o.points for o in outcomes if o.status == "passed")
        assert found[name] == (points, sum(o.points for o in outcomes)), name
    assert found["deleted"][0] == 2  # nbgrader adds no deleted test: no points for it
    nbgrader(course, f"generate_feedback {lesson.folder}")
    page = course / "feedback" / "wrong" / lesson.folder / f"{lesson.name}.html"
    assert "row t is True up to and including column t" in page.read_text(encoding="utf-8")
