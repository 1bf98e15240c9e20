"""The commands of tito, as students and instructors use them."""

import contextlib
import filecmp
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from typer.testing import CliRunner

from tinytorch.tito import doctor, weave
from tinytorch.tito.cli import app
from tinytorch.tito.lesson import load

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WHERE = "https://host.example/owner/name"  # of the package


def tito(*words: str, cwd: Path | None = None, code: int = 0) -> str:
    """Output of a command, whose exit code must be `code`, and which must raise no error."""
    environment = {"COLUMNS": "100", "MPLBACKEND": "Agg"}
    with contextlib.chdir(cwd or Path.cwd()):
        done = CliRunner().invoke(app, words, env=environment)
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.output


def fill_in(root: Path, change: Any = lambda source: source) -> Path:
    """Fill in the student's exercises with the package's code, optionally changed."""
    path = root / "workspace" / "12_attention" / "attention.ipynb"
    mine = nbformat.read(path, as_version=4)
    solved = {c.id: c.source for c in weave.solution(load(12, root)).cells}
    for cell in mine.cells:
        if cell.metadata.get("tinytorch", {}).get("kind") == "exercise":
            cell.source = change(solved[cell.id])
    nbformat.write(mine, path)
    return path


def same_package(root: Path) -> bool:
    """Whether the checkout's package equals the project's."""
    compared = filecmp.dircmp(root / "tinytorch", ROOT / "tinytorch", ignore=["__pycache__"])
    return not (compared.diff_files or compared.left_only or compared.right_only)


def test_a_student_starts_tests_exports_and_resets_lesson_12(checkout: Path) -> None:
    assert "lesson 12 is ready" in tito("start", "12", "--no-open")
    assert "0/7" in tito("status")
    blank = tito("test", "12", code=1)
    assert "Exercise 12.1, create_causal_mask: still blank" in blank
    assert "passed" not in blank

    notebook = fill_in(checkout)
    before = notebook.read_bytes()
    assert "your work is kept" in tito("start", "12", "--no-open")
    assert notebook.read_bytes() == before
    assert "7/7" in tito("status")
    passed = tito("test", "12")
    assert "failed" not in passed
    assert "nothing to write" in tito("export", "12")
    assert same_package(checkout)

    fill_in(checkout, lambda source: source.replace(">=", ">"))
    failed = tito("test", cwd=notebook.parent, code=1)
    assert "Exercise 12.1, create_causal_mask: the mask of 3 tokens" in failed
    assert "expected: [[ True, False, False]" in failed
    assert "likely cause" in failed
    assert "FAILED" in failed  # the integration tests too, on the package with this code
    assert same_package(checkout)
    exported = tito("export", cwd=notebook.parent)
    assert "tinytorch/attention.py: create_causal_mask" in exported
    assert "(queries, axis=1) > backend" in (checkout / "tinytorch" / "attention.py").read_text()
    assert "restored tinytorch/attention.py" in tito("reset", "12")
    assert same_package(checkout)
    assert "nothing to undo" in tito("reset", "12")


def test_an_instructor_releases_and_grades_lesson_12(checkout: Path) -> None:
    to = checkout / "for the class"
    assert "attention.ipynb" in tito("release", "12", "--to", str(to), "--package", WHERE)
    folder = to / "12_attention"
    assert WHERE in (folder / "requirements.txt").read_text()
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {
        "attention.ipynb", "README.md", "requirements.txt", "conftest.py", "attention_dev.py",
        "test_attention_integration.py", ".github/workflows/classroom.yml",
    } == names  # fmt: skip
    assert "still blank" in tito("grade", ".", cwd=folder, code=1)
    tito("release", "12", "--to", str(to), "--package", WHERE, code=1)  # it already exists
    made = tito("solutions", "12", "--to", str(to))
    assert "attention_solution.ipynb" in made
    (to / "attention_solution.ipynb").replace(folder / "attention.ipynb")
    graded = tito("grade", ".", cwd=folder)
    assert "4 of 4" in graded
    assert "failed" not in graded


def test_nbdev_build_updates_the_notebooks(checkout: Path) -> None:
    notebook = checkout / "notebooks" / "12_attention" / "attention.ipynb"
    committed = notebook.read_bytes()
    notebook.write_text("{}")
    built = tito("nbdev", "build", "--no-wheel")
    assert "wrote notebooks/12_attention/attention.ipynb" in built
    assert "exporting the solutions changes nothing" in built
    assert notebook.read_bytes() == committed


