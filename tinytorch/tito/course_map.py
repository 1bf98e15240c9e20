"""The course map: what each lesson builds, needs and takes, as the first cell of its source says.

`tito status` prints it with the student's progress; `pages` writes it to README.md and docs/.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .lesson import Lesson, LessonError

NUMBERS = {"one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6"}


@dataclass(frozen=True)
class Entry:
    """What the map says about a lesson.

    Attributes:
        number, name: of the lesson.
        builds: what the student builds, a few words.
        needs: the earlier lessons that it needs.
        time: "2½ h".
        goals: what the student will learn, in Markdown.
        files: where its code is, in tinytorch/.
    """

    number: int
    name: str
    builds: str = ""
    needs: tuple[int, ...] = ()
    time: str = ""
    goals: str = ""
    files: tuple[str, ...] = ()


def entry(lesson: Lesson) -> Entry:
    """Return what a lesson's first cell says about it; what it does not say is empty.

    Raises:
        LessonError: the source cannot be read.
    """
    head = lesson.cells[0].source
    needs = re.search(r"\*\*(?:You need|Before you start)\*\*(?s:.*?)(?=\n\n|\Z)", head)
    goals = re.search(r"\*\*You will learn\*\*.*\n\n(?:- .*\n?(?: .*\n?)*)+", head)
    return Entry(
        lesson.number,
        lesson.name,
        builds=_found(r"\*\*You will build\*\* ([^.]+)\.", head),
        needs=tuple(n for n in _lessons_in(needs[0] if needs else "") if n < lesson.number),
        time=_hours(_found(r"\*\*Time\*\*: (?:about )?([\w ]+?) hours", head)),
        goals=goals[0].strip() if goals else "",
        files=tuple(dict.fromkeys(_file(exercise.module) for exercise in lesson.exercises)),
    )


def known_entry(lesson: Lesson) -> Entry:
    """Return the entry of a lesson; if its source cannot be read, only number and name."""
    try:
        return entry(lesson)
    except (LessonError, OSError):
        return Entry(lesson.number, lesson.name)


def ranges(numbers: Iterable[int], short: bool = False) -> str:
    """Return numbers of lessons: "01 to 03, 06", or in short "1-3 6"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    to, comma, width = ("-", " ", 1) if short else (" to ", ", ", 2)
    texts = [[f"{number:0{width}}" for number in run] for run in runs]
    return comma.join(to.join((t[0], t[-1])) if len(t) > 2 else comma.join(t) for t in texts)


def _file(module: str) -> str:
    return module.partition(".")[2].replace(".", "/") + ".py"


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return " ".join(match[1].split()) if match else ""


def _lessons_in(text: str) -> list[int]:
    """Return the lessons that a text names: "lessons 01, 02 and 04", "lessons 01 to 03"."""
    found: set[int] = set()
    for numbers in re.findall(r"[Ll]essons?\s+(\d+(?:(?:,|\s+and|\s+to|,\s+and)\s+\d+)*)", text):
        *_, last = parts = [int(n) for n in re.findall(r"\d+", numbers)]
        found |= set(range(parts[0], last + 1)) if "to" in numbers else set(parts)
    return sorted(found)


def _hours(words: str) -> str:
    """Return a time in digits: "two and a half" is "2½ h"."""
    text = words.replace(" and a half", "½").replace(" to ", "-")
    for word, digit in NUMBERS.items():
        text = re.sub(rf"\b{word}(?=½|-|\b)", digit, text)
    return f"{text} h" if text else ""
