"""Inline tests run on a student's notebook; an exercise that did not run does not pass."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from example_lesson import PACKAGE, make

from tinytorch.tito import inline, weave
from tinytorch.tito.lesson import Lesson

SHORT = 10  # seconds; a busy machine takes much less for a cell without a loop

SOURCE = """# %% setup=true
from tinytorch.tito.checks import Exercise

# %% exercise="77.1" points=2
from tinytorch.things import double

# double:
#   Twice.

# %% test="77.1" points=2
with Exercise("77.1", "double") as check:
    check.equal(double(2), 4, "twice 2", cause="twice means two times")

# %%
raise SystemError("a figure of the lesson, which no test needs")

# %% exercise="77.2" points=1
from tinytorch.things import LIMIT

# %% test="77.2" points=1
with Exercise("77.2", "LIMIT") as check:
    check.equal(LIMIT, 3, "the limit")
"""


@pytest.fixture
def lesson(tmp_path: Path) -> Lesson:
    return make(tmp_path, SOURCE, PACKAGE.replace("@decorated\n", ""))


def run(
    lesson: Lesson, change: Any = None, blank: bool = False, timeout: int = inline.TIMEOUT
) -> list[tuple[str, str]]:
    """Status and message of each exercise of a changed notebook."""
    notebook = weave.student(lesson) if blank else weave.solution(lesson)
    if change:
        change(notebook)
    path = lesson.root / "mine.ipynb"
    weave.write(notebook, path)
    return [(o.status, o.message) for o in inline.run(lesson, path, timeout=timeout)]


def cell(notebook: Any, kind: str, exercise: str) -> Any:
    return next(
        c
        for c in notebook.cells
        if (c.metadata.tinytorch.kind, c.metadata.tinytorch.get("exercise")) == (kind, exercise)
    )


def test_the_solution_passes(lesson: Lesson) -> None:
    assert run(lesson) == [("passed", ""), ("passed", "")]


def test_a_blank_exercise_is_reported(lesson: Lesson) -> None:
    (first, second) = run(lesson, blank=True)
    assert first == ("failed", "Exercise 77.1, double: still blank (exercise 77.1: double)")
    assert second == ("passed", "")  # a constant is given


def test_a_mistake_is_explained(lesson: Lesson) -> None:
    def change(notebook: Any) -> None:
        mine = cell(notebook, "exercise", "77.1")
        mine.source = mine.source.replace("2 * x", "3 * x")

    (status, message), _ = run(lesson, change)
    assert status == "failed"
    for part in ("Exercise 77.1, double: twice 2", "expected: 4", "got:      6", "two times"):
        assert part in message


def test_changed_or_deleted_tests_are_restored(lesson: Lesson) -> None:
    def change(notebook: Any) -> None:
        cell(notebook, "exercise", "77.1").source = "def double(x):\n    return 0"
        cell(notebook, "test", "77.1").source = "pass"
        notebook.cells.remove(cell(notebook, "test", "77.2"))

    (first, _), second = run(lesson, change)
    assert first == "failed"
    assert second == ("passed", "")


def test_a_cell_with_a_syntax_error_is_reported(lesson: Lesson) -> None:
    def change(notebook: Any) -> None:
        cell(notebook, "exercise", "77.1").source = "def double(x:\n    return 0"

    (status, message), second = run(lesson, change)
    assert status == "failed"
    assert message.startswith("Exercise 77.1: its cell raises an error: SyntaxError")
    assert second == ("passed", "")


def test_a_missing_exercise_is_not_run(lesson: Lesson) -> None:
    def change(notebook: Any) -> None:
        notebook.cells.remove(cell(notebook, "exercise", "77.2"))

    first, second = run(lesson, change)
    assert first == ("passed", "")
    assert second == ("not run", "the notebook has no cell for exercise 77.2")


def test_added_cells_are_run(lesson: Lesson) -> None:
    def change(notebook: Any) -> None:
        cell(notebook, "exercise", "77.1").source = "def double(x):\n    return factor * x"
        notebook.cells.insert(0, nbformat.v4.new_code_cell("factor = 2"))

    assert run(lesson, change)[0] == ("passed", "")


@pytest.mark.slow
def test_an_endless_loop_is_stopped(lesson: Lesson) -> None:
    def change(notebook: Any) -> None:
        cell(notebook, "exercise", "77.1").source = "def double(x):\n    while True: pass"

    (status, message), second = run(lesson, change, timeout=SHORT)
    assert status == "failed"
    assert "endless loop" in message
    assert second == ("passed", "")


@pytest.mark.slow
def test_exercises_after_the_end_of_the_process_are_not_run(lesson: Lesson) -> None:
    def change(notebook: Any) -> None:
        cell(notebook, "exercise", "77.1").source = "import os\nos._exit(3)"

    outcomes = run(lesson, change)
    assert [status for status, _ in outcomes] == ["not run", "not run"]
    assert "Python exited" in outcomes[1][1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("import os; os._exit(0)", "not run", "Python exited"),
        ("import sys; sys.exit(0)", "failed", "SystemExit"),
        ("input()", "failed", "StdinNotImplementedError"),
        ("return double(x)", "failed", "RecursionError"),
        ("return bytearray(6 << 30)", "failed", "MemoryError"),
        ("raise ValueError('x' * 10_000_000)", "failed", "xxx..."),
        ("import time; time.sleep(600)", "failed", "endless loop"),
        ("print('x' * 50_000_000); return 2 * x", "passed", ""),
        ("[print(i) for i in iter(int, 1)]", "failed", "endless loop"),
    ],
)
def test_functions_that_do_not_return_are_reported(
    lesson: Lesson, body: str, status: str, message: str
) -> None:
    def change(notebook: Any) -> None:
        cell(notebook, "exercise", "77.1").source = f"def double(x):\n    {body}"

    first, second = run(lesson, change, timeout=SHORT if "endless" in message else 60)
    assert first[0] == status
    assert message in first[1]
    assert len(first[1]) < 4000
    assert second[0] == ("not run" if status == "not run" else "passed")


@pytest.mark.slow
def test_a_loop_that_cannot_be_interrupted_is_killed_and_earlier_points_are_kept(
    lesson: Lesson,
) -> None:
    def change(notebook: Any) -> None:
        cell(notebook, "exercise", "77.2").source = (
            "LIMIT = 3\nwhile True:\n    try:\n        while True: sum(range(99))\n"
            "    except BaseException: pass"
        )

    first, second = run(lesson, change, timeout=SHORT)
    assert first == ("passed", "")
    assert second[0] == "failed"
    assert "it took too long and was stopped: is there an endless loop?" in second[1]


def test_without_a_kernel_nothing_is_run(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(*arguments: Any, **settings: Any) -> Any:
        raise RuntimeError("no kernel")

    monkeypatch.setattr("nbclient.NotebookClient.execute", missing)
    assert run(lesson) == [("not run", "Python exited: no kernel")] * 2


def copies(notebook: Any, *sources: str) -> None:
    """Replace exercise 77.1 by several cells with its metadata."""
    mine = cell(notebook, "exercise", "77.1")
    index = notebook.cells.index(mine)
    notebook.cells[index : index + 1] = [
        nbformat.from_dict({**mine, "source": source, "id": f"copy-{n}"})
        for n, source in enumerate(sources)
    ]


@pytest.mark.slow
def test_split_copied_merged_and_unmarked_cells_are_run(lesson: Lesson) -> None:
    wrong, right = "def double(x):\n    return 0", "def double(x):\n    return help_(x)"
    helper = "def help_(x):\n    return 2 * x"

    def merge(notebook: Any) -> None:
        copies(notebook, f"{right}\n{helper}\nLIMIT = 3")
        notebook.cells.remove(cell(notebook, "exercise", "77.2"))

    def unmark(notebook: Any) -> None:
        for own in notebook.cells:
            own.metadata.clear()

    assert run(lesson, lambda n: copies(n, helper, right))[0] == ("passed", "")
    assert run(lesson, lambda n: copies(n, wrong, f"{helper}\n{right}"))[0] == ("passed", "")
    assert run(lesson, lambda n: copies(n, right + helper, wrong))[0][0] == "failed"
    assert run(lesson, merge) == [("passed", "")] * 2
    assert run(lesson, unmark) == [("passed", "")] * 2


def test_an_exercise_in_a_markdown_cell_is_explained(lesson: Lesson) -> None:
    def change(notebook: Any) -> None:
        mine = cell(notebook, "exercise", "77.2")
        mine.cell_type = "markdown"
        del mine["outputs"], mine["execution_count"]

    _, second = run(lesson, change)
    assert second == ("not run", "cell 5 is a markdown cell: change it into a code cell")


def test_a_file_that_is_not_a_notebook_is_an_error(lesson: Lesson) -> None:
    path = lesson.root / "bad.ipynb"
    path.write_text("not json")
    with pytest.raises(ValueError, match=r"bad\.ipynb is not a notebook"):
        inline.run(lesson, path)


HELPED = (
    SOURCE.replace(
        '# %% exercise="77.1"',
        '# %% given="77.1"\nfrom tinytorch.things import half\n\n# %% exercise="77.1"',
    )
    .replace(
        '# %% test="77.1"',
        '# %% given="77.1"\nfrom tinytorch.things import four\n\n# %% test="77.1"',
    )
    .replace("check.equal(double(2), 4", "check.equal(four, 4")
)
HELPERS = """

