"""Integration tests on a copy of the package, within limits of time, memory and output."""

import os
from pathlib import Path

import pytest
from example_lesson import PACKAGE, make

from tinytorch.tito import integration, weave
from tinytorch.tito.integration import Report
from tinytorch.tito.lesson import Lesson
from tinytorch.tito.package import copy_package, import_problem


@pytest.mark.skipif(os.name == "nt", reason="needs links and pipes")
def test_lock_files_of_emacs_are_not_copied_and_other_obstacles_are_one_sentence(
    tmp_path: Path,
) -> None:
    package = tmp_path / "tinytorch"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / ".#attention.py").symlink_to("ada@host.123:456")  # emacs, with unsaved changes
    copy_package(tmp_path, tmp_path / "copy")
    assert [p.name for p in (tmp_path / "copy" / "tinytorch").iterdir()] == ["__init__.py"]
    for name in "abc":
        os.mkfifo(package / name)
    with pytest.raises(OSError, match=r"tinytorch/\w cannot be copied to .*: .* is a named pipe"):
        copy_package(tmp_path, tmp_path / "other")


@pytest.mark.parametrize("link", ["link", "text file", "missing"])
def test_the_copy_contains_the_backends_of_the_checkout(tmp_path: Path, link: str) -> None:
    """Git writes the link tinytorch/backends as a text file where links are not supported."""
    root, copy = tmp_path / "checkout", tmp_path / "copy"
    for package in ("tinytorch", "backends"):
        (root / package / "__pycache__").mkdir(parents=True)
        (root / package / "__init__.py").write_text(f"# {package} of the checkout\n")
    linked = root / "tinytorch" / "backends"
    if link == "link" and os.name == "nt":
        pytest.skip("links need a privilege on Windows")
    if link == "link":
        linked.symlink_to(Path("..", "backends"), target_is_directory=True)
    elif link == "text file":
        linked.write_text("../backends")
    copy_package(root, copy)
    files = {p.relative_to(copy).as_posix(): p.read_text() for p in copy.rglob("*") if p.is_file()}
    assert files == {
        "tinytorch/__init__.py": "# tinytorch of the checkout\n",
        "tinytorch/backends/__init__.py": "# backends of the checkout\n",
    }


def test_without_a_checkout_the_installed_package_is_copied(tmp_path: Path) -> None:
    copy_package(tmp_path / "released lesson", tmp_path / "copy")
    for name in ("tensor.py", "backends/numpy/backend.py", "tito/integration.py"):
        assert (tmp_path / "copy" / "tinytorch" / name).is_file()


def test_a_copy_of_a_copy_can_be_imported(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    for number in range(3):
        copy_package(root, tmp_path / str(number))
        root = tmp_path / str(number)
        assert import_problem(root) is None
    (root / "tinytorch" / "backends" / "base.py").unlink()
    assert import_problem(root) is not None


PASSES = (
    "def test_first():\n    from tinytorch.things import double\n    assert double(2) == 4\n\n\n"
)


@pytest.fixture
def lesson(tmp_path: Path) -> Lesson:
    return make(tmp_path / "course", package=PACKAGE.replace("@decorated\n", ""))


def run(lesson: Lesson, tests: str, folder: str = "tests", timeout: float = 60) -> Report:
    """Run integration tests on the solution."""
    path = lesson.root / folder / "test_things_integration.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tests, encoding="utf-8")
    notebook = lesson.root / "mine.ipynb"
    weave.write(weave.solution(lesson), notebook)
    return integration.run(lesson, notebook, path, timeout)


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Code after which every look at the clock takes 2 seconds, and before it no time passes."""
    mark, now = tmp_path / "hanging", 0.0

    def clock() -> float:
        nonlocal now
        now += 2 * mark.exists()
        return now

    monkeypatch.setattr(integration, "clock", clock)
    return f"open({str(mark)!r}, 'w').close()"


@pytest.mark.parametrize("folder", ["tests", "12-attention-alice", "größe und 空 [x]", "a/b/c-d"])
def test_tests_run_in_a_folder_of_any_name(lesson: Lesson, folder: str) -> None:
    report = run(lesson, PASSES, folder)
    assert (report.status, "1 passed" in report.output) == ("passed", True), report.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (
            "    {hanging}\n    while True: pass",
            "failed", "::test_it was stopped after 3 seconds: is there an",
        ),
        (
            "    {hanging}\n    while True:\n        try:\n            while True: pass\n"
            "        except BaseException: pass",
            "failed", "::test_it was stopped after 3 seconds",
        ),
        (
            "    {hanging}\n    import subprocess, sys\n"
            "    subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])",
            "failed", "::test_it was stopped after 3 seconds",
        ),
        ("    import os; os._exit(0)", "failed", "::test_it ended Python, with exit code 0"),
        ("    import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "failed", "ended Python"),
        ("    import sys; sys.exit(0)", "failed", "SystemExit"),
        ("    input()", "failed", "reading from stdin"),
        ("    test_it()", "failed", "RecursionError"),
        ("    assert print('x' * 10_000_000)", "failed", "xxx"),
        ("    bytearray(6 << 30)", "failed", "MemoryError"),
    ],
    ids=lambda value: value.split("\n")[0].strip()[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_code_that_does_not_end_or_takes_too_much_is_stopped(
    lesson: Lesson, body: str, status: str, message: str, hanging: str
) -> None:
    body = body.replace("{hanging}", hanging)
    report = run(lesson, f"{PASSES}def test_it():\n{body}\n", timeout=3)
    assert report.status == status
    assert message in report.output
    assert len(report.output) <= 21_000


@pytest.mark.slow
def test_a_loop_at_the_import_of_the_tests_is_stopped(lesson: Lesson, hanging: str) -> None:
    report = run(lesson, f"{hanging}\nwhile True:\n    pass\n", timeout=3)
    assert report.status == "failed"
    assert "the import of the tests was stopped" in report.output


@pytest.mark.slow
def test_the_children_of_a_stopped_test_are_killed(
    lesson: Lesson, tmp_path: Path, hanging: str
) -> None:
    pid = tmp_path / "pid"
    body = (
        "import subprocess, sys\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"    open({str(pid)!r}, 'w').write(str(child.pid))\n"
        f"    {hanging}\n    while True: pass"
    )
    run(lesson, f"def test_it():\n    {body}\n", timeout=3)
    status = Path(f"/proc/{pid.read_text()}/status")
    assert not status.exists() or "zombie" in status.read_text()
