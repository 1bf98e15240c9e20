"""The milestones on a time axis, as text: what each needs, and how far the student is."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .course_map import ranges
from .milestones import LESSONS, MILESTONES, Milestone
from .written import blank_lessons

AXIS = ("●", "○", "│")  # a milestone that is done, one that is not, the time between them
PLAIN_AXIS = ("*", "o", "|")
NO_BREAK = "\N{NO-BREAK SPACE}"
NARROWEST = 20  # columns of the text beside the axis
STYLES = {"done": "green", "ready": "bold", "blank": "", "not confirmed": "red"}


@dataclass(frozen=True)
class State:
    """How far the student is with a milestone.

    Attributes:
        milestone: the milestone.
        blank: the lessons that it needs and that are blank in the package.
        status: "blank"; "ready" to be run; or, if its results are in runs/, "done" or "not
            confirmed".
    """

    milestone: Milestone
    blank: tuple[int, ...]
    status: str

    @property
    def advice(self) -> str:
        """The status in words, with what to do next."""
        command = f"tito milestone run {self.milestone.name}"
        if self.status == "blank":
            return f"still blank: {ranges(self.blank)}"
        if self.status == "not confirmed":
            return f"not confirmed by the last run: {command}"
        return f"ready: {command}" if self.status == "ready" else "done"


def progress(root: Path) -> list[State]:
    """Return the state of each milestone, in their order."""
    blank = blank_lessons(root)
    return [_state(m, root, tuple(n for n in m.lessons if n in blank)) for m in MILESTONES]


def _state(milestone: Milestone, root: Path, blank: tuple[int, ...]) -> State:
    if blank:
        return State(milestone, blank, "blank")
    try:
        text = (root / "runs" / milestone.results / "summary.json").read_text(encoding="utf-8")
        claims = json.loads(text).get("claims", [])
        confirmed = all(claim["holds"] for claim in claims)
    except (OSError, ValueError, AttributeError, KeyError, TypeError):  # not run, or not complete
        return State(milestone, (), "ready")
    return State(milestone, (), "done" if confirmed else "not confirmed")


def picture(states: list[State], width: int, encoding: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of the time axis, and the style of each.

    Args:
        states: the milestones.
        width: columns of the terminal.
        encoding: the terminal's; without the characters of `AXIS` the axis is plain.
    """
    done, open_, line = AXIS if _can_encode("".join(AXIS), encoding) else PLAIN_AXIS
    for state in states:
        m = state.milestone
        margin = f"      {line}  "
        room = max(NARROWEST, width - len(margin))
        head = f"{m.year:5} {done if state.status == 'done' else open_}  "
        yield from _wrapped(f"{m.name}: {m.description}", room, head, margin, state.status)
        names = ", ".join(f"{n:02}{NO_BREAK}{LESSONS[n - 1]}" for n in m.lessons)
        yield from _wrapped(f"needs {names}", room, margin, margin, "blank")
        yield from _wrapped(state.advice, room, margin, margin, state.status)
        if state is not states[-1]:
            yield margin.rstrip(), ""


def _wrapped(
    text: str, room: int, head: str, margin: str, status: str
) -> Iterator[tuple[str, str]]:
    """Yield text in lines, behind a head in the first one and a margin in the others."""
    for number, part in enumerate(textwrap.wrap(text, room, break_on_hyphens=False)):
        yield (margin if number else head) + part.replace(NO_BREAK, " "), STYLES[status]


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
