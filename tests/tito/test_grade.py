"""`tito grade`: a lesson's folder of any name, a notebook, a class; exit codes; real lessons."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graded_course import Passing, make_course, submission
from typer.testing import CliRunner

from tinytorch.tito import cli, weave
from tinytorch.tito.grading import command
from tinytorch.tito.grading.base import HERE, Base
from tinytorch.tito.grading.judge import Grade, grade
from tinytorch.tito.grading.sandbox import Limits, Sandbox
from tinytorch.tito.lesson import Lesson, lessons, load
from tinytorch.tito.release import release

WRONG = "def double(x):\n    return 3 * x\n"


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lesson]:
    """The example course, as the one that grades."""
    lesson = make_course(tmp_path_factory.mktemp("course"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "HERE", lesson.root)
        yield lesson


@pytest.fixture
def folder(course: Lesson, tmp_path: Path) -> Path:
    """The released lesson, solved."""
    release(course, tmp_path)
    weave.write(submission(course), tmp_path / "77_things" / "things.ipynb")
    return tmp_path / "77_things"


def tito_grade(*words: Path | str, code: int = 0) -> str:
    done = CliRunner().invoke(cli.app, ["grade", *map(str, words)], env={"COLUMNS": "100"})
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return " ".join(done.output.split())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["things-alice", "00_good", "größe 空 [1]", "a/b/77"])
def test_the_name_of_the_folder_does_not_matter(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloned = folder.parent / "clones" / name
    shutil.copytree(folder, cloned)
    monkeypatch.chdir(cloned)
    assert "10 of 10 points" in tito_grade(".")


@pytest.mark.slow
def test_a_notebook_is_graded_by_itself(course: Lesson, tmp_path: Path) -> None:
    weave.write(submission(course, "77.1", WRONG), tmp_path / "alice's.ipynb")
    output = tito_grade(tmp_path / "alice's.ipynb", code=1)
    assert "8 of 10 points" in output
    assert "Exercise 77.1, double: twice 3" in output
    assert "likely cause: 2 * x" in output


@pytest.mark.slow
def test_tests_in_the_submission_do_not_count(course: Lesson, folder: Path) -> None:
    """Neither the lesson's source, nor the integration tests, nor a package."""
    for name in ("things_dev.py", "test_things_integration.py", "conftest.py"):
        path = folder / name
        path.write_text(path.read_text().replace("6", "9").replace("3.0", "4.5"))
    (folder / "tinytorch").mkdir()
    (folder / "tinytorch" / "__init__.py").write_text("raise SystemExit\n")
    assert "10 of 10 points" in tito_grade(folder)
    weave.write(submission(course, "77.1", WRONG), folder / "things.ipynb")
    output = tito_grade(folder, code=1)
    assert "8 of 10 points" in output
    assert "tests: those of" in output
    assert str(course.root.name) in output


