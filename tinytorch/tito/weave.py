"""Weave notebooks from lesson sources: with blank exercises, with solutions, or for nbgrader."""

import tomllib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..serialization.atomic import write_atomically
from ._optional import nbformat
from .lesson import Cell, Lesson

COLAB = "https://colab.research.google.com/github"
FOLDED = {"source_hidden": True}  # Jupyter shows three dots; a click unfolds the code


def student(lesson: Lesson) -> Any:
    """Return the notebook for students, with blank exercises and no cells for instructors."""
    return _weave(lesson, lesson.blank)


def solution(lesson: Lesson) -> Any:
    """Return the notebook with solutions, the package's own code."""
    return _weave(lesson, lesson.solution, for_instructors=True)


def for_nbgrader(lesson: Lesson) -> Any:
    """Return the notebook for nbgrader's folder source/: solutions between its markers.

    It has no cells for instructors, because nbgrader would release them.
    """
    return _weave(lesson, lesson.marked)


def write(notebook: Any, path: Path) -> None:
    """Write a notebook as UTF-8, atomically and with the same bytes on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, as_bytes(notebook))


def as_bytes(notebook: Any) -> bytes:
    """Return the contents of a notebook's file."""
    text = str(nbformat().writes(notebook, version=4))
    return (text.rstrip("\n") + "\n").encode()


def notebook_path(lesson: Lesson) -> Path:
    """Return the path of the committed student notebook, next to its source."""
    return lesson.source.parent / f"{lesson.name}.ipynb"


def repository(root: Path) -> str | None:
    """Return the repository's URL, "https://github.com/owner/name", if pyproject.toml has one."""
    with (root / "pyproject.toml").open("rb") as file:
        urls = tomllib.load(file)["project"].get("urls", {})
    address = urls.get("Repository")
    return None if address is None else str(address).rstrip("/").removesuffix(".git")


def _weave(lesson: Lesson, code: Callable[[Cell], str], for_instructors: bool = False) -> Any:
    cells = _badge(lesson) + [_notebook_cell(lesson, cell, code) for cell in lesson.cells]
    for index, cell in enumerate(cells):
        # An example is known by its text, so that work on it is found again in a newer lesson.
        is_example = cell.metadata.get("tinytorch") == {"kind": "code"}
        place = sha256(cell.source.encode()).hexdigest()[:8] if is_example else index
        cell["id"] = f"{lesson.name}-{place}"
        if "nbgrader" in cell.metadata and not cell.metadata.nbgrader.grade_id:
            cell.metadata.nbgrader.grade_id = f"{cell.metadata.tinytorch.kind}-{index}"
    if not for_instructors:  # after the ids, which are the same in all notebooks
        cells = [c for c in cells if c.metadata.get("tinytorch") != {"kind": "instructor"}]
    notebook = nbformat().v4.new_notebook(cells=cells)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "tinytorch": {"lesson": lesson.number},
    }
    return notebook


def _notebook_cell(lesson: Lesson, cell: Cell, code: Callable[[Cell], str]) -> Any:
    v4 = nbformat().v4
    if cell.kind == "markdown":
        return v4.new_markdown_cell(cell.source)
    if cell.kind == "instructor":
        return v4.new_markdown_cell(cell.source, metadata={"tinytorch": {"kind": "instructor"}})
    mark: dict[str, Any] = {"kind": cell.kind}
    dashed = cell.exercise.replace(".", "-")
    if cell.kind == "exercise":
        exercise = lesson.exercise(cell)
        mark |= {"exercise": cell.exercise, "module": exercise.module, "names": exercise.names}
        metadata = {"nbgrader": _nbgrader(dashed, solution=True), "tinytorch": mark}
        return v4.new_code_cell(code(cell), metadata=metadata)
    if cell.kind == "test":
        mark["exercise"] = cell.exercise
        nbgrader = _nbgrader(f"test-{dashed}", grade=True, locked=True) | {"points": cell.points}
        metadata = {"jupyter": FOLDED, "nbgrader": nbgrader, "tinytorch": mark}
        return v4.new_code_cell(cell.source, metadata=metadata)
    metadata = {"tinytorch": mark}
    if cell.kind == "given":
        mark["exercise"] = cell.exercise
        metadata["jupyter"] = FOLDED
    if cell.kind in ("setup", "given"):
        metadata["nbgrader"] = _nbgrader("", locked=True)
    return v4.new_code_cell(lesson.code(cell), metadata=metadata)


def _nbgrader(grade_id: str, **flags: bool) -> dict[str, Any]:
    """Return nbgrader's metadata of a cell, in version 3 of its schema."""
    off = {"grade": False, "locked": False, "solution": False, "task": False}
    return {**off, **flags, "grade_id": grade_id, "schema_version": 3}


def _badge(lesson: Lesson) -> list[Any]:
    """Return a link to Google Colab and a cell that installs the package there.

    Both need the URL of the repository; without one there are no cells.
    """
    address = repository(lesson.root)
    if address is None:
        return []
    v4, path = nbformat().v4, notebook_path(lesson).relative_to(lesson.root).as_posix()
    target = f"{COLAB}/{address.removeprefix('https://github.com/')}/blob/main/{path}"
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    install = (
        "import sys\n\n"
        'if "google.colab" in sys.modules:  # everywhere else it is already installed\n'
        f'    %pip install --quiet "tinytorch-backends[milestones] @ git+{address}"'
    )
    return [
        v4.new_markdown_cell(f"[![Open in Colab]({badge})]({target})"),
        v4.new_code_cell(install, metadata={"tinytorch": {"kind": "colab"}}),
    ]