def half(x):
    return x / 2


four = double(2)
"""


def test_given_code_comes_from_the_lesson_around_its_exercise(tmp_path: Path) -> None:
    """Also if it was changed or deleted; some is defined with the student's code."""
    package = PACKAGE.replace("@decorated\n", "") + HELPERS
    lesson = make(tmp_path, HELPED, package)

    def change(notebook: Any) -> None:
        cell(notebook, "exercise", "77.1").source = "def double(x):\n    return x / half(1)"
        cell(notebook, "given", "77.1").source = "def half(x):\n    return 1 / 0"

    def delete(notebook: Any) -> None:
        for _ in range(2):
            notebook.cells.remove(cell(notebook, "given", "77.1"))

    def fail(notebook: Any) -> None:
        cell(notebook, "exercise", "77.1").source = "def double(x):\n    return 5"

    assert run(lesson, change) == [("passed", "")] * 2
    assert run(lesson, delete) == [("passed", "")] * 2
    first, second = run(lesson, fail)
    assert first[0] == "failed"
    assert "got:      5" in first[1]
    assert second == ("passed", "")
    assert run(lesson, blank=True)[0] == ("failed", "Exercise 77.1, double: still blank")


USED = SOURCE.replace("check.equal(LIMIT, 3", "check.equal(lambda: double(LIMIT), 6")


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("def double(x):\n    return 3", "exercise 77.1, which has failed and is used here"),
        ("def double(x:\n    return 3", "exercise 77.1, which defines it"),
        ("raise ValueError", "exercise 77.1, which defines it"),
        (None, "exercise 77.1, which defines it"),
    ],
)
def test_the_exercise_to_fix_first_is_named(tmp_path: Path, first: str, message: str) -> None:
    lesson = make(tmp_path, USED, PACKAGE.replace("@decorated\n", ""))

    def change(notebook: Any) -> None:
        mine = cell(notebook, "exercise", "77.1")
        if first is None:
            notebook.cells.remove(mine)
        else:
            mine.source = first

    before, after = run(lesson, change)
    assert before[0] == ("not run" if first is None else "failed")
    assert "fix first" not in before[1]
    assert after[0] == "failed"
    assert after[1].endswith(f"\n  fix first: {message}")


