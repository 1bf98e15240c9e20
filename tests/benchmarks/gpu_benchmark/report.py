"""The report: each row is printed at once, and written as JSON and Markdown."""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .settings import Row, Rows, Settings

REPEATED = 2.0  # seconds after which an alarm that a destructor swallowed rings again


class Section(NamedTuple):
    """A table of the report.

    Attributes:
        key: its name on the command line.
        title: its heading.
        about: what it shows, and the limits of that.
        columns: their titles, the first for the names of the rows.
        seconds: the most that it may take.
        rows: yields its rows as they are measured.
    """

    key: str
    title: str
    about: str
    columns: list[str]
    seconds: float
    rows: Callable[[Settings], Rows]


class OutOfTime(BaseException):
    """A section has used up its time; not an `Exception`, so that no compiler catches it."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """A context that raises OutOfTime after some time, where the system has alarms."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, REPEATED)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Report:
    """Results so far.

    Args:
        head: name -> value: device, versions, date.
        path: of the JSON file, beside which the Markdown is written; None to print only.
    """

    def __init__(self, head: dict[str, Any], path: Path | None) -> None:
        self.head, self._path = head, path
        self.values: dict[str, dict[str, Any]] = {}  # section -> row -> value
        self.problems: dict[str, str] = {}
        self._parts: list[tuple[Section, dict[str, list[str]], list[str]]] = []  # with cells, notes
        print(*_title(head), sep="\n", flush=True)

    def measure(self, section: Section, settings: Settings, seconds: float) -> None:
        """Measure a section in at most that time; if it fails, its end is a sentence. A row
        replaces an earlier one of the same name."""
        values = self.values[section.key] = {}
        cells, notes = self._begin(section)
        problem, start = "", time.perf_counter()
        try:
            with time_limit(seconds):
                for row in section.rows(settings):
                    values[row.name], cells[row.name] = row.value, row.cells
                    print(_line([row.name, *row.cells]), flush=True)
                    self._write()
        except OutOfTime:
            problem = f"stopped after {seconds:.0f} s, before its end"
        except Exception as error:
            problem = f"failed: {first_line(error)}"
        self._end(section, notes, problem, f"{time.perf_counter() - start:.1f} s")

    def skip(self, section: Section, problem: str) -> None:
        """Report a section that is not measured."""
        self._end(section, self._begin(section)[1], problem)

    def _begin(self, section: Section) -> tuple[dict[str, list[str]], list[str]]:
        print(*_opening(section), sep="\n", flush=True)
        self._parts.append((section, {}, []))
        return self._parts[-1][1:]

    def _end(self, section: Section, notes: list[str], problem: str, *more: str) -> None:
        if problem:
            self.problems[section.key] = problem
        notes += filter(None, [problem, *more])
        print("", f"({', '.join(notes)})", sep="\n", flush=True)
        self._write()

    def markdown(self) -> str:
        """The tables so far."""
        lines = _title(self.head)
        for section, cells, notes in self._parts:
            lines += [*_opening(section), *(_line([name, *row]) for name, row in cells.items())]
            lines += ["", f"({', '.join(notes)})"] if notes else []
        return "\n".join(lines) + "\n"

    def _write(self) -> None:
        """Write both files; an interrupted write leaves those of before."""
        if self._path is None:
            return
        result = {**self.head, "sections": self.values, "problems": self.problems}
        text = json.dumps(result, indent=2) + "\n"
        for path, content in (
            (self._path, text), (self._path.with_suffix(".md"), self.markdown()),
        ):  # fmt: skip
            part = path.with_suffix(".part")
            part.write_text(content, encoding="utf-8")
            part.replace(path)


def _title(head: dict[str, Any]) -> list[str]:
    shown = {n: v for n, v in head.items() if n not in ("device", "date") and v is not None}
    values = [f"- {name}: {value}" for name, value in shown.items()]
    return [f"# {head['device']}, {head['date']}", "", *values]


def _opening(section: Section) -> list[str]:
    rule = "|---" * len(section.columns) + "|"
    return ["", f"## {section.title}", "", section.about, "", _line(section.columns), rule]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def first_line(error: Exception) -> str:
    """The type of an error and the first line of its message."""
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text:.200}"


def guarded(name: str, rows: Rows) -> Rows:
    """The rows; if their measurement fails, a row with the reason, so that those after it are
    measured nevertheless."""
    try:
        yield from rows
    except Exception as error:
        text = first_line(error)
        yield Row(name, {"failed": text}, [text])
