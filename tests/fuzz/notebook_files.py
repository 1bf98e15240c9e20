"""Fuzz targets: notebooks of students, by what `tito status`, `test` and `export` do with them."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

from example_lesson import PACKAGE, SOURCE, make
from fuzz_files import Target, check_length, mutate_bytes, mutate_json

from tinytorch.tito import inline, weave, workspace
from tinytorch.tito.export import ExportError, export, reset
from tinytorch.tito.lesson import Lesson

FRAGMENTS = [
    "\n", "\r\n", "  ", "(", ")", ":", "@", "\0", "\\", '"""', "def ", "class ", "return", "x",
    "np.pi", "%magic\n", "import math\n", "-> np.ndarray", "lambda: ", "raise ", "# ", "é", "空",
    "nonlocal x\n", "global x\n", "-" * 5000, "(" * 300, "1+" * 3000 + "1", "\ud800", "async ",
    "=1/0", "[][0]", 'raise NotImplementedError("exercise 77.1: double")', "yield x", "*", ";",
]  # fmt: skip


def prepare(folder: Path) -> tuple[Lesson, Any]:
    """Create a checkout with one lesson of two exercises, and its solution."""
    source = SOURCE + '\n# %% exercise="77.2" points=1\nfrom tinytorch.things import NAMES\n'
    lesson = make(
        folder, source.replace("LIMIT, NAMES,", "LIMIT,"), PACKAGE.replace("@decorated\n", "")
    )
    workspace.start(lesson)
    return lesson, json.loads(weave.as_bytes(weave.solution(lesson)))


def mutate(good: tuple[Lesson, Any], rng: random.Random, folder: Path) -> Lesson:
    """Write a mutated notebook into the workspace."""
    lesson, notebook = good
    notebook = json.loads(json.dumps(notebook))
    cells = notebook["cells"]
    encoding = "utf-8"
    for _ in range(rng.choice([1, 1, 2, 3])):
        kind = rng.random()
        cell = rng.choice(cells) if cells else {}
        if kind < 0.3:
            source = cell.get("source", "")
            text = "".join(map(str, source)) if isinstance(source, list) else str(source)
            at = rng.randrange(len(text) + 1)
            new = text[:at] + rng.choice(FRAGMENTS) + text[at + rng.choice([0, 0, 1, 5, 50]) :]
            cell["source"] = rng.choice([new, new.splitlines(keepends=True)])
        elif kind < 0.5 and cells:
            at, count = rng.randrange(len(cells)), rng.choice([0, 1, 1, 3])
            cells[at : at + count] = [cell] * rng.choice([0, 1, 2, 50])
        elif kind < 0.6:
            cell["cell_type"] = rng.choice(["code", "markdown", "raw", "heading"])
        elif kind < 0.7:
            cell["metadata"] = rng.choice([{}, None, [], 3, {"tinytorch": rng.choice([[], 3, {}])}])
        elif kind < 0.75:
            encoding = rng.choice(["utf-8-sig", "utf-16"])
        elif kind < 0.8:
            notebook = {"worksheets": [{"cells": cells}], "nbformat": rng.choice([3, None])}
            break
        else:
            notebook = mutate_json(notebook, rng)
            cells = notebook.get("cells") if isinstance(notebook, dict) else None
            if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
                break
    data = json.dumps(notebook, indent=rng.choice([None, 1])).encode(encoding)
    if rng.random() < 0.15:
        data = mutate_bytes(data, rng)
    path = workspace.notebook(lesson)
    path.write_bytes(data.replace(b"\n", b"\r\n") if rng.random() < 0.1 else data)
    return lesson


def read(lesson: Lesson) -> None:
    """Show the status, collect the cells for the inline tests, and export."""
    path = workspace.notebook(lesson)
    module = lesson.root / "tinytorch" / "things.py"
    before = module.read_bytes()
    (progress,) = workspace.progress(lesson.root)
    assert len(progress.problem) < 1000 + len(str(path))
    shutil.rmtree(lesson.root / "workspace" / ".backup", ignore_errors=True)
    try:
        inline._steps(lesson, inline.read(path))
        export(lesson, path)
    except (ExportError, ValueError) as error:
        assert module.read_bytes() == before
        check_length(error, path)
        raise
    reset(lesson)
    assert module.read_bytes() == before


TARGETS = [Target("notebook", prepare, mutate, read, (ExportError, ValueError))]