def test_a_blank_exercise_that_a_later_one_uses_is_named(tmp_path: Path) -> None:
    lesson = make(tmp_path, USED, PACKAGE.replace("@decorated\n", ""))
    _, (status, message) = run(lesson, blank=True)
    assert status == "failed"
    assert message == (
        "Exercise 77.2, LIMIT: it uses double, which is still blank\n"
        "  complete first: exercise 77.1"
    )


def test_the_place_of_an_error_is_a_line_of_the_notebook_in_a_kernel(lesson: Lesson) -> None:
    def change(notebook: Any) -> None:
        cell(
            notebook, "exercise", "77.1"
        ).source = "import json\n\ndef double(x):\n    return json.loads(x)  # mine\n"

    (status, message), _ = run(lesson, change)
    assert status == "failed"
    assert message.endswith("\n  at:       return json.loads(x)  # mine  (line 4, in double)")


@pytest.mark.parametrize("marked", [True, False])
def test_commands_of_ipython_in_exercises_run(lesson: Lesson, marked: bool) -> None:
    def change(notebook: Any) -> None:
        mine = cell(notebook, "exercise", "77.1")
        mine.source = "%matplotlib inline\ndef double(x):\n    %time 1\n    return 2 * x\n!echo ("
        other = cell(notebook, "exercise", "77.2")
        other.source = "%%time\nLIMIT = 3"
        if not marked:
            mine.metadata.clear()
            other.metadata.clear()

    assert run(lesson, change) == [("passed", "")] * 2


def test_cells_of_the_lesson_that_have_lost_their_metadata_do_not_run_twice(lesson: Lesson) -> None:
    notebook = weave.solution(lesson)
    for own in notebook.cells:
        own.metadata.clear()
    path = lesson.root / "mine.ipynb"
    weave.write(notebook, path)
    kinds = [step.kind for step in inline._steps(lesson, inline.read(path))]
    assert kinds == ["setup", "exercise", "test", "exercise", "test"]
