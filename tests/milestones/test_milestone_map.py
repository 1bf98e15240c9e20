"""`tito milestone list`: the milestones on a time axis, in terminals of any width and encoding."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tinytorch.tito.course_map import ranges
from tinytorch.tito.milestone_map import AXIS, PLAIN_AXIS, picture, progress
from tinytorch.tito.milestones import LESSONS, MILESTONES

ROOT = Path(__file__).parents[2]
BLANK = 'raise NotImplementedError("exercise {0}.7 of lesson {0}, name: Class.method is blank")\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A course folder in which lessons 6 and 13 are blank."""
    for number, path in ((6, "autograd.py"), (13, "inner/transformers.py")):
        file = tmp_path / "tinytorch" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"def f():\n    {BLANK.format(number)}")
    (tmp_path / "tinytorch" / "__init__.py").write_bytes(b"no \xff UTF-8")
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def finish(folder: Path, results: str, summary: Any) -> None:
    out = folder / "runs" / results
    out.mkdir(parents=True, exist_ok=True)
    (out / "summary.json").write_text(summary if isinstance(summary, str) else json.dumps(summary))


def test_a_milestone_is_blank_ready_done_or_not_confirmed(folder: Path) -> None:
    states = progress(folder)
    assert [state.milestone for state in states] == MILESTONES
    assert [state.status for state in states] == ["ready", *["blank"] * 7]
    assert [state.blank for state in states] == [(), *[(6,)] * 3, *[(6, 13)] * 4]
    (folder / "tinytorch" / "autograd.py").write_text("")
    finish(folder, "perceptron", {"claims": [{"holds": True}, {"holds": True}]})
    finish(folder, "xor", {"claims": [{"holds": True}, {"holds": False}]})
    for number, broken in enumerate(["", "[]", "{", '{"claims": [1]}', '{"claims": [{}]}']):
        finish(folder, "mlp" if number % 2 else "lenet", broken)
        found = [state.status for state in progress(folder)]
        assert found == ["done", "not confirmed", "ready", "ready", *["blank"] * 4]
    finish(folder, "tinygpt", {"val_loss": 1.5})
    assert progress(folder)[6].status == "blank"  # blank again after tito reset
    (folder / "tinytorch" / "inner" / "transformers.py").write_text("")
    assert [state.status for state in progress(folder)][4:] == ["ready", "ready", "done", "ready"]


@pytest.mark.parametrize("columns", [10, 40, 60, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp437", "cp1252"])
def test_the_picture_fits_the_terminal_and_says_all(
    folder: Path, columns: int, encoding: str
) -> None:
    lines = [line for line, _ in picture(progress(folder), columns, encoding)]
    assert all(len(line) <= max(columns, 30) for line in lines)
    text = "\n".join(lines)
    assert set(PLAIN_AXIS if encoding != "utf-8" else AXIS[1:]) & set(text)
    if encoding != "utf-8":
        assert text.isascii()
    words = " ".join(word for word in text.split() if word not in (*AXIS, *PLAIN_AXIS))
    for milestone in MILESTONES:
        names = ", ".join(f"{number:02} {LESSONS[number - 1]}" for number in milestone.lessons)
        assert f"{milestone.year} {milestone.name}: {milestone.description} needs {names} " in words
    assert words.count("still blank: 06, 13") == 4
    assert words.count("still blank: 06") == 7
    assert words.count("ready: tito milestone run 01") == 1


@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        ({"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "", "PYTHONIOENCODING": "ascii"}, True),
    ],
)
def test_tito_shows_the_picture(folder: Path, settings: dict[str, str], plain: bool) -> None:
    environment = {**os.environ, "COLUMNS": "60", "PYTHONPATH": str(ROOT), **settings}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tinytorch.tito", "milestone", "list"], env=environment,
        cwd=folder, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() == plain
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 60
    assert done.stdout.splitlines()[0].startswith("1958  o  01:" if plain else "1958  ○  01:")


def test_the_table_of_the_milestones_names_the_lessons_that_each_runs_on() -> None:
    table = (ROOT / "milestones" / "README.md").read_text("utf-8")
    for milestone in (m for m in MILESTONES if m.name.isdecimal()):
        (row,) = (line for line in table.splitlines() if line.startswith(f"| [{milestone.name}]"))
        cells = [cell.strip() for cell in row.split("|")]
        assert cells[2] == milestone.year
        assert cells[4] == ranges(milestone.lessons)