@pytest.mark.slow
def test_a_lesson_that_the_checkout_does_not_have_is_graded_with_a_released_one(
    course: Lesson, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own tests are used only if there is no other choice, and the output says so."""
    monkeypatch.setattr(command, "lessons", lambda root: [])
    shutil.copytree(folder, folder.parent / "class" / "ann")
    output = tito_grade(folder)
    assert "10 of 10 points" in output
    assert "a student can change" in output
    assert "which tests? Give --lesson DIR" in tito_grade(folder.parent / "class", code=2)
    assert "Give --lesson DIR" in tito_grade(folder, "--lesson", "77", code=2).replace(
        "give", "Give"
    )
    (folder.parent / "class" / "ann" / "things_dev.py").write_text("")
    output = tito_grade(folder.parent / "class", "--lesson", folder)
    assert "10 of 10 points" in output
    assert "a student can change" not in output


@pytest.mark.slow
def test_an_error_that_is_no_text_stops_neither_output_nor_files(
    course: Lesson, tmp_path: Path
) -> None:
    """A lone surrogate cannot be encoded; \\x1b and \\u202e would be obeyed by a terminal."""
    code = "def double(x):\n    raise ValueError('\\udc80 \\x1b[2J \\u202e')\n"
    weave.write(submission(course, "77.1", code), tmp_path / "class" / "ann" / "things.ipynb")
    weave.write(submission(course), tmp_path / "class" / "bob" / "things.ipynb")
    files = {"--csv": "t.csv", "--json": "d.json", "--reports": "reports"}
    options = [word for option, name in files.items() for word in (option, tmp_path / name)]
    output = tito_grade(tmp_path / "class", *options, code=1)
    assert "ann: 8 of 10 points" in output
    assert "bob: 10 of 10 points" in output
    ann, bob = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    assert "ValueError: \udc80 \x1b[2J \u202e" in ann["exercises"][0]["message"]
    assert bob["status"] == "passed"
    report = (tmp_path / "reports" / "ann 77 things.md").read_text(encoding="utf-8")
    assert "ValueError: ? ?[2J ?" in report
    assert "ValueError: ? ?[2J ?" in tito_grade(tmp_path / "class" / "ann", code=1)


def test_what_cannot_be_graded_is_one_sentence(course: Lesson, tmp_path: Path) -> None:
    assert "does not exist" in tito_grade(tmp_path / "nowhere", code=2)
    assert "there is no notebook" in tito_grade(tmp_path, code=2)
    assert "is a checkout of the course" in tito_grade(course.root, code=2)
    assert "is not a released lesson" in tito_grade(tmp_path, "--lesson", tmp_path, code=2)
    assert "there is no lesson 78" in tito_grade(tmp_path, "--lesson", "78", code=2)
    (tmp_path / "a.ipynb").write_text("{")
    output = tito_grade(tmp_path / "a.ipynb", code=1)
    assert "half saved" in output
    (tmp_path / "things_dev.py").touch()
    assert "things_integration.py is missing" in tito_grade(tmp_path, "--lesson", tmp_path, code=2)


@pytest.mark.parametrize(
    "source",
    ["", "print(1)", "# %% exercise=\n", '# %% test="1.1" points="x"\n', '# %% exercise="1.1"\n('],
)
def test_a_damaged_source_is_one_sentence(folder: Path, source: str) -> None:
    (folder / "things_dev.py").write_text(source)
    assert "things_dev.py" in tito_grade(folder, "--lesson", folder, code=2)


@pytest.mark.slow
def test_half_a_notebook_of_lesson_12_has_the_points_of_that_half(tmp_path: Path) -> None:
    """The exercises of the second half need those of the first, and are blank."""
    lesson = load(12, HERE)
    notebook, blank = weave.solution(lesson), weave.student(lesson)
    numbers = [exercise.number for exercise in lesson.exercises]
    for mine, empty in zip(notebook.cells, blank.cells, strict=False):
        if mine.metadata.get("tinytorch", {}).get("exercise") in numbers[4:]:
            mine.source = empty.source
    weave.write(notebook, tmp_path / "attention.ipynb")
    with Base(lesson, HERE / "tests" / lesson.folder, HERE) as base:
        result = grade(base, tmp_path / "attention.ipynb", Sandbox(Limits()))
    assert result.points == sum(base.points[number] for number in numbers[:4])
    assert [mark.status for mark in result.marks] == ["passed"] * 4 + ["blank"] * (len(numbers) - 4)
    assert result.integration == "passed"


def alternatives(lesson: Lesson) -> list[Any]:
    """The right solutions in `tests/NN_name/alternatives.py`."""
    path = HERE / "tests" / lesson.folder / "alternatives.py"
    if not path.exists():
        return []
    spec = importlib.util.spec_from_file_location(f"alternatives_{lesson.number}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.ALTERNATIVES)


class Different:
    """The notebooks of a lesson with right solutions that differ from the lesson's own.

    Each has another solution of every exercise, as long as there are some.
    """

    def __init__(self, lesson: Lesson) -> None:
        self.lesson = lesson
        self.own: dict[str, list[Any]] = {e.number: [] for e in lesson.exercises}
        for alternative in alternatives(lesson):
            self.own[alternative.exercise].append(alternative)
        self.count = max(map(len, self.own.values()))

    def write(self, folder: Path, count: int) -> None:
        """Write the first `count` notebooks, as 0.ipynb, 1.ipynb and so on."""
        for index in range(count):
            notebook = weave.solution(self.lesson)
            for cell in notebook.cells:
                mark = cell.metadata.get("tinytorch", {})
                if mark.get("kind") == "exercise" and index < len(self.own[mark.exercise]):
                    cell.source = self.own[mark.exercise][index].in_source(cell.source)
            weave.write(notebook, folder / f"{index}.ipynb")

    def check(self, index: int, result: Grade) -> None:
        """Check that a notebook has all points."""
        missed = [m for m in result.marks if m.status != "passed"]
        names = [a.name for m in missed for a in self.own[m.exercise][index : index + 1]]
        assert result.passed, (names, result.problem, [m.message for m in missed])


@pytest.mark.slow
@pytest.mark.parametrize("number", lessons(HERE))
def test_right_but_different_solutions_break_no_rule(number: int, tmp_path: Path) -> None:
    different = Different(load(number, HERE))
    different.write(tmp_path, different.count)
    with Base(different.lesson, None, HERE) as base:
        for index in range(different.count):
            result = grade(base, tmp_path / f"{index}.ipynb", Passing(Limits()))
            different.check(index, result)


@pytest.mark.slow
@pytest.mark.parametrize("number", lessons(HERE))
@pytest.mark.parametrize(
    "count", [pytest.param(1, id="one"), pytest.param(None, id="all", marks=pytest.mark.nightly)]
)
def test_right_but_different_solutions_earn_all_points(
    number: int, count: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with what runs beside the tests: limits, the guard, and the integration tests."""
    monkeypatch.setattr(command, "HERE", HERE)
    different = Different(load(number, HERE))
    different.write(tmp_path, count or different.count)
    results, _ = command.run([tmp_path], str(number), Limits())
    assert len(results) == (count or different.count)
    for result in results:
        different.check(int(result.submission.student), result.grade)