def test_doctor_lists_packages_backends_and_data() -> None:
    output = tito("doctor")
    for part in (
        "Python",
        "numpy",
        "backend cupy",
        "Tiny Shakespeare",
        "everything that the course needs is installed",
    ):
        assert part in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["start", "99", "--no-open"], "there is no lesson 99; choose from"),
        (["test", "12"], "tito start 12"),
        (["test"], "which lesson?"),
        (["export"], "which lesson?"),
        (["export", "12"], "tito start 12"),
        (["milestone", "run", "nothing"], "there is no milestone nothing"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_user_errors_are_one_sentence(checkout: Path, words: list[str], message: str) -> None:
    assert message in " ".join(tito(*words, code=1).split())


def test_start_opens_jupyterlab_if_installed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr("tinytorch.tito.workspace.has_jupyterlab", lambda: True)
    monkeypatch.setattr("subprocess.run", lambda command, check: commands.append(command))
    tito("start", "12")
    (command,) = commands
    assert command[1:4] == ["-m", "jupyter", "lab"]
    assert Path(command[4]).is_file()
    monkeypatch.setattr("tinytorch.tito.workspace.has_jupyterlab", lambda: False)
    assert "JupyterLab is not installed" in tito("start", "12")
    assert len(commands) == 1


def test_the_error_for_a_missing_package_says_what_to_install(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nbformat", None)
    assert "nbformat is missing: install it with pip install" in tito(
        "start", "12", "--no-open", code=1
    )


@pytest.mark.parametrize("name", ["ipykernel", "pytest"])
def test_the_error_for_a_missing_kernel_or_pytest_says_what_to_install(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("tinytorch.tito._optional.find_spec", lambda n: n != name or None)
    tito("start", "12", "--no-open")
    assert f"{name} is missing: install it with pip install" in tito("test", "12", code=1)


def test_files_in_the_way_and_changed_solutions_are_kept(checkout: Path) -> None:
    solution = checkout / "solutions" / "attention_solution.ipynb"
    assert "wrote" in tito("solutions", "12")
    assert "wrote" in tito("solutions", "12")
    solution.write_text("my notes")
    assert "exists and is different" in tito("solutions", "12", code=1)
    assert solution.read_text() == "my notes"
    (checkout / "tests" / "conftest.py").unlink()
    assert "conftest.py is missing" in tito(
        "release", "12", "--to", "rel", "--package", WHERE, code=1
    )
    assert not (checkout / "rel").exists()
    (checkout / "workspace").touch()
    for command in ("start 12 --no-open", "test 12", "export 12"):
        assert len(tito(*command.split(), code=1).splitlines()) <= 2
    for command in ("status", "reset 12"):
        tito(*command.split())


def test_a_release_that_fails_leaves_nothing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinytorch.tito.release.shutil.copyfile", full)
    assert "No space left" in tito("release", "12", "--to", "rel", "--package", WHERE, code=1)
    assert not (checkout / "rel" / "12_attention").exists()


def test_doctor_reports_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise doctor.PackageNotFoundError(name)

    def nowhere() -> Path:
        raise doctor.LessonError("no checkout of TinyTorch here")

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(doctor, "find_root", nowhere)
    monkeypatch.setattr(doctor, "data_home", lambda: Path("nowhere"))
    output = " ".join(tito("doctor", code=1).split())
    for part in ('missing: pip install -e ".[lessons]"', "no checkout", "will be downloaded"):
        assert part in output


def test_nbdev_build_builds_the_wheel_or_reports_the_error(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("README.md", "LICENSE"):
        (checkout / name).touch()

    def pip(command: list[str], **options: Any) -> Any:
        assert command[1:4] == ["-m", "pip", "wheel"]
        if fails:
            return subprocess.CompletedProcess(command, 1, "", "no setuptools")
        folder = Path(command[command.index("-w") + 1])
        folder.mkdir()
        (folder / "tinytorch.whl").touch()
        assert (Path(command[-1]) / "backends" / "numpy").is_dir()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("tinytorch.tito.build.subprocess.run", pip)
    fails = False
    assert "built dist/tinytorch.whl" in tito("nbdev", "build")
    assert (checkout / "dist" / "tinytorch.whl").exists()
    fails = True
    for command in (["nbdev", "build"], ["release", "12", "--to", "rel"]):
        assert "the wheel could not be built: no setuptools" in " ".join(
            tito(*command, code=1).split()
        )
    assert not (checkout / "rel").exists()


def test_milestones_are_listed_and_run(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    listed = tito("milestone", "list")
    assert "tinygpt" in listed
    assert "attention" in listed
    script = checkout / "milestones" / "tinygpt.py"
    script.parent.mkdir()
    script.write_text("import sys\nprint('ran with', sys.argv[1:], flush=True)\nsys.exit(3)\n")
    tito("milestone", "run", "tinygpt", "--steps", "5", code=3)
    assert "ran with ['--steps', '5']" in capfd.readouterr().out


def test_tito_prints_on_a_console_without_unicode() -> None:
    """In a separate process, with the encoding of an old Windows console."""
    done = subprocess.run(
        [sys.executable, "-c", "from tinytorch.tito.cli import main; main()", "status"],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        cwd=ROOT,
        capture_output=True,
        encoding="ascii",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "12 attention" in done.stdout


def test_help_lists_every_command() -> None:
    output = tito("--help")
    for command in ("doctor", "start", "test", "export", "reset", "nbdev", "status", "milestone"):
        assert command in output
