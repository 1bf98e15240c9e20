"""The inline tests of a lesson, run on the code of a student's notebook."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._needs import nbclient, nbformat
from .lesson import Lesson

TIMEOUT = 120  # seconds for a cell


@dataclass(frozen=True)
class Outcome:
    """What became of an exercise: status is "passed", "failed" or "not run"."""

    exercise: str
    names: tuple[str, ...]
    points: int
    status: str
    message: str = ""


def read(path: Path) -> Any:
    """A notebook.

    Raises:
        ValueError: the file is not one.
    """
    try:
        return nbformat().read(path, as_version=4)
    except OSError:
        raise
    except Exception as error:  # nbformat has no common base for what it finds wrong
        raise ValueError(f"{path} is not a notebook: {str(error).splitlines()[0]}") from None


def run(lesson: Lesson, notebook: Path, timeout: int = TIMEOUT) -> list[Outcome]:
    """Run the lesson's tests on the student's exercises, in a fresh process.

    The tests are those of the lesson, whatever the notebook has made of them; the exercises and
    all cells that the student has added are the notebook's, in its order. An exercise whose cell
    is missing has not run, and has not passed.

    Raises:
        ValueError: the file is not a notebook.
    """
    student = read(notebook)
    cells = _cells(lesson, student)
    program = nbformat().v4.new_notebook(cells=[cell for _, _, cell in cells])
    program.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    broken = _execute(program, timeout, notebook.parent)
    errors: dict[tuple[str, str], str | None] = {}
    for (kind, exercise, _), cell in zip(cells, program.cells, strict=True):
        if cell.execution_count is not None:  # else the process ended before it
            errors[kind, exercise] = errors.get((kind, exercise)) or _error(cell)
    return [_outcome(lesson, cell, errors, broken) for cell in lesson.cells if cell.kind == "test"]


def _cells(lesson: Lesson, student: Any) -> list[tuple[str, str, Any]]:
    """What to run: setup, then the student's cells with each test after its exercise."""
    new = nbformat().v4.new_code_cell
    cells: list[tuple[str, str, Any]] = []
    tests = {cell.exercise: cell.source for cell in lesson.cells if cell.kind == "test"}
    setup = [cell.source for cell in lesson.cells if cell.kind == "setup"]
    cells += [("setup", "", new(source, metadata={"setup": True})) for source in setup]
    for cell in student.cells:
        mark = cell.metadata.get("tinytorch", {})
        kind, exercise = mark.get("kind"), mark.get("exercise", "")
        if cell.cell_type == "code" and kind is None:
            cells.append(("added", "", new(cell.source)))
        elif kind == "exercise" and exercise in tests:
            cells.append(("exercise", exercise, new(cell.source)))
            cells.append(("test", exercise, new(tests.pop(exercise))))
    return cells


def _execute(program: Any, timeout: int, folder: Path) -> str:
    """Run all cells; says why if not all of them could run."""
    client = nbclient().NotebookClient(
        program, interrupt_on_timeout=True, allow_errors=True,
        # The lesson's setup imports packages, which on a busy machine takes long.
        timeout_func=lambda cell: TIMEOUT if cell.metadata.get("setup") else timeout,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR"],
    )  # fmt: skip
    try:
        client.execute()
    except Exception as error:  # the kernel died, or would not be interrupted
        return f"Python ended: {error}"
    return ""


def _error(cell: Any) -> str | None:
    """What a cell raised, as one would read it."""
    for output in cell.outputs:
        if output.output_type == "error":
            if output.ename == "ExerciseError":
                return str(output.evalue)
            if output.ename == "KeyboardInterrupt":
                return "it took too long, and was stopped: an endless loop?"
            return f"{output.ename}: {output.evalue}"
    return None


def _outcome(
    lesson: Lesson, test: Any, errors: dict[tuple[str, str], str | None], broken: str
) -> Outcome:
    number = test.exercise
    names = next((e.names for e in lesson.exercises if e.number == number), ())
    key, own = ("test", number), ("exercise", number)
    if errors.get(("setup", "")):
        status, message = "not run", f"the setup failed: {errors['setup', '']}"
    elif errors.get(own):
        status, message = "failed", f"Exercise {number}: its cell does not run: {errors[own]}"
    elif key not in errors:
        status, message = "not run", broken or f"the notebook has no cell for exercise {number}"
    elif errors[key] is not None:
        status, message = "failed", str(errors[key])
    else:
        status, message = "passed", ""
    return Outcome(number, names, test.points, status, message)
