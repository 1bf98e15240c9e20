"""Print grades in the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .judge import BLANK, FAILED, MISSING, PASSED, REFUSED
from .report import Result, printable

STYLES = {PASSED: "green", FAILED: "red", REFUSED: "red", BLANK: "yellow", MISSING: "yellow"}
STYLES |= {"partly passed": "yellow", "not graded": "red", "not run": "yellow"}


def progress(done: int, of: int, result: Result) -> None:
    """Print a line after each submission, if there are several."""
    if of > 1:
        grade = result.grade
        points = f"{grade.points} of {grade.of} points"
        student = result.submission.student.replace("\n", "?")
        _print(f"{done}/{of} {student}: {points}, {result.status}")


def show(results: list[Result]) -> None:
    """Print all details of one submission, or a table of several."""
    if len(results) == 1:
        _show_one(results[0])
        return
    table = Table("student", "lesson", "points", "", "remark", box=None)
    for result in results:
        grade = result.grade
        remark = grade.problem.split("\n")[0] or ", ".join(
            f"{m.exercise} {m.status}" for m in grade.marks if m.status not in (PASSED, BLANK)
        )
        points, status = f"{grade.points} of {grade.of}", _styled(result.status)
        name = _text(result.submission.student)
        table.add_row(name, escape(result.lesson), points, status, _text(remark))
    Console(highlight=False).print(table)
    _print_sources(results)


def _show_one(result: Result) -> None:
    grade = result.grade
    _print(f"{result.submission.path.name}: {grade.points} of {grade.of} points")
    if grade.problem:
        _print(grade.problem)
    if result.status == "not graded":
        return
    table = Table("exercise", "", "points", box=None)
    for mark in grade.marks:
        points = f"{mark.points} of {mark.of}"
        title = escape(f"{mark.exercise} {', '.join(mark.names)}")
        table.add_row(title, _styled(mark.status), points)
    table.add_row("integration tests", _styled(grade.integration), "")
    Console(highlight=False).print(table)
    for mark in grade.marks:
        if mark.message:
            heading = "" if mark.exercise in mark.message.split("\n")[0] else f"{mark.exercise}: "
            _print(f"\n{heading}{mark.message}")
    _print_sources([result])


def _print_sources(results: list[Result]) -> None:
    for source in dict.fromkeys(r.source for r in results if r.source):
        _print(f"\ntests: {source}")


def _styled(status: str) -> str:
    return f"[{STYLES[status]}]{status}[/]"


def _text(text: str) -> str:
    return escape(printable(text).replace("\n", "?"))


def _print(text: str) -> None:
    Console(soft_wrap=True, highlight=False).print(escape(printable(text)))
