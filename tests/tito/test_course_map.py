"""The course map: read from the heads of lessons, printed by `tito status`, written to pages."""

import re
from pathlib import Path

import pytest
from example_lesson import SOURCE, make
from typer.testing import CliRunner

from tinytorch.tito import pages
from tinytorch.tito.cli import app
from tinytorch.tito.course_map import Entry, entry, known_entry, ranges
from tinytorch.tito.lesson import Lesson, lessons, load

ROOT = Path(__file__).parents[2]
LESSONS = [load(number, ROOT) for number in lessons(ROOT)]

HEAD = """# %% [markdown]
# # Lesson 77: Things
#
# **You will build** things and more.
# It is easy.
#
# **You will learn**
#
# - what things are,
#   and are not;
# - how to count them.
#
# **Before you start**: lessons 01 to 03 and lesson
# 12; lesson 80 is not needed. Patience.
#
# **Time**: about two and a half hours, lesson 5 not included.

"""


@pytest.fixture
def head(tmp_path: Path) -> Entry:
    return entry(make(tmp_path, HEAD + SOURCE))


def test_the_head_of_a_lesson_says_what_it_builds_needs_takes_and_teaches(head: Entry) -> None:
    goals = "**You will learn**\n\n- what things are,\n  and are not;\n- how to count them."
    assert head == Entry(
        77, "things", "things and more", (1, 2, 3, 12), "2½ h", goals, ("things.py",)
    )


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_every_lesson_has_a_complete_entry(lesson: Lesson) -> None:
    own = entry(lesson)
    assert 0 < len(own.builds) <= 30, "the first cell needs: **You will build** a few words."
    assert re.fullmatch(r"\d½?(-\d½?)? h", own.time)
    assert len(re.findall(r"(?m)^- ", own.goals)) >= 3


@pytest.mark.parametrize(
    ("numbers", "text", "short"),
    [
        ([], "", ""),
        ([11], "11", "11"),
        ([1, 2], "01, 02", "1 2"),
        ([3, 1, 2], "01 to 03", "1-3"),
        ([1, 2, 3, 6, 11, 12], "01 to 03, 06, 11, 12", "1-3 6 11 12"),
    ],
)
def test_ranges_of_lessons(numbers: list[int], text: str, short: str) -> None:
    assert (ranges(numbers), ranges(numbers, short=True)) == (text, short)


def test_a_source_that_cannot_be_read_has_number_and_name(tmp_path: Path) -> None:
    lesson = make(tmp_path)
    lesson.source.write_bytes(b"\xff")
    assert known_entry(lesson) == Entry(77, "things")


@pytest.mark.parametrize("columns", [80, 120])
def test_status_prints_the_map_in_one_line_for_each_lesson(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    output = CliRunner().invoke(app, ["status"], env={"COLUMNS": str(columns)}).output
    lines = {line[:2]: line for line in output.splitlines()}
    for own in map(entry, LESSONS):
        parts = (own.name, own.builds, ranges(own.needs, short=True), own.time)
        assert all(part in lines[f"{own.number:02}"] for part in parts)
    assert "\x1b" not in output


def test_a_table_is_replaced_by_its_headings() -> None:
    page = "# A\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\nText\n\n| a |\n|---|\n"
    new = pages.table([{"a": "5", "b": "6"}])
    assert pages.with_table(page, new) == page.replace("| 1 | 2 |\n| 3 | 4 |", "| 5 | 6 |")
    with pytest.raises(ValueError, match="found 0"):
        pages.with_table("# A\n", new)


def test_pages_are_written_when_they_are_outdated(checkout: Path) -> None:
    assert list(pages.write(checkout)) == []  # a course folder has no docs/
    (checkout / "docs").mkdir()
    readme = (ROOT / "README.md").read_text("utf-8")
    row = next(line for line in readme.splitlines() if line.startswith("| [12 attention]"))
    (checkout / "README.md").write_text(readme.replace(row, "| wrong |"), "utf-8")
    changed = [path.relative_to(checkout).as_posix() for path in pages.write(checkout)]
    assert changed == ["README.md", "docs/course.md"]
    for name in changed:
        assert (checkout / name).read_text("utf-8") == (ROOT / name).read_text("utf-8")
    assert list(pages.write(checkout)) == []
