"""Run the inline tests of a lesson on the code of a student's notebook."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._optional import nbclient, nbformat
from .lesson import Lesson

TIMEOUT = 120  # seconds per cell


@dataclass(frozen=True)
class Outcome:
    """The result of an exercise.

    Attributes:
        exercise: its number, "12.1".
        names: names that the student defines.
        points: points for passing.
        status: "passed", "failed" or "not run".
        message: why it did not pass.
    """

    exercise: str
    names: tuple[str, ...]
    points: int
    status: str
    message: str = ""


def read(path: Path) -> Any:
    """Read a notebook.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a notebook.
    """
    try:
        return nbformat().read(path, as_version=4)
    except OSError:
        raise
    except Exception as error:  # the errors of nbformat have no common base class
        raise ValueError(f"{path} is not a notebook: {str(error).splitlines()[0]}") from None


def run(lesson: Lesson, notebook: Path, timeout: int = TIMEOUT) -> list[Outcome]:
    """Run the lesson's tests on the student's exercises, in a new process.

    Setup and test cells come from the lesson, even if the student has changed or deleted them;
    exercises and added cells come from the notebook, in its order.

    Args:
        lesson: the lesson.
        notebook: the student's notebook.
        timeout: seconds per cell of the student.

    Returns:
        One outcome per exercise; if its cell is missing, the status is "not run".

    Raises:
        ValueError: the file is not a notebook.
    """
    student = read(notebook)
    cells = _cells(lesson, student)
    program = nbformat().v4.new_notebook(cells=[cell for _, _, cell in cells])
    program.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    kernel_error = _execute(program, timeout, notebook.parent)
    errors: dict[tuple[str, str], str | None] = {}
    for (kind, exercise, _), cell in zip(cells, program.cells, strict=True):
        if cell.execution_count is not None:  # otherwise the process ended before this cell
            errors[kind, exercise] = errors.get((kind, exercise)) or _error(cell)
    return [
        _outcome(lesson, cell, errors, kernel_error) for cell in lesson.cells if cell.kind == "test"
    ]


def _cells(lesson: Lesson, student: Any) -> list[tuple[str, str, Any]]:
    """Return the cells to run: setup, then the student's cells, each test after its exercise."""
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
    """Run all cells; return the reason if not all of them could be run, else ""."""
    client = nbclient().NotebookClient(
        program, interrupt_on_timeout=True, allow_errors=True,
        # Setup cells import packages, which can take long on a busy machine.
        timeout_func=lambda cell: TIMEOUT if cell.metadata.get("setup") else timeout,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR"],
    )  # fmt: skip
    try:
        client.execute()
    except Exception as error:  # the kernel died, or could not be interrupted
        return f"Python exited: {error}"
    return ""


def _error(cell: Any) -> str | None:
    """Return the error that a cell raised, as a message; None if it raised none."""
    for output in cell.outputs:
        if output.output_type == "error":
            if output.ename == "ExerciseError":
                return str(output.evalue)
            if output.ename == "KeyboardInterrupt":
                return "it took too long and was stopped: is there an endless loop?"
            return f"{output.ename}: {output.evalue}"
    return None


def _outcome(
    lesson: Lesson, test: Any, errors: dict[tuple[str, str], str | None], kernel_error: str
) -> Outcome:
    number = test.exercise
    names = next((e.names for e in lesson.exercises if e.number == number), ())
    test_key, exercise_key = ("test", number), ("exercise", number)
    if errors.get(("setup", "")):
        status, message = "not run", f"the setup failed: {errors['setup', '']}"
    elif error := errors.get(exercise_key):
        status, message = "failed", f"Exercise {number}: its cell raises an error: {error}"
    elif test_key not in errors:
        reason = kernel_error or f"the notebook has no cell for exercise {number}"
        status, message = "not run", reason
    elif errors[test_key] is not None:
        status, message = "failed", str(errors[test_key])
    else:
        status, message = "passed", ""
    return Outcome(number, names, test.points, status, message)
