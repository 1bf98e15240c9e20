"""How much of the package the student has written."""

import re
from dataclasses import dataclass
from pathlib import Path

from . import export
from .lesson import PACKAGE, Definition, Lesson, definitions, functions, read_module


def is_filled(lesson: Lesson) -> bool:
    """Whether no exercise of a lesson is blank in its package."""
    return not any(export.is_blank(definition) for definition in _exercise_functions(lesson))


@dataclass(frozen=True)
class Share:
    """How much of a lesson's code in the package the student has written.

    Attributes:
        written, functions: number of functions and methods, and of those in the exercises.
        lines: lines of the functions written.
    """

    written: int
    functions: int
    lines: int


def share(lesson: Lesson) -> Share:
    """Return how much of a lesson's code in the package comes from an export."""
    bodies = _exercise_functions(lesson)
    own = [d for d in bodies if not export.is_blank(d)] if export.is_exported(lesson) else []
    return Share(len(own), len(bodies), sum(d.stop - d.start for d in own))


def blank_lessons(root: Path) -> set[int]:
    """Return the lessons with exercises that are blank in the package of a course folder."""
    files = (root / PACKAGE).rglob("*.py")
    return set().union(*(lessons_named(p.read_text("utf-8", errors="replace")) for p in files))


def lessons_named(text: str) -> set[int]:
    """Return the lessons that the errors of blank exercises name in a text."""
    return {
        int(n) for n in re.findall(r"exercise [\d.]+ of lesson (\d+), \w+: [\w.]+ is blank", text)
    }


def _exercise_functions(lesson: Lesson) -> list[Definition]:
    """Return the functions and methods of the package that a lesson's exercises write.

    Those that the package does not define any more are left out.
    """
    result = []
    for exercise in lesson.exercises:
        found = definitions(read_module(lesson.module_path(exercise.module)))
        for name in exercise.names:
            for full_name, node in functions(found[name]) if name in found else ():
                if full_name in exercise.hints:
                    stop = node.end_lineno or node.lineno
                    result.append(Definition(full_name, node, node.lineno - 1, stop))
    return result
