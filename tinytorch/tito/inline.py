"""Run the inline tests of a lesson on the code of a student's notebook."""

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ._optional import check, nbclient, nbformat
from .lesson import Cell, Lesson
from .notebook import StudentCell, exercise_cells, no_cell, read
from .process import LIMITS

TIMEOUT = 120  # seconds per cell
GRACE = 5  # seconds between the interruption of a cell that takes too long and the end of Python
LONGEST = 3000  # characters of an error message


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


class Step(NamedTuple):
    """A cell to run.

    Attributes:
        kind: "setup", "given", "exercise", "test", "added", or "missing" for an exercise without a
            cell.
        exercises: numbers of its exercises, several if the student has merged their cells.
        source: its code; why there is none if it is missing.
    """

    kind: str
    exercises: tuple[str, ...]
    source: str


def run(lesson: Lesson, notebook: Path, timeout: float = TIMEOUT) -> list[Outcome]:
    """Run the lesson's tests on the student's exercises, in a new process.

    Setup, given and test cells come from the lesson, even if the student has changed or deleted
    them; exercises and added cells come from the notebook, in its order.

    Args:
        lesson: the lesson.
        notebook: the student's notebook.
        timeout: seconds per cell of the student.

    Returns:
        One outcome per exercise; if its cell is missing, the status is "not run".

    Raises:
        ValueError: the file is not a notebook.
        MissingPackageError: Jupyter's kernel is not installed.
    """
    check("ipykernel")
    steps = _steps(lesson, read(notebook))
    replies, kernel_error = _execute(steps, timeout, notebook.parent)
    outcomes = [
        _outcome(lesson, cell, steps, replies, kernel_error)
        for cell in lesson.cells
        if cell.kind == "test"
    ]
    return list(_with_first_to_fix(outcomes))


def _with_first_to_fix(outcomes: list[Outcome]) -> Iterator[Outcome]:
    """Add to each exercise that uses an undefined name which earlier exercise should define it."""
    for index, outcome in enumerate(outcomes):
        undefined = re.findall(r"name '(\w+)' is not defined", outcome.message)
        culprits = (
            earlier.exercise
            for earlier in outcomes[:index]
            if earlier.status != "passed" and {*earlier.names} & {*undefined}
        )
        first = next(culprits, "")
        advice = f"\n  fix first: exercise {first}, which defines it" if first else ""
        yield replace(outcome, message=outcome.message + advice)


def _steps(lesson: Lesson, cells: list[StudentCell]) -> list[Step]:
    """Return the cells to run: setup, then the student's cells.

    Each exercise has what it is given around it, and its test after it.
    """
    steps = [Step("setup", (), cell.source) for cell in lesson.cells if cell.kind == "setup"]
    tests = [cell for cell in lesson.cells if cell.kind == "test"]
    own = exercise_cells(cells, lesson.exercises)
    theirs = {
        lesson.code(c).strip() for c in lesson.cells if c.kind not in ("markdown", "exercise")
    }
    for cell in cells:
        exercises = tuple(number for number, found in own.items() if cell in found)
        first = [number for number in exercises if own[number][0] == cell]
        complete = [number for number in exercises if own[number][-1] == cell]
        steps += [_given(lesson, c) for number in first for c in lesson.given(number)[0]]
        added = cell.type == "code" and not cell.kind and cell.source.strip() not in theirs
        if exercises or added:
            steps.append(Step("exercise" if exercises else "added", exercises, cell.source))
        steps += [_given(lesson, c) for number in complete for c in lesson.given(number)[1]]
        steps += [Step("test", (t.exercise,), t.source) for t in tests if t.exercise in complete]
    for test in tests:
        if not own.get(test.exercise):
            steps.append(Step("missing", (test.exercise,), no_cell(cells, test.exercise)))
    return steps


def _given(lesson: Lesson, cell: Cell) -> Step:
    return Step("given", (cell.exercise,), lesson.code(cell))


