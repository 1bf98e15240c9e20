"""Notebooks as other editors save them, and damaged ones: read, or explained in one sentence."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from example_lesson import PACKAGE, make
from typer.testing import CliRunner

from tinytorch.tito import cli, workspace
from tinytorch.tito.notebook import StudentCell, exercise_cells, read

CODE = {"cell_type": "code", "source": "x = 1", "metadata": {}}
MARK = {"tinytorch": {"kind": "exercise", "exercise": "77.1"}}


def saved(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "mine.ipynb"
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(data)
    return path


def notebook(*cells: Any, **others: Any) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **others}


@pytest.mark.parametrize(
    "cell",
    [
        CODE,
        {"cell_type": "code", "source": ["x ", "= 1"]},
        {**CODE, "metadata": None, "outputs": None, "execution_count": "?"},
        {**CODE, "metadata": [], "id": 3},
        {**CODE, "metadata": {"tinytorch": []}},
        {**CODE, "metadata": {"tinytorch": {"kind": 3}}},
        {**CODE, "metadata": {"tinytorch": {"kind": "exercise", "exercise": []}}},
        {**CODE, "metadata": {"vscode": {"languageId": "python"}, "colab": {"base_uri": 1}}},
        {"cell_type": "code", "input": "x = 1", "language": "python"},
    ],
)
def test_code_is_read_whatever_the_metadata(tmp_path: Path, cell: Any) -> None:
    (found,) = read(saved(tmp_path, notebook(cell)))
    assert (found.type, found.source) == ("code", "x = 1")
    assert found.kind in ("", "exercise")


@pytest.mark.parametrize("cell", [{"source": None}, {}, {"source": []}, {"source": ""}])
def test_a_missing_source_is_empty(tmp_path: Path, cell: Any) -> None:
    assert read(saved(tmp_path, notebook({"cell_type": "code", **cell})))[0].source == ""


@pytest.mark.parametrize("minor", [0, 1, 2, 3, 4, 5, None, "x"])
def test_versions_of_the_format(tmp_path: Path, minor: Any) -> None:
    assert len(read(saved(tmp_path, notebook(CODE, nbformat_minor=minor)))) == 1


def test_version_3_has_worksheets(tmp_path: Path) -> None:
    old = nbformat.v3.new_notebook()
    cells = [nbformat.v3.new_heading_cell("t"), nbformat.v3.new_code_cell("x = 1")]
    old.worksheets = [nbformat.v3.new_worksheet(cells=cells)]
    path = tmp_path / "old.ipynb"
    path.write_text(nbformat.v3.writes_json(old))
    assert [(c.type, c.source) for c in read(path)] == [("heading", "t"), ("code", "x = 1")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_endings_byte_order_marks_and_surrogates(tmp_path: Path, encoding: str) -> None:
    text = json.dumps(notebook({**CODE, "source": "ä\r\nb\rc"}), indent=1, ensure_ascii=False)
    data = text.replace("\n", "\r\n").encode(encoding)
    assert read(saved(tmp_path, data))[0].source == "ä\nb\nc"
    assert read(saved(tmp_path, notebook({**CODE, "source": "\ud800"})))[0].source == "?"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b" \r\n", "it is empty"),
        (b'{"cells": [', "it is not JSON, or half saved"),
        (b"<<<<<<< HEAD", "it is not JSON"),
        (b'{"cells": ["\xff"]}', "it is not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b"1" * 10_000, "is not a notebook"),
        ([], "it has no list of cells"),
        (None, "it has no list of cells"),
        ({}, "it has no list of cells"),
        ({"cells": None}, "it has no list of cells"),
        ({"cells": {}}, "it has no list of cells"),
        ({"worksheets": [3]}, "it has no list of cells"),
        ({"worksheets": [{"cells": 3}]}, "it has no list of cells"),
        (notebook(CODE, 3), "cell 2 is neither a code cell nor a markdown cell"),
        (notebook(CODE, {}), "cell 2 is neither"),
        (notebook({"cell_type": []}), "cell 1 is neither"),
        (notebook({"cell_type": "poem"}), "cell 1 is neither"),
        (notebook({**CODE, "source": 3}), "the source of cell 1 is not text"),
        (notebook({**CODE, "source": [3]}), "the source of cell 1 is not text"),
        (notebook({**CODE, "source": {}}), "the source of cell 1 is not text"),
        (notebook(*[CODE] * 100_000), "it has 100000 cells, more than 10000"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_other_files_are_one_sentence(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(saved(tmp_path, content))
    assert "mine.ipynb is not a notebook" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it is a folder"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "gone.ipynb")


def test_cells_of_an_exercise(tmp_path: Path) -> None:
    """Marked cells, and for names that they do not define the last code cell that does."""
    lesson = make(tmp_path, package=PACKAGE)
    names = "LIMIT = NAMES = 1\ndef double(x): pass\nclass Counter: pass"
    cells = [
        StudentCell(1, "code", names),
        StudentCell(2, "markdown", names),
        StudentCell(3, "code", "def double(x): pass"),
        StudentCell(4, "code", "%magic"),
    ]
    assert [c.number for c in exercise_cells(cells, lesson.exercises)["77.1"]] == [1, 3]
    cells[2] = StudentCell(3, "code", "%magic\ndef double(x): pass")
    assert [c.number for c in exercise_cells(cells, lesson.exercises)["77.1"]] == [1, 3]
    cells += [StudentCell(n, "code", "", "exercise", "77.1") for n in (5, 6)]
    assert [c.number for c in exercise_cells(cells, lesson.exercises)["77.1"]] == [1, 3, 5, 6]
    cells[-1] = StudentCell(6, "code", names, "exercise", "77.1")
    assert [c.number for c in exercise_cells(cells, lesson.exercises)["77.1"]] == [5, 6]
    cells = [StudentCell(1, "code", "def double(x): pass")]
    assert [c.number for c in exercise_cells(cells, lesson.exercises)["77.1"]] == [1]
    cells = [StudentCell(1, "markdown", names, "exercise", "77.1")]
    assert exercise_cells(cells, lesson.exercises)["77.1"] == []


def status() -> str:
    done = CliRunner().invoke(cli.app, ["status"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_status_shows_all_lessons_if_one_notebook_or_source_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = make(tmp_path, package=PACKAGE.replace("@decorated\n", ""))
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "notebooks" / "78_more" / "more_dev.py"
    other.parent.mkdir()
    other.write_text('# %% exercise="78.1" points="x"\nimport math\n')
    workspace.start(lesson)
    output = status()
    assert "77 things 0/1" in output
    assert "78 more ?" in output
    assert "lesson 78: more_dev.py: points must be a number, not 'x'" in output
    workspace.notebook(lesson).write_text('{"cells"')
    output = status()
    assert "77 things ?" in output
    assert "lesson 77:" in output
    assert "things.ipynb is not a notebook: it is not JSON, or half saved" in output


def test_status_says_why_the_package_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, package=PACKAGE.replace("@decorated\n", ""))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tinytorch" / "__init__.py").write_text("from .things import double, gone\n")
    (tmp_path / ".git").mkdir()
    output = status()
    assert "the package cannot be imported: ImportError: cannot import name 'gone'" in output
    assert "git checkout -- tinytorch/things.py restores the committed file" in output
    backup = tmp_path / "workspace" / ".backup" / "77_things" / "tinytorch" / "things.py"
    backup.parent.mkdir(parents=True)
    backup.touch()
    assert "tito reset 77 restores it" in status()
