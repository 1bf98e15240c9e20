"""What `tito release` writes, and the commands of its workflow."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest
from example_lesson import SOURCE, make
from helpers import require_distribution

from tinytorch.tito import build, weave
from tinytorch.tito.lesson import Lesson, LessonError, lessons, load
from tinytorch.tito.release import package_at, release

ROOT = Path(__file__).parents[2]

ANSWERS = (
    SOURCE.replace(
        "# %% setup=true",
        """# %% [markdown] instructor=true
# The answer is 42.

# %% setup=true""",
    )
    + """
# %% [markdown] tags=["a"] instructor=true
# Rubric: 42.
"""
)


@pytest.fixture
def lesson(tmp_path: Path) -> Lesson:
    lesson = make(tmp_path / "checkout", ANSWERS)
    tests = lesson.root / "tests"
    (tests / "77_things").mkdir(parents=True)
    (tests / "conftest.py").touch()
    (tests / "77_things" / "test_things_integration.py").touch()
    return lesson


def test_students_get_neither_solutions_nor_answers(lesson: Lesson, tmp_path: Path) -> None:
    written = release(lesson, tmp_path / "to")
    for path in (tmp_path / "to" / "77_things").rglob("*.*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert "42" not in text, path
            assert "self.n += by" not in text, path
    assert "### BEGIN SOLUTION" in (
        tmp_path / "to" / "source" / "77_things" / "things.ipynb"
    ).read_text(encoding="utf-8")
    assert written == sorted(
        path.relative_to(tmp_path / "to").as_posix()
        for path in (tmp_path / "to").rglob("*")
        if path.is_file()
    )


def test_the_source_without_answers_is_the_same_lesson(lesson: Lesson, tmp_path: Path) -> None:
    release(lesson, tmp_path / "to")
    copied = Lesson(tmp_path / "to" / "77_things" / "things_dev.py", lesson.root)
    kept = [cell for cell in lesson.cells if "42" not in cell.source]
    assert copied.cells == kept


@pytest.mark.parametrize("number", lessons(ROOT))
def test_no_answers_of_the_lessons_are_released(number: int, tmp_path: Path) -> None:
    lesson = load(number, ROOT)
    release(lesson, tmp_path)
    folder = tmp_path / lesson.folder
    own = lesson.source.read_text(encoding="utf-8")
    copied = Lesson(folder / lesson.source.name, ROOT)
    assert "instructor=" not in copied.source.read_text(encoding="utf-8")
    released = {cell.source for cell in copied.cells}
    answers = [cell.source for cell in lesson.cells if cell.source not in released]
    assert len(answers) == own.count("instructor=true")
    assert not [c for c in lesson.cells if c.kind == "instructor" and c.source not in answers]
    for notebook in (folder, tmp_path / "source" / lesson.folder):
        cells = nbformat.read(notebook / f"{lesson.name}.ipynb", as_version=4).cells
        woven = "\n".join(cell.source for cell in cells)  # without the escapes of JSON
        assert not [answer for answer in answers if answer.splitlines()[-1] in woven]


def test_files_for_instructors_are_kept_if_they_exist(lesson: Lesson, tmp_path: Path) -> None:
    (tmp_path / "nbgrader_config.py").write_text("mine")
    written = release(lesson, tmp_path)
    assert "INSTRUCTOR.md" in written
    assert "nbgrader_config.py" not in written
    assert (tmp_path / "nbgrader_config.py").read_text() == "mine"


@pytest.mark.parametrize("folder", ["77_things", "source/77_things"])
def test_a_second_release_changes_nothing(lesson: Lesson, tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(LessonError, match=f"{folder} already exists"):
        release(lesson, tmp_path)
    assert not any((tmp_path / folder).iterdir())


def test_requirements_name_what_is_to_be_installed(lesson: Lesson, tmp_path: Path) -> None:
    wheel = tmp_path / "tinytorch_backends-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    for index, (package, line) in enumerate(
        {
            str(wheel): f"./{wheel.name}[grade]",
            "https://host/owner/name": "tinytorch-backends[grade] @ git+https://host/owner/name",
            "git+https://host/a/b@v1": "tinytorch-backends[grade] @ git+https://host/a/b@v1",
            "https://host/x.whl": "tinytorch-backends[grade] @ https://host/x.whl",
            "https://host/x.tar.gz#sha256=1": (
                "tinytorch-backends[grade] @ https://host/x.tar.gz#sha256=1"
            ),
        }.items()
    ):
        release(lesson, tmp_path / str(index), package_at(package))
        folder = tmp_path / str(index) / "77_things"
        assert (folder / "requirements.txt").read_text() == f"{line}\n"
        assert (folder / wheel.name).exists() == line.startswith("./")


@pytest.mark.parametrize(
    "place", ["github.com/owner/name", "nowhere.whl", "https://", "https:// x", "", "-e .", "a b"]
)
def test_what_is_no_url_or_wheel_is_one_sentence(place: str) -> None:
    with pytest.raises(LessonError, match=r"neither a URL, such as .*, nor the path of a wheel"):
        package_at(place)


def test_a_wheel_contains_no_exported_code(lesson: Lesson, tmp_path: Path) -> None:
    backup = lesson.backups / "tinytorch" / "things.py"
    backup.parent.mkdir(parents=True)
    backup.touch()
    with pytest.raises(LessonError, match="exported code of a notebook: first tito reset 77"):
        build.build_wheel(lesson.root, tmp_path / "wheel")
    assert not (tmp_path / "wheel").exists()


def own_environment(folder: Path) -> dict[str, str]:
    """A new environment that has the packages of this one, but no TinyTorch."""
    venv.create(folder, with_pip=False)
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    variables = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=variables))
    here = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "of_the_tests.pth").write_text("\n".join(here), encoding="utf-8")
    own = {name: v for name, v in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    path = os.pathsep.join([str(folder / scripts), os.environ.get("PATH", "")])
    return {**own, "PATH": path, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@pytest.mark.slow
def test_the_workflow_grades_a_repository_of_any_name(tmp_path: Path) -> None:
    """The workflow's own commands, before the project has a public address, and offline."""
    require_distribution("setuptools")
    lesson = load(12, ROOT)
    release(lesson, tmp_path, build.build_wheel(ROOT, tmp_path / "wheel"))
    clone = tmp_path / "clones" / "lesson-twelve-alice"
    shutil.copytree(tmp_path / "12_attention", clone)
    weave.write(weave.solution(lesson), clone / "attention.ipynb")
    workflow = (clone / ".github" / "workflows" / "classroom.yml").read_text(encoding="utf-8")
    commands = re.findall(r"^ +- run: (.*)$", workflow, re.MULTILINE)
    assert commands == ["python -m pip install -r requirements.txt", "tito grade ."]
    environment = own_environment(tmp_path / "environment")
    for command in commands:
        program, *words = command.split()
        found = shutil.which(program, path=environment["PATH"])
        assert found is not None
        assert tmp_path in Path(found).parents
        done = subprocess.run(
            [found, *words], cwd=clone, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout
    assert "blank" not in done.stdout
