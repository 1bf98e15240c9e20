"""The real nbgrader on a released lesson: what students get, and the points of their notebooks."""

import csv
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


def nbgrader(course: Path, *words: str) -> str:
    paths = [str(Path(sys.executable).parent), *filter(None, [os.environ.get("PATH")])]
    environment = {**os.environ, "PATH": os.pathsep.join(paths), "MPLBACKEND": "Agg"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=course, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def released(course: Path, number: int) -> Lesson:
    """Release a lesson to the course folder, and generate nbgrader's assignment from it."""
    lesson = load(number, ROOT)
    release(lesson, course)
    nbgrader(course, "generate_assignment", "--create", lesson.folder)
    return lesson


def submit(course: Path, lesson: Lesson, student: str, notebook: Any) -> Path:
    path = course / "submitted" / student / lesson.folder / f"{lesson.name}.ipynb"
    weave.write(notebook, path)
    return path


def grades(course: Path) -> dict[str, tuple[float, float]]:
    """Score and maximum of each student, as nbgrader exports them."""
    nbgrader(course, "export")
    with (course / "grades.csv").open(newline="") as file:
        return {
            row["student_id"]: (float(row["score"]), float(row["max_score"]))
            for row in csv.DictReader(file)
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


@pytest.mark.parametrize("number", lessons(ROOT))
def test_nbgrader_releases_what_tito_start_writes_and_grades_it(course: Path, number: int) -> None:
    """Signatures, docstrings, hints and given methods stay; a right notebook gets all points."""
    lesson = released(course, number)
    path = course / "release" / lesson.folder / f"{lesson.name}.ipynb"
    got = nbformat.read(path, as_version=4)
    expected = weave.student(lesson)
    assert [c.id for c in got.cells] == [c.id for c in expected.cells]
    for mine, own in zip(got.cells, expected.cells, strict=True):
        blank = re.sub(r'NotImplementedError\("exercise .*"\)', "NotImplementedError()", own.source)
        assert mine.source == blank
        assert mine.metadata.get("tinytorch") == own.metadata.get("tinytorch")
    for cell in cells(got, "code"):  # figures and measurements: test_notebooks.py runs them
        cell.source = ""
    submit(course, lesson, "blank", got)
    submit(course, lesson, "right", fill_in(lesson, got, lambda exercise: True))
    nbgrader(course, "autograde", lesson.folder)
    total = sum(cell.points for cell in lesson.cells if cell.kind == "test")
    assert grades(course) == {"blank": (0, total), "right": (total, total)}


def test_nbgrader_and_tito_give_the_same_points(course: Path) -> None:
    lesson = released(course, 12)
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
    nbgrader(course, "autograde", lesson.folder)
    found = grades(course)
    for name, file in submitted.items():
        outcomes = inline.run(lesson, file)
        points = sum(o.points for o in outcomes if o.status == "passed")
        assert found[name] == (points, sum(o.points for o in outcomes)), name
    assert found["deleted"][0] == 2  # nbgrader adds no deleted test: no points for it
    nbgrader(course, "generate_feedback", lesson.folder)
    page = course / "feedback" / "wrong" / lesson.folder / f"{lesson.name}.html"
    assert "row t is True up to and including column t" in page.read_text(encoding="utf-8")
