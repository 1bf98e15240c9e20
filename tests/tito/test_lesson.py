"""Lesson sources: cells, solutions and blanks."""

import ast
from pathlib import Path
from typing import Any

import nbformat
import pytest
from example_lesson import PACKAGE, SOURCE, make

from tinytorch.tito import weave
from tinytorch.tito.lesson import Lesson, LessonError, definitions, find_root, lessons, load


def test_kind_exercise_and_points_of_cells(tmp_path: Path) -> None:
    lesson = make(tmp_path)
    assert (lesson.number, lesson.name, lesson.folder) == (77, "things", "77_things")
    assert [(c.kind, c.exercise, c.points) for c in lesson.cells] == [
        ("markdown", "", 0),
        ("setup", "", 0),
        ("exercise", "77.1", 2),
        ("test", "77.1", 3),
        ("code", "", 0),
    ]
    (exercise,) = lesson.exercises
    assert exercise.module == "tinytorch.things"
    assert exercise.hints["double"] == ["What is two times x?", "It is more."]


def test_the_solution_is_the_code_of_the_package(tmp_path: Path) -> None:
    lesson = make(tmp_path)
    solution = lesson.solution(lesson.cells[2])
    for name, definition in definitions(PACKAGE).items():
        lines = PACKAGE.splitlines()[definition.start : definition.stop]
        assert "\n".join(lines) in solution, name
    assert list(definitions(solution)) == ["LIMIT", "NAMES", "double", "Counter"]


def test_the_blank_keeps_signatures_docstrings_and_hints_but_no_solution(tmp_path: Path) -> None:
    lesson = make(tmp_path)
    blank = lesson.blank(lesson.cells[2])
    ast.parse(blank)
    for kept in (
        "LIMIT = 3", "def double(x):", '"""Twice x."""', "# What is two times x?", "@decorated",
        "self.n = 0", "def step(self, by: int = 1) -> int:", ">>> Counter().step()", "@property",
        'raise NotImplementedError("exercise 77.1: Counter.step")',
    ):  # fmt: skip
        assert kept in blank
    for gone in ("2 * x", "return y", "a remark", "self.n += by", "no docstring", "return self.n"):
        assert gone not in blank
    assert blank.count("# YOUR CODE HERE") == 3


def test_the_markers_of_nbgrader_enclose_what_the_student_writes(tmp_path: Path) -> None:
    lesson = make(tmp_path)
    marked = lesson.marked(lesson.cells[2])
    assert (
        """
    # What is two times x?
    # It is more.
    ### BEGIN SOLUTION
    # a remark
    y = 2 * x
    return y  # the result
    ### END SOLUTION
"""
        in marked
    )
    without = [
        line
        for line in marked.splitlines()
        if "### " not in line and line.strip() not in {"# What is two times x?", "# It is more."}
        and line.strip() not in {"# Add first.", "# Return it."}
    ]  # fmt: skip
    assert without == lesson.solution(lesson.cells[2]).splitlines()


def test_the_error_for_an_unknown_lesson_lists_the_lessons(tmp_path: Path) -> None:
    make(tmp_path)
    assert lessons(tmp_path) == [77]
    with pytest.raises(LessonError, match="there is no lesson 5; choose from 77"):
        load(5, tmp_path)


