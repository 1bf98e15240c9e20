"""Write grades: a table as CSV, all details as JSON, and a report for each student."""

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...serialization.atomic import write_atomically
from .judge import Grade
from .submissions import Submission


@dataclass(frozen=True)
class Result:
    """A graded submission.

    Attributes:
        submission: the notebook.
        lesson: number and name, "12 attention", or "".
        grade: its grade.
        source: where the tests come from.
    """

    submission: Submission
    lesson: str
    grade: Grade
    source: str

    @property
    def status(self) -> str:
        """One word: "not graded" is for what is no notebook of the lesson."""
        if self.grade.passed:
            return "passed"
        if all(mark.status == "missing" for mark in self.grade.marks):
            return "not graded"
        return "partly passed" if self.grade.points else "failed"


def printable(text: str) -> str:
    """Return text without what a terminal would obey (controls, writing direction) or refuse."""
    refused = (
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    )
    return re.sub(refused, "?", text)


def as_csv(results: Iterable[Result]) -> str:
    """Return a table with a row for each submission and a column for each exercise."""
    rows = list(results)
    numbers = list(dict.fromkeys(m.exercise for r in rows for m in r.grade.marks))
    numbers.sort(key=lambda n: [int(part) for part in re.findall(r"\d+", n)])
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["student", "lesson", "points", "of", "status", "integration", *numbers, "problem", "file"]
    )
    for row in rows:
        points = {m.exercise: m.points for m in row.grade.marks}
        writer.writerow([
            _cell(row.submission.student), row.lesson, row.grade.points, row.grade.of, row.status,
            row.grade.integration, *(points.get(n, "") for n in numbers),
            _cell(row.grade.problem.split("\n")[0]), _cell(str(row.submission.path)),
        ])  # fmt: skip
    return file.getvalue()


def as_json(results: Iterable[Result]) -> str:
    """Return everything that is known about each submission."""
    return json.dumps([_details(result) for result in results], indent=2, ensure_ascii=False) + "\n"


def as_markdown(result: Result) -> str:
    """Return a report for the student."""
    grade = result.grade
    lines = [f"# {_inline(result.submission.student)}", ""]
    lines += [f"Lesson {result.lesson}: **{grade.points} of {grade.of} points**", ""]
    if grade.problem:
        lines += [*_block(grade.problem), ""]
    if result.status == "not graded":
        return "\n".join(lines).rstrip() + "\n"
    lines += ["| exercise | | points |", "|---|---|---|"]
    for mark in grade.marks:
        names = ", ".join(f"`{name}`" for name in mark.names)
        lines.append(f"| {mark.exercise} {names} | {mark.status} | {mark.points} of {mark.of} |")
    lines += [f"| integration tests | {grade.integration} | |", ""]
    missed = [mark for mark in grade.marks if mark.message]
    for mark in missed:
        lines += [f"## {mark.exercise}: {mark.status}", "", *_block(mark.message), ""]
    if missed:
        lines += ["An exercise may depend on those before it: fix the first one first.", ""]
    lines.append(f"Tests: {result.source}. Only the code of the exercises is graded, not that of")
    lines.append("other cells. `tito test` runs the same tests.")
    return "\n".join(lines) + "\n"


def write(results: list[Result], table: Path | None, details: Path | None) -> None:
    """Write the table and the details; a file is complete at any time, even if interrupted."""
    if table is not None:
        write_atomically(table, printable(as_csv(results)).encode("utf-8-sig"))  # for spreadsheets
    if details is not None:
        write_atomically(details, as_json(results).encode("utf-8", errors="backslashreplace"))


def write_report(result: Result, folder: Path, taken: set[str]) -> Path:
    """Write the report of a submission, with a name that no other one has.

    Args:
        taken: the names of the reports that are already written.
    """
    name = printable(result.submission.student)
    student = re.sub(r'[\t\n<>:"/\\|?*]', "_", name).strip(". ")[:80]
    stem = " ".join(filter(None, [student or "student", result.lesson]))
    name, number = f"{stem}.md", 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem} ({number}).md"
    taken.add(name.casefold())
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, printable(as_markdown(result)).encode())
    return folder / name


def _details(result: Result) -> dict[str, Any]:
    grade = result.grade
    return {
        "student": result.submission.student,
        "lesson": result.lesson,
        "file": str(result.submission.path),
        "points": grade.points,
        "of": grade.of,
        "status": result.status,
        "integration": grade.integration,
        "problem": grade.problem,
        "tests": result.source,
        "exercises": [
            {
                "exercise": m.exercise,
                "names": list(m.names),
                "points": m.points,
                "of": m.of,
                "status": m.status,
                "message": m.message,
            }
            for m in grade.marks
        ],
    }


def _cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _inline(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text.replace("\n", " "))


def _block(text: str) -> list[str]:
    """Return a block of code, whatever the text contains."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text, fence]
