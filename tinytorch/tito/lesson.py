"""A lesson as it is written: its cells, and the package's code that stands behind its exercises.

The source is `notebooks/NN_name/name_dev.py`, in jupytext's percent format. What a cell is stands
in its first line:

    # %% [markdown]                    prose
    # %% setup=true                    what exercises and tests import
    # %% exercise="12.1" points=2      an import from one module of the package, then hints
    # %% test="12.1" points=2          the inline test of that exercise
    # %%                               worked examples, figures, measurements

Where an exercise imports, a notebook has the definitions themselves. What has hints is blank for
the student, all else that is imported is given:

    from tinytorch.attention import KVCache

    # KVCache.append:
    #   What comes first: is there room?
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGE = "tinytorch"


class LessonError(Exception):
    """A lesson does not exist, or its source is not as it should be."""


@dataclass(frozen=True)
class Cell:
    """A cell of the source; `exercise` is its number, "12.1", for an exercise and its test."""

    kind: str  # markdown, setup, exercise, test or code
    source: str
    exercise: str = ""
    points: int = 0


@dataclass(frozen=True)
class Definition:
    """A function, class or constant in a source text, on the lines `start` to `stop` - 1."""

    name: str
    node: ast.stmt
    start: int  # from 0, decorators included
    stop: int


@dataclass(frozen=True)
class Exercise:
    """What an exercise's cell says: names of one module, and hints by function or method."""

    number: str
    module: str
    names: tuple[str, ...]
    hints: dict[str, list[str]]


class Lesson:
    """One lesson of a checkout.

    Args:
        source: its `name_dev.py`.
        root: the checkout, in which the package stands.
    """

    def __init__(self, source: Path, root: Path) -> None:
        self.source, self.root = source, root
        self.folder = source.parent.name
        number, _, self.name = self.folder.partition("_")
        self.number = int(number)

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells, in order."""
        from ._needs import jupytext

        notebook = jupytext().read(self.source, fmt="py:percent")
        return [_cell(c.cell_type, c.source, dict(c.metadata)) for c in notebook.cells]

    @property
    def exercises(self) -> list[Exercise]:
        """The exercises, in order."""
        return [self.exercise(cell) for cell in self.cells if cell.kind == "exercise"]

    def exercise(self, cell: Cell) -> Exercise:
        """What an exercise's cell imports, and its hints.

        Raises:
            LessonError: it imports from elsewhere or twice, or has a hint for nothing.
        """
        where = f"{self.source.name}, exercise {cell.exercise}"
        body = ast.parse(cell.source).body
        first = body[0] if len(body) == 1 else None
        if not isinstance(first, ast.ImportFrom) or (first.module or "").split(".")[0] != PACKAGE:
            raise LessonError(f"{where}: expected one import from a module of {PACKAGE}")
        names = tuple(alias.name for alias in first.names)
        hints = _hints(cell.source)
        for name in hints:
            if name.split(".")[0] not in names:
                raise LessonError(f"{where}: hints for {name}, which is not imported")
        return Exercise(cell.exercise, str(first.module), names, hints)

    def module_path(self, module: str) -> Path:
        """The file of "tinytorch.attention"."""
        return self.root.joinpath(*module.split(".")).with_suffix(".py")

    def solution(self, cell: Cell) -> str:
        """The package's definitions behind an exercise, in their order there."""
        exercise = self.exercise(cell)
        return _join(lines for _, lines in self._parts(exercise))

    def blank(self, cell: Cell) -> str:
        """The solution with a blank body for all that has hints."""
        exercise = self.exercise(cell)
        wanted, done = set(exercise.hints), set()
        parts = []
        for definition, lines in self._parts(exercise):
            parts.append(lines)
            offset = definition.start
            for name, function in reversed(list(functions(definition))):
                if name in wanted:
                    done.add(name)
                    start, stop = _body(function, lines, offset)
                    lines[start:stop] = _blank_body(name, exercise, function.body[0].col_offset)
        if wanted - done:
            missing = ", ".join(sorted(wanted - done))
            raise LessonError(f"exercise {exercise.number}: {exercise.module} has no {missing}")
        return _join(parts)

    def _parts(self, exercise: Exercise) -> Iterator[tuple[Definition, list[str]]]:
        """Each of the exercise's definitions with its lines."""
        lines = self.module_path(exercise.module).read_text(encoding="utf-8").splitlines()
        found = definitions("\n".join(lines))
        for name in exercise.names:
            if name not in found:
                raise LessonError(f"exercise {exercise.number}: {exercise.module} has no {name}")
        for name, definition in found.items():
            if name in exercise.names:
                yield definition, lines[definition.start : definition.stop]