def test_the_checkout_is_found_from_inside_and_from_outside(tmp_path: Path) -> None:
    make(tmp_path / "here")
    assert find_root(tmp_path / "here" / "notebooks" / "77_things") == (tmp_path / "here").resolve()
    assert (find_root(tmp_path) / "notebooks").is_dir()  # where the package is installed from


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("from tinytorch.things import Counter, LIMIT, NAMES, double", "import math", "one import"),
        ("from tinytorch.things", "from numpy.things", "one import"),
        ("# Counter.step:", "# Other.step:", "hints for Other.step"),
        ("# Counter.step:", "# Counter.leap:", "has no Counter.leap"),
        ("NAMES, double", "NAMES, double, gone", "has no gone"),
    ],
)
def test_errors_in_a_source_name_the_exercise(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    lesson = make(tmp_path, SOURCE.replace(old, new))
    with pytest.raises(LessonError, match=message) as caught:
        lesson.blank(lesson.cells[2])
    assert "77.1" in str(caught.value)


@pytest.mark.parametrize("source", ["", "junk (", SOURCE.replace("exercise=", "exercises=")])
def test_a_source_without_exercises_is_an_error(tmp_path: Path, source: str) -> None:
    """A test or an export of nothing must not pass."""
    lesson = make(tmp_path, source)
    with pytest.raises(LessonError, match=r"things_dev\.py contains no exercises"):
        lesson.exercises  # noqa: B018


GIVEN = SOURCE.replace(
    '# %% exercise="77.1"',
    '# %% given="77.1"\nfrom tinytorch.things import LIMIT, NAMES\n\n# %% exercise="77.1"',
).replace("Counter, LIMIT, NAMES, double", "Counter, double")
GIVEN += """
# %% [markdown] instructor=true
# The answer is 42.

# %% [markdown]
# The end.
"""


def kind(cell: Any) -> str:
    return str(cell.metadata.get("tinytorch", {}).get("kind"))


def test_given_definitions_are_woven_folded_and_locked(tmp_path: Path) -> None:
    lesson = make(tmp_path, GIVEN)
    for notebook in (weave.student(lesson), weave.solution(lesson)):
        (given,) = (c for c in notebook.cells if kind(c) == "given")
        assert given.source == 'LIMIT = 3\nNAMES = {\n    "a": 1,\n}'
        assert given.metadata.jupyter == {"source_hidden": True}
        assert given.metadata.tinytorch == {"kind": "given", "exercise": "77.1"}
        assert given.metadata.nbgrader.locked
        assert given.metadata.nbgrader.grade_id == "given-2"
        nbformat.validate(notebook)
    assert [e.names for e in lesson.exercises] == [("Counter", "double")]
    before, after = lesson.given("77.1")
    assert [c.source for c in before] == ["from tinytorch.things import LIMIT, NAMES"]
    assert after == []


def test_given_definitions_of_an_unknown_exercise_are_an_error(tmp_path: Path) -> None:
    lesson = make(tmp_path, GIVEN.replace('given="77.1"', 'given="77.2"'))
    with pytest.raises(LessonError, match=r"things_dev\.py has no exercise 77\.2, only given"):
        lesson.cells  # noqa: B018


def test_only_instructors_see_cells_for_instructors(tmp_path: Path) -> None:
    lesson = make(tmp_path, GIVEN)
    mine, full = weave.student(lesson).cells, weave.solution(lesson).cells
    assert [any("42" in c.source for c in cells) for cells in (mine, full)] == [False, True]
    assert {c.id for c in mine} < {c.id for c in full}
    released = lesson.for_students()
    assert "42" not in released
    path = tmp_path / "things_dev.py"
    path.write_text(released)
    kinds = [cell.kind for cell in lesson.cells if cell.kind != "instructor"]
    assert [cell.kind for cell in Lesson(path, tmp_path).cells] == kinds


def test_test_cells_are_folded_and_exercises_are_not(tmp_path: Path) -> None:
    cells = {kind(c): c for c in weave.student(make(tmp_path)).cells}
    assert cells["test"].metadata.jupyter == {"source_hidden": True}
    assert "jupyter" not in cells["exercise"].metadata
    assert "jupyter" not in cells["code"].metadata


def test_a_released_lesson_reads_the_installed_package(tmp_path: Path) -> None:
    source = tmp_path / "things_dev.py"
    source.write_text('# %% exercise="77.1"\nfrom tinytorch.attention import KVCache\n')
    lesson = Lesson(source, tmp_path)
    assert lesson.solution(lesson.cells[0]).startswith("class KVCache")
