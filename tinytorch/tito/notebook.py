"""Read a student's notebook, in any version of the format and as any editor has saved it."""

import json
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .lesson import Exercise, definitions
from .magics import without_commands

MAX_BYTES, MAX_CELLS = 200 << 20, 10_000
_TYPES = ("code", "markdown", "raw", "heading")  # headings are cells in nbformat 3


@dataclass(frozen=True)
class StudentCell:
    """A cell of a student's notebook.

    Attributes:
        number: its position, from 1.
        type: "code", "markdown", "raw" or "heading".
        source: its text.
        kind: what `tito start` has written it as, such as "exercise"; "" for an added cell.
        exercise: number of the exercise, "12.1", of an exercise or its test.
    """

    number: int
    type: str
    source: str
    kind: str = ""
    exercise: str = ""


def read(path: Path) -> list[StudentCell]:
    """Read the cells of a notebook; metadata of other programs, or damaged, is ignored.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a notebook; the message names the file and the cell.
    """
    try:
        found = list(_cells(_content(path)))
    except (RecursionError, MemoryError):
        raise ValueError(f"{path} is not a notebook: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path} is not a notebook: {error}") from None
    return found


def exercise_cells(
    cells: list[StudentCell], exercises: Iterable[Exercise]
) -> dict[str, list[StudentCell]]:
    """Return the code cells of each exercise, in order.

    These are all cells that carry its number, because both halves of a split cell do. For a name
    that they do not define, it is also the last other cell that defines it: moving or merging cells
    and converting a notebook lose numbers.
    """
    code = [c for c in cells if c.type == "code" and c.kind in ("", "exercise")]
    defined = {cell.number: _defined(cell) for cell in code}
    found = {}
    for exercise in exercises:
        own = {c.number for c in code if c.kind and c.exercise == exercise.number}
        for name in set(exercise.names) - set().union(*(defined[n] for n in own)):
            own |= set([n for n, names in defined.items() if name in names][-1:])
        found[exercise.number] = [cell for cell in code if cell.number in own]
    return found


def no_cell(cells: list[StudentCell], exercise: str) -> str:
    """Return a message that says why an exercise has no code cell."""
    for cell in cells:
        if cell.kind == "exercise" and cell.exercise == exercise:
            return f"cell {cell.number} is a {cell.type} cell: change it into a code cell"
    return f"the notebook has no cell for exercise {exercise}"


def source_of(cells: list[StudentCell]) -> str:
    """Return the code of an exercise; of two definitions of a name, the last one counts.

    Commands of IPython are left out.
    """
    return "\n\n\n".join(without_commands(cell.source) for cell in cells)


def _content(path: Path) -> Any:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MB; clear its outputs")
    data = path.read_bytes()
    if not data.strip():
        raise ValueError("it is empty")
    try:
        return json.loads(data)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON, or half saved ({error})") from None


def _cells(content: Any) -> Iterator[StudentCell]:
    cells = content.get("cells") if isinstance(content, dict) else None
    if cells is None and isinstance(content, dict):  # nbformat 3
        sheets = content.get("worksheets")
        if isinstance(sheets, list) and all(isinstance(sheet, dict) for sheet in sheets):
            lists = [sheet.get("cells") for sheet in sheets]
            if all(isinstance(inner, list) for inner in lists):
                cells = [cell for inner in lists for cell in inner]
    if not isinstance(cells, list):
        raise ValueError("it has no list of cells")
    if len(cells) > MAX_CELLS:
        raise ValueError(f"it has {len(cells)} cells, more than {MAX_CELLS}")
    for number, cell in enumerate(cells, 1):
        yield _cell(number, cell)


def _cell(number: int, cell: Any) -> StudentCell:
    if not isinstance(cell, dict) or cell.get("cell_type") not in _TYPES:
        raise ValueError(f"cell {number} is neither a code cell nor a markdown cell")
    source = cell.get("source", cell.get("input"))  # "input" in nbformat 3
    lines = [source or ""] if isinstance(source, str | None) else source
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ValueError(f"the source of cell {number} is not text")
    text = "".join(lines).replace("\r\n", "\n").replace("\r", "\n")
    text = text.encode("utf-8", errors="replace").decode("utf-8")  # lone surrogates become "?"
    metadata = cell.get("metadata")
    mark = metadata.get("tinytorch") if isinstance(metadata, dict) else None
    kind, exercise = (
        (mark.get("kind"), mark.get("exercise", "")) if isinstance(mark, dict) else ("", "")
    )
    if not isinstance(kind, str) or not isinstance(exercise, str):
        kind, exercise = "", ""
    return StudentCell(number, cell["cell_type"], text, kind, exercise)


def _defined(cell: StudentCell) -> set[str]:
    """Return the names of the functions, classes and constants of a cell."""
    try:
        return set(definitions(without_commands(cell.source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
