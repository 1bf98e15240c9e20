"""Course folders: blank packages, filled lesson by lesson, with the tests of all lessons so far."""

import compileall
import filecmp
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tinytorch.tito import course, weave
from tinytorch.tito.cli import app
from tinytorch.tito.lesson import (
    Lesson,
    LessonError,
    definitions,
    lessons,
    lines_of,
    load,
    read_module,
    replaced,
)
from tinytorch.tito.written import is_filled, share

ROOT = Path(__file__).parents[2]
NUMBERS = lessons(ROOT)

# The body of a blank function.
BLANK = r'raise NotImplementedError\(("exercise [^"]* is blank")\)'

# Runs the inline tests of some lessons on the package, as in notebooks with its code, then their
# integration tests.
TESTS = """
import sys
from pathlib import Path
import pytest
from tinytorch.tito.lesson import load
lessons = [load(number, Path.cwd()) for number in map(int, sys.argv[1:])]
for lesson in lessons:
    names = {"__name__": "__main__"}
    for cell in lesson.cells:
        if cell.kind in ("setup", "given", "exercise", "test"):
            source = lesson.code(cell)
            exec(compile(source, f"{cell.kind} {cell.exercise}", "exec"), names)
folders = [f"tests/{lesson.folder}" for lesson in lessons]
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-k", "not strict", *folders]))
"""


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course folder, which tests must not change."""
    folder = tmp_path_factory.mktemp("course") / "my course"
    course.new(ROOT, folder)
    for name in ("tinytorch", "backends"):  # once, and not in each process
        compileall.compile_dir(folder / name, quiet=2)
    return folder


@pytest.fixture
def folder(blank: Path, tmp_path: Path) -> Iterator[Path]:
    """A course folder that a test may change."""
    copy = tmp_path / "course"
    shutil.copytree(blank, copy, symlinks=True)
    yield copy
    shutil.rmtree(copy)


def fill(folder: Path, number: int) -> None:
    """Write the solutions of a lesson into the package."""
    lesson, blank_lesson = load(number, ROOT), load(number, folder)
    for cell in lesson.cells:
        if cell.kind == "exercise":
            path = blank_lesson.module_path(lesson.exercise(cell).module)
            path.write_text(replaced(read_module(path), lesson.solution(cell)), "utf-8")


def run(folder: Path, *arguments: str, **variables: str) -> str:
    """Run Python on the package of a folder, as a student does; it must succeed."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("TT_BACKEND", "PYTEST"))
    }
    environment |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # one may be imported by a lesson
    environment |= variables
    done = subprocess.run(
        [sys.executable, "-P", *arguments], cwd=folder, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    called = folder / "called"
    note = called.read_text() if called.exists() else ""
    assert done.returncode == 0, note + done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def make_blanks_deadly(folder: Path) -> int:
    """Let a call of a blank function end the process, which no test can catch as an error.

    Returns:
        The number of blank functions.
    """
    total = 0
    note = folder / "called"
    end = f"import os, pathlib; pathlib.Path({str(note)!r}).write_text(\\1); os._exit(3)"
    for path in folder.joinpath("tinytorch").rglob("*.py"):
        text, count = re.subn(BLANK, end.replace("\\1", r"\1"), path.read_text("utf-8"))
        if count:
            path.write_text(text, "utf-8")
        total += count
    return total


@pytest.mark.parametrize("number", NUMBERS)
def test_a_lesson_needs_no_later_lesson(folder: Path, number: int) -> None:
    """With lessons 1 to N filled and all others blank, the tests of lesson N pass.

    They call no blank function, so they pass in the same way when more lessons are filled.
    """
    done = [n for n in NUMBERS if n <= number]
    for n in done:
        fill(folder, n)
    own = [load(n, folder) for n in NUMBERS]
    assert [lesson.number for lesson in own if is_filled(lesson)] == done
    blanks = sum(len(e.hints) for lesson in own if lesson.number > number for e in lesson.exercises)
    assert make_blanks_deadly(folder) == blanks
    assert blanks or number == NUMBERS[-1]
    run(folder, "-c", TESTS, str(number))


def test_a_call_of_a_blank_function_cannot_be_hidden(folder: Path) -> None:
    make_blanks_deadly(folder)
    call = "try:\n    create_causal_mask(3)\nexcept BaseException:\n    pass"
    with pytest.raises(AssertionError, match=r"exercise 12\.1 of lesson 12"):
        run(folder, "-c", f"from tinytorch.attention import create_causal_mask\n{call}")


@pytest.mark.slow
@pytest.mark.nightly
def test_all_lessons_run_on_the_student_s_package(folder: Path) -> None:
    """With all lessons filled, the tests of all lessons pass in one process."""
    for n in NUMBERS:
        fill(folder, n)
    run(folder, "-c", TESTS, *map(str, NUMBERS))


# A network of lessons 01 to 05, which predicts the next character of Python's own documentation.
NETWORK = """
import tokenize
from tinytorch import CrossEntropyLoss, DataLoader, Linear, ReLU, Sequential, TokenDataset
from tinytorch import backends, eye, manual_seed
manual_seed(18)
text = tokenize.__doc__
characters = sorted(set(text))
ids = [characters.index(character) for character in text]
one_hot = eye(len(characters))
model = Sequential(Linear(len(characters), 32), ReLU(), Linear(32, len(characters)))
loss = CrossEntropyLoss()
for x, y in DataLoader(TokenDataset(ids, 8), batch_size=16, shuffle=True):
    print(float(loss(model(one_hot[x]), y)).hex(), x.tolist())
print(backends.default().name, model.num_parameters(), len(characters))
"""


@pytest.mark.slow
def test_a_student_walks_from_a_blank_package_to_all_lessons(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instructor's notebooks are exported one after the other, with `tito` as a student does.

    What is written is the package's own code. After lesson 05, a network of the student's layers
    computes the losses of the complete package. The nightly tests/milestones/test_whole_way.py
    runs the tests of each lesson and the milestones on the way.
    """

    def tito(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        return done.output

    monkeypatch.setenv("PYTHONPATH", str(folder))  # of kernels, as if it were installed
    for number in NUMBERS:
        lesson, reference = load(number, folder), load(number, ROOT)
        monkeypatch.chdir(ROOT)
        tito("solutions", str(number), "--to", str(folder / "solved"))
        monkeypatch.chdir(folder)
        tito("start", str(number), "--no-open")
        notebook = folder / "workspace" / lesson.folder / f"{lesson.name}.ipynb"
        shutil.copyfile(folder / "solved" / f"{lesson.name}_solution.ipynb", notebook)
        assert "the package now uses your code" in tito("export", str(number))
        assert [n for n in NUMBERS if is_filled(load(n, folder))] == [
            n for n in NUMBERS if n <= number
        ]
        assert share(lesson).written == share(lesson).functions > 0
        assert written(lesson) == written(reference)
        later = {e.module for n in NUMBERS if n > number for e in load(n, ROOT).exercises}
        for module in {exercise.module for exercise in lesson.exercises} - later:
            assert filecmp.cmp(lesson.module_path(module), reference.module_path(module), False)
        if number == 5:
            mine, expected = (run(f, "-c", NETWORK, TT_BACKEND="reference") for f in (folder, ROOT))
            assert mine == expected
            assert mine.split()[-3] == "reference"
            assert len(mine.splitlines()) > 10
    own = {p.relative_to(ROOT) for p in (ROOT / "tinytorch").rglob("*.py")}
    own = {p for p in own if "backends" not in p.parts and p.name != "fast_bpe.py"}
    assert [p for p in sorted(own) if not filecmp.cmp(folder / p, ROOT / p, False)] == []


def written(lesson: Lesson) -> dict[str, list[str]]:
    """The definitions of a lesson's exercises, as they are in the package now."""
    found = {}
    for exercise in lesson.exercises:
        module = read_module(lesson.module_path(exercise.module))
        for name, d in definitions(module).items():
            if name in exercise.names:
                found[f"{exercise.number} {name}"] = lines_of(module)[d.start : d.stop]
    return found


def test_every_exercise_is_blank_and_names_its_lesson(blank: Path) -> None:
    for number in NUMBERS:
        lesson = load(number, blank)
        assert not is_filled(lesson)
        assert share(lesson).written == 0
        for exercise in lesson.exercises:
            text = read_module(lesson.module_path(exercise.module))
            for name in exercise.hints:
                expected = f"exercise {exercise.number} of lesson {number}, {lesson.name}: {name}"
                assert f'raise NotImplementedError("{expected} is blank")' in text


def test_a_course_folder_holds_no_solution(blank: Path) -> None:
    """The bodies that students write are in no file, but for lines that other code has too."""
    files = [p for p in blank.rglob("*") if p.suffix in (".py", ".ipynb", ".md")]
    texts = {p.relative_to(blank).as_posix(): p.read_text("utf-8") for p in files if p.is_file()}
    assert not [name for name in texts if "mistakes" in name or "alternatives" in name]
    for number in NUMBERS:
        lesson = load(number, ROOT)
        removed: set[str] = set()
        for cell in lesson.cells:
            if cell.kind == "exercise":
                before, after = lesson.solution(cell), lesson.unwritten(cell)
                removed |= {line.strip() for line in before.split("\n")} - {
                    line.strip() for line in after.split("\n")
                }
        telling = {line for line in removed if len(line) > 30 and not line.startswith("#")}
        found = {line for line in telling if any(line in text for text in texts.values())}
        assert len(telling) > 10
        assert len(found) < 0.1 * len(telling), found


def test_the_readme_has_the_course_map(blank: Path) -> None:
    rows = [line for line in (blank / "README.md").read_text("utf-8").splitlines() if "|" in line]
    for number in NUMBERS:
        folder = f"notebooks/{load(number, blank).folder}/"
        (row,) = (row for row in rows if f"({folder})" in row)
        assert (blank / folder).is_dir()
        assert row in (ROOT / "README.md").read_text("utf-8")


def test_the_package_has_no_fast_versions(blank: Path) -> None:
    numpy = blank / "backends" / "numpy"
    assert {p.name for p in numpy.glob("*.py")} == {
        "__init__.py", "backend.py", "kernels.py", "narrow.py", "threads.py",
    }  # fmt: skip
    assert "learn_merges" not in definitions((blank / "tinytorch/text/fast_bpe.py").read_text())


def test_status_milestones_and_tests_of_a_course(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    first, last = NUMBERS[0], NUMBERS[-1]
    needed = [str(number) for number in NUMBERS if number != 9]  # milestone 05 has no images

    def tito(*arguments: str) -> str:
        return " ".join(CliRunner(env={"COLUMNS": "100"}).invoke(app, arguments).output.split())

    assert "0/" in tito("status")
    assert f"blank in tinytorch/: {', '.join(needed)};" in tito("milestone", "run", "05")
    assert "is ready" in tito("start", str(first), "--no-open")
    assert "still blank" in tito("export", str(first))
    lesson = load(first, folder)
    notebook = folder / "workspace" / lesson.folder / f"{lesson.name}.ipynb"
    weave.write(weave.solution(load(first, ROOT)), notebook)
    assert "the package now uses your code" in tito("export", str(first))
    count = share(lesson).functions
    assert f"######## {count}/{count} {share(lesson).lines} " in tito("status")
    assert re.search(rf"yours in tinytorch/: {count} of \d+ functions, \d+ lines", tito("status"))
    assert f"blank in tinytorch/: {', '.join(needed[1:])};" in tito("milestone", "run", "05")
    assert "restored" in tito("reset", str(first))
    assert not is_filled(lesson)
    assert str(last) in tito("status")


def test_new_refuses_what_would_lose_or_hand_out_something(
    checkout: Path, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("keep")
    with pytest.raises(LessonError, match="exists already"):
        course.new(ROOT, tmp_path / "taken")
    with pytest.raises(LessonError, match="inside of the package"):
        course.new(ROOT, ROOT / "tinytorch" / "course")
    with pytest.raises(LessonError, match="it is a course folder itself"):
        course.new(folder, tmp_path / "second")
    lesson = load(12, checkout)
    lesson.backups.joinpath("tinytorch").mkdir(parents=True)
    lesson.backups.joinpath("tinytorch/attention.py").write_text("")
    with pytest.raises(LessonError, match="tito reset 12"):
        course.new(checkout, tmp_path / "third")
    assert not list(tmp_path.glob(".*"))
    assert [p.name for p in (tmp_path / "taken").iterdir()] == ["mine.txt"]
