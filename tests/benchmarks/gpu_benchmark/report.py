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
        self.results: dict[str, Any] = {**head, "sections": {}, "notes": {}}
        self._path = path
        self._lines: list[str] = []
        self._print(f"# {head['device']}, {head['date']}", "")
        shown = {n: v for n, v in head.items() if n not in ("device", "date") and v is not None}
        self._print(*(f"- {name}: {value}" for name, value in shown.items()))

    def measure(self, section: Section, settings: Settings, seconds: float) -> None:
        """Measure a section in at most that time; if it fails, its end is a sentence."""
        table: dict[str, Any] = {}
        self.results["sections"][section.key] = table
        self._print("", f"## {section.title}", "", section.about, "")
        self._print(_line(section.columns), "|---" * len(section.columns) + "|")
        problem, start = "", time.perf_counter()
        try:
            with time_limit(seconds):
                for row in section.rows(settings):
                    self._add(table, row)
        except OutOfTime:
            problem = f"stopped after {seconds:.0f} s, before its end"
        except Exception as error:
            problem = f"failed: {first_line(error)}"
        took = time.perf_counter() - start
        self.note(section, ". ".join(filter(None, [problem, f"{took:.1f} s"])))

    def note(self, section: Section, text: str) -> None:
        """Add a sentence below a section."""
        self.results["notes"].setdefault(section.key, []).append(text)
        self._print("", f"({section.key}: {text})")
        self.write()

    def _add(self, table: dict[str, Any], row: Row) -> None:
        table[row.name] = row.value
        self._print(_line([row.name, *row.cells]))
        self.write()

    def _print(self, *lines: str) -> None:
        self._lines += lines
        print(*lines, sep="\n", flush=True)

    def write(self) -> None:
        """Write both files; an interrupted write leaves those of before."""
        if self._path is None:
            return
        text = json.dumps(self.results, indent=2) + "\n"
        markdown = "\n".join(self._lines) + "\n"
        for path, content in ((self._path, text), (self._path.with_suffix(".md"), markdown)):
            part = path.with_suffix(".part")
            part.write_text(content, encoding="utf-8")
            part.replace(path)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def first_line(error: Exception) -> str:
    """The type of an error and the first line of its message."""
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text:.200}"
