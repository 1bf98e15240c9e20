"""The notebooks of all lessons: up to date, runnable, and exported without changes."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import nbclient
import pytest
from example_lesson import make
from matplotlib import pyplot

from tinytorch.tito import build, weave
from tinytorch.tito.checks import ExerciseError
from tinytorch.tito.lesson import Lesson, definitions, lessons, load

ROOT = Path(__file__).parents[2]
LESSONS = [load(number, ROOT) for number in lessons(ROOT)]
EACH = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)


@EACH
def test_the_committed_notebook_is_up_to_date(lesson: Lesson, tmp_path: Path) -> None:
    """If it is outdated, run `tito nbdev build --no-wheel`."""
    fresh = tmp_path / "fresh.ipynb"
    weave.write(weave.student(lesson), fresh)
    assert weave.notebook_path(lesson).read_bytes() == fresh.read_bytes()


@EACH
def test_exporting_the_solutions_changes_nothing(lesson: Lesson) -> None:
    build.check_round_trip(lesson)


@EACH
def test_student_notebooks_contain_no_solution(lesson: Lesson) -> None:
    """No passage of a solution occurs in the student's notebook."""
    text = "\n".join(c.source for c in weave.student(lesson).cells)
    for cell in lesson.cells:
        if cell.kind == "exercise":
            passages = hidden(lesson.solution(cell), lesson.blank(cell))
            assert passages, f"exercise {cell.exercise} has no blank"
            for passage in passages:
                assert passage not in text, f"exercise {cell.exercise}"


def hidden(solution: str, blank: str) -> list[str]:
    """The passages of a solution that are not in the blank."""
    given = set(blank.splitlines())
    runs = groupby(solution.splitlines(), lambda line: line not in given)
    return ["\n".join(lines) for own, lines in runs if own]


@EACH
def test_cells_have_valid_nbgrader_metadata(lesson: Lesson) -> None:
    notebook = weave.student(lesson)
    marks = [c.metadata.nbgrader for c in notebook.cells if "nbgrader" in c.metadata]
    assert len({m.grade_id for m in marks}) == len(marks)
    assert len({c.id for c in notebook.cells}) == len(notebook.cells)
    for mark in marks:
        assert mark.schema_version == 3
        assert {type(mark[k]) for k in ("grade", "solution", "locked", "task")} == {bool}
        assert ("points" in mark) == mark.grade
    assert sum(m.get("points", 0) for m in marks) >= len(lesson.exercises)


@pytest.mark.slow
@EACH
def test_the_solution_notebook_runs_from_top_to_bottom(lesson: Lesson) -> None:
    notebook = weave.solution(lesson)
    execute(notebook)
    figures = sum("image/png" in o.get("data", {}) for c in code(notebook) for o in c.outputs)
    assert figures >= 2
    warnings = [o.text for c in code(notebook) for o in c.outputs if o.get("name") == "stderr"]
    assert warnings == []


@EACH
def test_a_blank_notebook_fails_its_first_test_with_a_message(lesson: Lesson) -> None:
    program = "\n".join(cell.source for cell in code(weave.student(lesson)))
    first = lesson.exercises[0].number
    with pytest.raises(ExerciseError, match=rf"^Exercise {first}(?s:.*)still blank"):
        exec(program, {"__name__": "__main__"})
    pyplot.close("all")


def test_notebooks_have_a_colab_badge_if_the_project_has_a_repository(tmp_path: Path) -> None:
    lesson = make(tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\n[project.urls]\nRepository = "https://github.com/someone/torch.git"\n'
    )
    badge, install, title = weave.student(lesson).cells[:3]
    path = "someone/torch/blob/main/notebooks/77_things/things.ipynb"
    assert f"(https://colab.research.google.com/github/{path})" in badge.source
    assert "git+https://github.com/someone/torch" in install.source
    assert title.source == "# Title"


def test_notebooks_are_written_as_utf_8_with_unix_line_endings(tmp_path: Path) -> None:
    notebook = weave.student(LESSONS[0])
    notebook.cells[0].source += " äöü"
    weave.write(notebook, tmp_path / "x.ipynb")
    data = (tmp_path / "x.ipynb").read_bytes()
    assert b"\r" not in data
    assert data.endswith(b"}\n")
    assert json.loads(data.decode("utf-8"))["nbformat"] == 4


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def execute(notebook: Any) -> None:
    nbclient.NotebookClient(notebook, timeout=120, extra_arguments=["--log-level=ERROR"]).execute()


def test_definitions_include_their_decorators() -> None:
    found = definitions("@a\n@b(\n    1)\ndef f():\n    pass\nX: int = 3\n")
    assert [(d.name, d.start, d.stop) for d in found.values()] == [("f", 0, 5), ("X", 5, 6)]
