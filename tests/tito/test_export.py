"""Export: a student's definitions over the package's own, all of them or none."""

import os
from pathlib import Path
from typing import Any

import pytest
from example_lesson import PACKAGE, make

from tinytorch.tito import weave
from tinytorch.tito.export import ExportError, export, is_exported, reset
from tinytorch.tito.lesson import Lesson


def notebook(lesson: Lesson, change: Any = None, blank: bool = False) -> Path:
    """The solution notebook, with the exercise's source changed."""
    woven = weave.student(lesson) if blank else weave.solution(lesson)
    if change is not None:
        cell = next(c for c in woven.cells if c.metadata.get("tinytorch", {}).get("exercise"))
        cell.source = change(cell.source)
    path = lesson.root / "workspace" / "mine.ipynb"
    weave.write(woven, path)
    return path


def module(lesson: Lesson) -> str:
    return (lesson.root / "tinytorch" / "things.py").read_text(encoding="utf-8")


PLAIN = PACKAGE.replace("@decorated\n", "")


@pytest.fixture
def lesson(tmp_path: Path) -> Lesson:
    return make(tmp_path, package=PLAIN)


def test_the_solution_changes_nothing(lesson: Lesson) -> None:
    assert export(lesson, notebook(lesson)) == []
    assert module(lesson) == PLAIN
    assert not is_exported(lesson)


def test_only_what_the_student_changed_is_written_and_reset_restores_it(lesson: Lesson) -> None:
    path = notebook(lesson, lambda s: s.replace("2 * x", "x + x  # ä"))
    assert export(lesson, path) == ["tinytorch/things.py: double"]
    assert module(lesson) == PLAIN.replace("2 * x", "x + x  # ä")
    assert is_exported(lesson)
    again = notebook(lesson, lambda s: s.replace("x + x  # ä", "x * 2"))
    assert export(lesson, again) == ["tinytorch/things.py: double"]
    assert reset(lesson) == ["tinytorch/things.py"]
    assert module(lesson) == PLAIN
    assert not is_exported(lesson)
    assert reset(lesson) == []


def test_a_students_own_helper_goes_along_and_only_once(lesson: Lesson) -> None:
    helped = "def helper(x):\n    return x\n\n\nprint('only here')\n\n\n"
    path = notebook(lesson, lambda s: helped + s.replace("2 * x", "2 * helper(x)"))
    written = export(lesson, path)
    assert sorted(written) == ["tinytorch/things.py: double", "tinytorch/things.py: helper"]
    text = module(lesson)
    assert export(lesson, path) == []
    assert module(lesson) == text
    assert "only here" not in text
    names: dict[str, Any] = {}
    exec(text, names)
    assert names["double"](4) == 8


def test_line_ends_are_kept(lesson: Lesson) -> None:
    path = lesson.root / "tinytorch" / "things.py"
    path.write_bytes(PLAIN.replace("\n", "\r\n").encode())
    export(lesson, notebook(lesson, lambda s: s.replace("2 * x", "x + x")))
    assert path.read_bytes() == PLAIN.replace("2 * x", "x + x").replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("def double(x):", "def double(x:", "does not parse"),
        ("def double(x):", "def double(x, y):", r"double\(x, y\) does not have the signature"),
        ("by: int = 1", "by: int = 2", r"signature Counter.step\(self, by=1\)"),
        ("def double", "def doubled", "double is not defined"),
        ("def step", "def steps", "Counter.step is not defined"),
        ("    @property\n", "", "decorators"),
        ("class Counter:", "class Counter(dict):", "base classes of Counter are dict, not none"),
        ("2 * x", "2 * other(x)", "double uses other, which things.py does not know"),
        ("2 * x", "LIMITS * x", "uses LIMITS"),
    ],
)
def test_what_would_break_the_package_is_refused(
    lesson: Lesson, old: str, new: str, says: str
) -> None:
    path = notebook(lesson, lambda s: s.replace(old, new))
    with pytest.raises(ExportError, match=says):
        export(lesson, path)
    assert module(lesson) == PLAIN
    assert not is_exported(lesson)


def test_types_may_be_left_out(lesson: Lesson) -> None:
    path = notebook(lesson, lambda s: s.replace("by: int = 1) -> int", "by=1)"))
    assert export(lesson, path) == ["tinytorch/things.py: Counter"]


def test_a_blank_notebook_is_refused(lesson: Lesson) -> None:
    with pytest.raises(ExportError, match=r"exercise 77.1: .* is still blank"):
        export(lesson, notebook(lesson, blank=True))


def test_what_is_no_notebook(lesson: Lesson, tmp_path: Path) -> None:
    for text in ("", "print(1)", "{}", '{"cells": 3}'):
        (tmp_path / "bad.ipynb").write_text(text)
        with pytest.raises(ExportError, match=r"is not a notebook|has no cell"):
            export(lesson, tmp_path / "bad.ipynb")
    with pytest.raises(ExportError, match="No such file"):
        export(lesson, tmp_path / "gone.ipynb")


def test_two_lessons_in_one_file_are_taken_back_in_turn(lesson: Lesson) -> None:
    """The later one first, else its work would come back with the earlier one's."""
    source = lesson.source.read_text().replace("77.1", "78.1")
    other = lesson.root / "notebooks" / "78_more" / "more_dev.py"
    other.parent.mkdir()
    other.write_text(source)
    later = Lesson(other, lesson.root)
    export(lesson, notebook(lesson, lambda s: s.replace("2 * x", "x + x")))
    first = lesson.root / "workspace" / ".backup" / "77_things" / "tinytorch" / "things.py"
    os.utime(first, ns=(1, 1))  # a coarse clock would give both the same time
    export(later, notebook(later, lambda s: s.replace("x + x", "x * 2")))
    with pytest.raises(ExportError, match="also has 78_more: reset that one first"):
        reset(lesson)
    reset(later)
    assert "x + x" in module(lesson)
    reset(lesson)
    assert module(lesson) == PLAIN
