"""The course map in README.md and docs/course.md, written by `tito nbdev build`."""

import re
from collections.abc import Iterator
from pathlib import Path

from . import weave
from .course_map import Entry, entry, ranges
from .lesson import Lesson, lessons, load

COURSE = """# The course

Thirteen lessons, from nothing to TinyGPT. `tito nbdev build` writes this page from the first cells
of the lessons; `tito status` shows the same map, with your progress.

{map}
{goals}
"""


def write(root: Path) -> Iterator[Path]:
    """Bring the pages up to date, and yield the paths of those that changed."""
    for name, text in pages(root).items():
        path = root / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8", newline="\n")
            yield path


def pages(root: Path) -> dict[str, str]:
    """Return the text of each page of a checkout that has the map; {} without docs/."""
    if not (root / "docs").is_dir():  # a course folder
        return {}
    own_lessons = [load(number, root) for number in lessons(root)]
    entries = [(entry(lesson), lesson) for lesson in own_lessons]
    readme = (root / "README.md").read_text(encoding="utf-8")
    full = table([_full_row(own, lesson) for own, lesson in entries])
    goals = "".join(_goals(own, lesson) for own, lesson in entries)
    return {
        "README.md": with_table(readme, short_map(own_lessons)),
        "docs/course.md": COURSE.format(map=full, goals=goals),
    }


def short_map(own: list[Lesson]) -> str:
    """Return the map of lessons as a table, with links for a page in their checkout."""
    return table([_row(entry(lesson), f"notebooks/{lesson.folder}/") for lesson in own])


def table(rows: list[dict[str, str]]) -> str:
    """Return rows as a table in Markdown; their keys are the headings."""
    headings = list(rows[0])
    lines = [headings, *([row[heading] for heading in headings] for row in rows)]
    first, *rest = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([first, "|---" * len(headings) + "|", *rest])


def with_table(page: str, new: str) -> str:
    """Return a page in which a table replaces the one with the same headings.

    Raises:
        ValueError: the page has no such table.
    """
    headings = new.split("\n")[0]
    page, count = re.subn(rf"(?m)^{re.escape(headings)}\n(?:\|.*\n)*", lambda _: f"{new}\n", page)
    if count != 1:
        raise ValueError(f"expected one table with the headings {headings}, found {count}")
    return page


def _row(own: Entry, link: str) -> dict[str, str]:
    return {
        "lesson": f"[{own.number:02} {own.name}]({link})",
        "you build": own.builds,
        "needs": ranges(own.needs),
        "time": own.time,
    }


def _full_row(own: Entry, lesson: Lesson) -> dict[str, str]:
    link = f"../{weave.notebook_path(lesson).relative_to(lesson.root).as_posix()}"
    points = sum(cell.points for cell in lesson.cells if cell.kind == "test")
    return _row(own, link) | {
        "exercises": str(len(lesson.exercises)),
        "points": str(points),
        "files in `tinytorch/`": ", ".join(f"`{name}`" for name in own.files),
    }


def _goals(own: Entry, lesson: Lesson) -> str:
    return f"\n## {own.number:02} {lesson.title}\n\n{own.goals}\n"