def _execute(
    steps: list[Step], timeout: float, folder: Path
) -> tuple[dict[int, dict[str, Any]], str]:
    """Run all steps in a new process.

    Returns:
        The replies of the process to the steps that ended, by their index, and the reason if not
        all could be run, else "".
    """
    new = nbformat().v4.new_code_cell
    sources = [LIMITS, *(step.source if step.kind != "missing" else "" for step in steps)]
    cells = [new(source, metadata={"index": index}) for index, source in enumerate(sources)]
    program = nbformat().v4.new_notebook(cells=cells)
    program.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    replies: dict[int, dict[str, Any]] = {}
    watchdog: list[asyncio.TimerHandle] = []

    def seconds(index: int) -> float:
        # Setup cells import packages, which can take long on a busy machine.
        return timeout if index and steps[index - 1].kind != "setup" else TIMEOUT

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def started(cell: Any, cell_index: int) -> None:
        loop = asyncio.get_running_loop()
        for number, handler in handlers.items():  # nbclient's end the kernel, but not tito
            with suppress(NotImplementedError):  # on Windows
                if loop.remove_signal_handler(number):
                    signal.signal(number, handler)
        watchdog.append(loop.call_later(seconds(cell_index) + GRACE, kill, cell_index))

    def ended(cell: Any, cell_index: int, execute_reply: Any) -> None:
        watchdog.pop().cancel()
        replies[cell_index - 1] = execute_reply["content"]

    def kill(cell_index: int) -> None:
        """End a process that does not stop when it is interrupted."""
        replies[cell_index - 1] = {"ename": "KeyboardInterrupt"}
        _kill_group(client)
        client.task_poll_for_reply.cancel()

    client = nbclient().NotebookClient(
        program, interrupt_on_timeout=True, allow_errors=True,
        timeout_func=lambda cell: seconds(cell.metadata["index"]),
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR"],
        on_cell_execute=started, on_cell_executed=ended,
        log=logging.Logger("nbclient", logging.CRITICAL),
    )  # fmt: skip
    process = client.process_message

    def without_output(message: dict[str, Any], cell: Any, index: int) -> Any:
        return process(message, cell, index) if message["msg_type"] == "status" else None

    client.process_message = without_output  # output is not needed, and can be endless
    reason = ""
    try:
        client.execute()
    except Exception as error:  # no kernel, or it died
        reason = f"Python exited: {error}"
    finally:
        _kill_group(client)
    return replies, reason


def _kill_group(client: Any) -> None:
    """Kill the process of a client, with all children that it has started."""
    group = getattr(getattr(client.km, "provisioner", None), "pgid", None)
    if group and sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _error(reply: dict[str, Any]) -> str | None:
    """Return the error that a step raised, as a message; None if it raised none."""
    if reply.get("status") == "ok":
        return None
    name, value = reply.get("ename"), str(reply.get("evalue"))
    value = value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
    if name == "ExerciseError":
        return value
    if name == "KeyboardInterrupt":
        return "it took too long and was stopped: is there an endless loop?"
    return f"{name}: {value}"


def _outcome(
    lesson: Lesson,
    test: Cell,
    steps: list[Step],
    replies: dict[int, dict[str, Any]],
    kernel_error: str,
) -> Outcome:
    number = test.exercise
    names = next((e.names for e in lesson.exercises if e.number == number), ())

    def errors(kind: str, *numbers: str) -> list[str | None]:
        """Return the errors of the steps that ended."""
        own = (i for i, s in enumerate(steps) if s.kind == kind and set(numbers) <= {*s.exercises})
        return [_error(replies[index]) for index in own if index in replies]

    tested = errors("test", number)
    if error := next(filter(None, errors("setup")), None):
        status, message = "not run", f"the setup failed: {error}"
    elif error := next(filter(None, errors("exercise", number)), None):
        status, message = "failed", f"Exercise {number}: its cell raises an error: {error}"
    elif error := next(filter(None, errors("given", number)), None):
        status, message = "failed", f"Exercise {number}: the code it is given fails: {error}"
        if error.startswith("NotImplementedError"):
            message = f"Exercise {number}, {', '.join(names)}: still blank"
    elif tested:
        status, message = ("failed", tested[0]) if tested[0] else ("passed", "")
    else:
        missing = (s.source for s in steps if s.kind == "missing" and s.exercises == (number,))
        status, message = "not run", next(missing, kernel_error)
    return Outcome(number, names, test.points, status, message)
