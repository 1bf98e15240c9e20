"""Export: a student's definitions replace the package's, all of them or none."""

import os
from pathlib import Path
from typing import Any

import pytest
from example_lesson import PACKAGE, make

from tinytorch.tito import weave
from tinytorch.tito.export import ExportError, export, is_exported, reset
from tinytorch.tito.lesson import Lesson


def notebook(lesson: Lesson, change: Any = None, blank: bool = False) -> Path:
    """Write the solution notebook with a changed exercise."""
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


def test_exporting_the_solution_changes_nothing(lesson: Lesson) -> None:
    assert export(lesson, notebook(lesson)) == []
    assert module(lesson) == PLAIN
    assert not is_exported(lesson)


def test_only_changed_definitions_are_written_and_reset_restores_them(lesson: Lesson) -> None:
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


def test_added_functions_are_exported_once(lesson: Lesson) -> None:
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


def test_line_endings_are_kept(lesson: Lesson) -> None:
    path = lesson.root / "tinytorch" / "things.py"
    path.write_bytes(PLAIN.replace("\n", "\r\n").encode())
    export(lesson, notebook(lesson, lambda s: s.replace("2 * x", "x + x")))
    assert path.read_bytes() == PLAIN.replace("2 * x", "x + x").replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def double(x):", "def double(x:", "does not parse"),
        (
            "def double(x):",
            "def double(x, y):",
            r"double\(x, y\) must have the signature double\(x\)",
        ),
        ("by: int = 1", "by: int = 2", r"signature Counter.step\(self, by=1\)"),
        ("def double", "def doubled", "double is not defined"),
        ("def step", "def steps", "Counter.step is not defined"),
        ("    @property\n", "", "decorators"),
        (
            "class Counter:",
            "class Counter(dict):",
            "base classes of Counter must be none, not dict",
        ),
        ("2 * x", "2 * other(x)", "double uses other, which is not defined in things.py"),
        ("2 * x", "LIMITS * x", "uses LIMITS"),
    ],
)
def test_code_that_would_break_the_package_is_rejected(
    lesson: Lesson, old: str, new: str, message: str
) -> None:
    path = notebook(lesson, lambda s: s.replace(old, new))
    with pytest.raises(ExportError, match=message):
        export(lesson, path)
    assert module(lesson) == PLAIN
    assert not is_exported(lesson)


def test_annotations_may_be_omitted(lesson: Lesson) -> None:
    path = notebook(lesson, lambda s: s.replace("by: int = 1) -> int", "by=1)"))
    assert export(lesson, path) == ["tinytorch/things.py: Counter"]


def test_a_blank_notebook_is_rejected(lesson: Lesson) -> None:
    with pytest.raises(ExportError, match=r"exercise 77.1: .* is still blank"):
        export(lesson, notebook(lesson, blank=True))


def test_files_that_are_not_notebooks_are_rejected(lesson: Lesson, tmp_path: Path) -> None:
    for text in ("", "print(1)", "{}", '{"cells": 3}'):
        (tmp_path / "bad.ipynb").write_text(text)
        with pytest.raises(ExportError, match=r"is not a notebook|has no cell"):
            export(lesson, tmp_path / "bad.ipynb")
    with pytest.raises(ExportError, match="No such file"):
        export(lesson, tmp_path / "gone.ipynb")


def test_two_lessons_in_one_file_are_reset_in_reverse_order(lesson: Lesson) -> None:
    """In any other order, resetting the later lesson would restore the earlier lesson's export."""
    source = lesson.source.read_text().replace("77.1", "78.1")
    other = lesson.root / "notebooks" / "78_more" / "more_dev.py"
    other.parent.mkdir()
    other.write_text(source)
    later = Lesson(other, lesson.root)
    export(lesson, notebook(lesson, lambda s: s.replace("2 * x", "x + x")))
    first = lesson.root / "workspace" / ".backup" / "77_things" / "tinytorch" / "things.py"
    os.utime(first, ns=(1, 1))  # a coarse clock could give both the same time
    export(later, notebook(later, lambda s: s.replace("x + x", "x * 2")))
    with pytest.raises(ExportError, match="also contains 78_more: reset that lesson first"):
        reset(lesson)
    reset(later)
    assert "x + x" in module(lesson)
    reset(lesson)
    assert module(lesson) == PLAIN