def find_root(start: Path | None = None) -> Path:
    """The checkout: around the current folder, or where the package is installed from.

    Raises:
        LessonError: there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "notebooks").is_dir() and (folder / PACKAGE / "__init__.py").is_file():
            return folder
    raise LessonError(
        "no checkout of TinyTorch here: go to the folder that you cloned, or install from it"
        ' with pip install -e ".[lessons]"'
    )


def lessons(root: Path) -> list[int]:
    """The numbers of all lessons of a checkout."""
    return sorted(int(source.parent.name.split("_")[0]) for source in _sources(root))


def load(number: int, root: Path) -> Lesson:
    """The lesson with this number.

    Raises:
        LessonError: there is none; it says which there are.
    """
    for source in _sources(root):
        if int(source.parent.name.split("_")[0]) == number:
            return Lesson(source, root)
    known = ", ".join(map(str, lessons(root))) or "none"
    raise LessonError(f"there is no lesson {number}; there are {known}")


def _sources(root: Path) -> list[Path]:
    folders = sorted((root / "notebooks").glob("[0-9][0-9]_*"))
    sources = [folder / f"{folder.name.split('_', 1)[1]}_dev.py" for folder in folders]
    return [source for source in sources if source.is_file()]


def definitions(source: str) -> dict[str, Definition]:
    """The functions, classes and constants at the top level of a source text, in order."""
    found = {}
    for node in ast.parse(source).body:
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(d.lineno for d in decorators)]) - 1
        for name in _bound(node):
            found[name] = Definition(name, node, start, node.end_lineno or node.lineno)
    return found


def functions(definition: Definition) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The function, or the methods of the class as "Class.method"."""
    if isinstance(definition.node, ast.FunctionDef):
        yield definition.name, definition.node
    elif isinstance(definition.node, ast.ClassDef):
        for node in definition.node.body:
            if isinstance(node, ast.FunctionDef):
                yield f"{definition.name}.{node.name}", node


def _bound(node: ast.stmt) -> list[str]:
    """The names that a definition binds; imports and other statements define nothing."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _cell(kind: str, source: str, metadata: dict[str, object]) -> Cell:
    points = metadata.get("points", 0)
    assert isinstance(points, int)
    if kind == "markdown":
        return Cell("markdown", source)
    if metadata.get("setup"):
        return Cell("setup", source)
    for name in ("exercise", "test"):
        if name in metadata:
            return Cell(name, source, str(metadata[name]), points)
    return Cell("code", source)


def _hints(source: str) -> dict[str, list[str]]:
    """The comments after the import: under each heading `# name:` its lines, without the #."""
    hints: dict[str, list[str]] = {}
    for line in source.splitlines():
        text = line.removeprefix("#")
        if line.startswith("# ") and not line.startswith("#  ") and line.endswith(":"):
            hints[text[1:-1]] = []
        elif line.startswith("#") and hints:
            hints[next(reversed(hints))].append(text.removeprefix("  ").strip())
    return hints


def _body(function: ast.FunctionDef, lines: list[str], offset: int) -> tuple[int, int]:
    """Which of a definition's lines are the function's body, without its docstring."""
    first, end = function.body[0], (function.end_lineno or 0) - offset
    if ast.get_docstring(function) is not None:
        return (first.end_lineno or 0) - offset, end
    start = first.lineno - 1 - offset
    while lines[start - 1].strip().startswith("#"):
        start -= 1
    return start, end


def _blank_body(name: str, exercise: Exercise, indent: int) -> list[str]:
    body = [f"# {line}".rstrip() for line in exercise.hints[name]]
    body += ["# YOUR CODE HERE", f'raise NotImplementedError("exercise {exercise.number}: {name}")']
    return [" " * indent + line for line in body]


def _join(parts: Iterator[list[str]] | list[list[str]]) -> str:
    """Definitions with two empty lines around functions and classes, constants side by side."""
    text = ""
    for lines in parts:
        small = text and not text.rstrip("\n").splitlines()[-1].startswith(
            (" ", "@", "def", "class")
        )
        plain = not lines[0].startswith(("@", "def ", "class "))
        text += "" if not text else "\n" if small and plain else "\n\n\n"
        text += "\n".join(lines)
    return text
