"""`tito grade` in folders of any name, from any working directory."""

import shutil
from pathlib import Path

import pytest
from example_lesson import PACKAGE, SOURCE, make
from typer.testing import CliRunner

from tinytorch.tito import cli, weave
from tinytorch.tito.release import release

SOURCE_WITH_CHECK = SOURCE.replace('print("tested")', "assert double(2) == 4")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A released lesson with the solution; grading needs no checkout, so it uses a fake one."""
    lesson = make(tmp_path / "course", SOURCE_WITH_CHECK, PACKAGE.replace("@decorated\n", ""))
    tests = lesson.root / "tests"
    (tests / "77_things").mkdir(parents=True)
    (tests / "conftest.py").touch()
    (tests / "77_things" / "test_things_integration.py").write_text(
        "from tinytorch.things import double\n\n\ndef test_double():\n    assert double(2) == 4\n"
    )
    release(lesson, tmp_path)
    weave.write(weave.solution(lesson), tmp_path / "77_things" / "things.ipynb")
    package = lesson.root / "tinytorch"

    def copy(root: Path, folder: Path) -> None:
        shutil.copytree(package, folder / "tinytorch")

    monkeypatch.setattr("tinytorch.tito.integration.copy_package", copy)
    monkeypatch.setattr("tinytorch.tito.export.copy_package", copy_again)
    return tmp_path / "77_things"


def copy_again(root: Path, folder: Path) -> None:
    shutil.copytree(root / "tinytorch", folder / "tinytorch")


def grade(folder: Path | str, code: int = 0) -> str:
    done = CliRunner().invoke(cli.app, ["grade", str(folder)], env={"COLUMNS": "100"})
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return " ".join(done.output.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "things-alice",
        "77-things-alice",
        "00_good",
        "a b",
        "größe",
        "空",
        "things",
        "a/b/77",
        "x[1]",
    ],
)
def test_the_name_of_the_folder_does_not_matter(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloned = folder.parent / "clones" / name
    shutil.copytree(folder, cloned)
    monkeypatch.chdir(cloned)
    output = grade(".")
    assert "3 of 3" in output
    assert "1 passed" in output


@pytest.mark.slow
def test_a_folder_is_graded_from_another_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    assert "1 passed" in grade("77_things")
    assert "1 passed" in grade(folder)


@pytest.mark.slow
def test_all_lessons_of_a_folder_are_graded(folder: Path) -> None:
    for path in list(folder.glob("*things*")):
        shutil.copyfile(path, folder / path.name.replace("things", "more"))
    (folder / "test_more_integration.py").write_text("def test_it():\n    assert False\n")
    output = grade(folder, code=1)
    assert "more.ipynb" in output
    assert "things.ipynb" in output
    assert "1 passed" in output
    assert "1 failed" in output


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("things.ipynb", "is incomplete: things.ipynb is missing"),
        ("test_things_integration.py", "test_things_integration.py is missing"),
        ("things_dev.py", "is not a released lesson: it has no NAME_dev.py"),
    ],
)
def test_a_missing_file_is_named(folder: Path, remove: str, message: str) -> None:
    (folder / remove).unlink()
    assert message in grade(folder, code=1)


def test_a_folder_without_a_lesson_is_explained(folder: Path) -> None:
    assert "it contains the folders 77_things" in grade(folder.parent, code=1)
    assert "is not a released lesson" in grade(folder.parent / "nowhere", code=1)
    assert "is not a released lesson" in grade(folder / "things_dev.py", code=1)


@pytest.mark.parametrize(
    "source",
    ["", "print(1)", "# %% exercise=\n", '# %% test="1.1" points="x"\n', '# %% exercise="1.1"\n('],
)
def test_a_damaged_source_is_one_sentence(folder: Path, source: str) -> None:
    (folder / "things_dev.py").write_text(source)
    moved = folder.rename(folder.with_name("clone"))
    assert "things_dev.py" in grade(moved, code=1)
