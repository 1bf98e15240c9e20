"""What `tito` prints: tables in terminals of any width, versions, and words that are no lesson."""

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from example_lesson import PACKAGE, SOURCE, make
from typer.testing import CliRunner

import tinytorch
from tinytorch.tito import cli, weave, workspace
from tinytorch.tito.inline import Outcome
from tinytorch.tito.integration import Report
from tinytorch.tito.lesson import Lesson

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lesson:
    """Lesson 77 of a checkout that is the current folder."""
    lesson = make(tmp_path, SOURCE, PACKAGE.replace("@decorated\n", ""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tinytorch.tito.package.import_problem", lambda root: None)
    return lesson


def tito(*words: str, columns: int = 100, code: int = 0) -> str:
    done = CliRunner().invoke(cli.app, words, env={"COLUMNS": str(columns)})
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.output


# Words that name a lesson, and others


@pytest.mark.parametrize("word", ["77", "077", "things", "77_things"])
def test_a_lesson_has_a_number_and_a_name(lesson: Lesson, word: str) -> None:
    assert "lesson 77 is ready" in tito("start", word, "--no-open")
    assert "lesson 77 is not exported" in tito("reset", word)


@pytest.mark.parametrize("word", ["twelve", "7.7", "", "1e2", "७७", "77x", "None", "9" * 5000])
@pytest.mark.parametrize(
    "command",
    ["start", "test", "export", "reset", "solutions", "release"],
)
def test_what_is_no_lesson_is_one_sentence(lesson: Lesson, command: str, word: str) -> None:
    more = ["--to", "rel"] if command == "release" else []
    output = " ".join(tito(command, word, *more, code=1).split())
    assert "is not the number of a lesson; choose from 77" in output
    assert len(output) < 150
    assert not Path("rel").exists()


def test_a_number_without_a_lesson_lists_the_numbers(lesson: Lesson) -> None:
    assert "there is no lesson 5; choose from 77" in tito("test", "5", code=1)


def test_a_checkout_without_lessons_says_so(lesson: Lesson) -> None:
    lesson.source.unlink()
    assert "choose from none" in tito("test", "twelve", code=1)


# A blank notebook again


def test_start_again_keeps_the_earlier_notebook(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Today(date):
        @classmethod
        def today(cls) -> date:
            return date(2026, 11, 27)

    monkeypatch.setattr(workspace, "date", Today)
    path = workspace.notebook(lesson)
    blank = weave.as_bytes(weave.student(lesson))
    assert "earlier notebook" not in tito("start", "77", "--no-open", "--again")
    assert path.read_bytes() == blank
    path.write_bytes(b"my work")
    output = " ".join(tito("start", "77", "--no-open", "--again").split())
    assert f"your earlier notebook is now {path.parent / 'things-2026-11-27.ipynb'}" in output
    assert "lesson 77 is ready" in output
    assert path.read_bytes() == blank
    path.write_bytes(b"more work")
    tito("start", "77", "--no-open", "--again")
    assert (path.parent / "things-2026-11-27.ipynb").read_bytes() == b"my work"
    assert (path.parent / "things-2026-11-27-2.ipynb").read_bytes() == b"more work"


@pytest.mark.parametrize("what", ["folder", "link to nowhere", "link"])
def test_start_again_works_with_what_is_no_file(lesson: Lesson, what: str) -> None:
    path = workspace.notebook(lesson)
    path.parent.mkdir(parents=True)
    if what == "folder":
        path.mkdir()
    else:
        target = path.with_name("elsewhere.ipynb")
        path.symlink_to(target)
        if what == "link":
            target.write_bytes(b"my work")
    tito("start", "77", "--no-open", "--again")
    assert path.read_bytes() == weave.as_bytes(weave.student(lesson))
    assert not path.is_symlink()
    if what == "link":
        assert target.read_bytes() == b"my work"


def test_a_lesson_that_cannot_be_woven_keeps_the_notebook(lesson: Lesson) -> None:
    path = workspace.notebook(lesson)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"my work")
    lesson.source.write_text("nothing")
    assert "contains no exercises" in tito("start", "77", "--no-open", "--again", code=1)
    assert path.read_bytes() == b"my work"


# The status with a broken notebook


BROKEN = {
    "half saved": (b'{"cells": [', "half saved"),
    "empty": (b"", "it is empty"),
    "another encoding": (b"\xff\xfe{", "it is not UTF-8"),
    "no notebook": (b"[]", "it has no list of cells"),
    "a folder": (None, "it is a folder"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_one_broken_notebook_is_a_row_and_a_sentence_with_the_way_out(
    lesson: Lesson, how: str
) -> None:
    other = lesson.root / "notebooks" / "78_more" / "more_dev.py"
    other.parent.mkdir()
    other.write_text(SOURCE.replace("77.1", "78.1"))
    tito("start", "78", "--no-open")
    path = workspace.notebook(lesson)
    path.parent.mkdir(parents=True)
    content, message = BROKEN[how]
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    output = tito("status")
    rows = [line.split() for line in output.splitlines()]
    assert ["77", "things", "?"] in [row[:3] for row in rows]
    assert ["78", "more", "0/1"] in [row[:3] for row in rows]
    text = " ".join(output.split())
    assert message in text
    assert "tito start 77 --again keeps this file and creates a blank notebook" in text
    tito("start", "77", "--no-open", "--again")
    assert "?" not in tito("status")


def test_a_broken_source_is_a_row_and_a_sentence(lesson: Lesson) -> None:
    lesson.source.write_bytes(b"\xff")
    output = tito("status")
    assert "77 things" in output
    assert "things_dev.py cannot be read" in output


# Narrow terminals


OUTCOMES = [
    Outcome("77.1", ("Counter", "LIMIT", "NAMES", "double"), 3, "passed"),
    Outcome("77.2", ("other",), 2, "failed", "Exercise 77.2, other: wrong"),
]


@pytest.fixture
def tested(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    """The result of the integration tests, to be changed; the inline tests have OUTCOMES."""
    reports = [Report("failed", "1 failed")]
    monkeypatch.setattr("tinytorch.tito.inline.run", lambda *_: OUTCOMES)
    monkeypatch.setattr("tinytorch.tito.integration.run", lambda *_: reports[-1])
    tito("start", "77", "--no-open")
    return reports


@pytest.mark.parametrize("columns", [20, 30, 40, 59, 60, 80, 200])
def test_tables_are_readable_in_terminals_of_any_width(tested: list[Report], columns: int) -> None:
    output = tito("test", "77", columns=columns, code=1) + tito("status", columns=columns)
    words = " ".join(output.split())
    for part in ("77.1 Counter, LIMIT, NAMES, double", "3 of 3", "0 of 2", "77 things"):
        assert part in words
    assert "…" not in output
    if columns < cli.NARROW:
        assert "points: 3 of 3" in words
        assert "notebook: 0/1" in words
    rows = [line for line in output.splitlines() if re.search(r"\d( of |/)\d", line)]
    assert all(len(line) <= columns for line in rows)


@pytest.mark.parametrize("columns", [20, 30, 80, 200])
def test_the_diagnosis_is_readable_in_terminals_of_any_width(columns: int) -> None:
    done = CliRunner().invoke(cli.app, ["doctor"], env={"COLUMNS": str(columns)})
    assert "…" not in done.output
    assert "array-api-compat" in done.output
    assert "backend reference" in done.output


@pytest.mark.parametrize("columns", [20, 30, 80, 200])
@pytest.mark.parametrize("words", ["--help", "test --help", "release --help", "nbdev --help"])
def test_help_is_readable_in_terminals_of_any_width(words: str, columns: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tinytorch.tito.cli import main; main()", *words.split()],
        env={**os.environ, "COLUMNS": str(columns), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "…" not in done.stdout
    assert "..." not in done.stdout.replace("[ARGS]...", "")
    assert ("─" in done.stdout) == (columns >= cli.NARROW)


def test_code_that_passes_but_cannot_be_exported_is_explained(
    tested: list[Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = "Your code passes the inline tests, but these tests need it in the package"
    assert advice not in tito("test", "77", code=1)
    tested.append(Report("not run", "exercise 77.1: double uses BASE, which is not defined"))
    assert advice not in tito("test", "77", code=1)
    monkeypatch.setattr("tinytorch.tito.inline.run", lambda *_: OUTCOMES[:1])
    output = " ".join(tito("test", "77", code=1).split())
    assert "double uses BASE, which is not defined" in output
    assert advice in output


def test_the_version_names_the_package() -> None:
    output = " ".join(tito("--version").split())
    assert output == f"tito {tinytorch.__version__}, of tinytorch in {ROOT}"


def test_blank_exercises_of_earlier_lessons_are_named() -> None:
    from tinytorch.tito.cli import _blank_before

    blank = "E  NotImplementedError: exercise {0}.7 of lesson {0}, tensor: getitem is blank\n"
    assert _blank_before(4, blank.format(3) + blank.format(1) + blank.format(4)) == (
        "lesson 1 and lesson 3"
    )
    assert _blank_before(4, blank.format(4)) == _blank_before(4, "") == ""
