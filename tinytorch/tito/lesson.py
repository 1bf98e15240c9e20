"""Lesson sources: cells, exercises, and the package code that they import.

The source of a lesson is `notebooks/NN_name/name_dev.py`, in the percent format. The first line
of a cell determines its kind:

    # %% [markdown]                    prose
    # %% [markdown] instructor=true    prose for instructors, such as answers
    # %% setup=true                    imports of exercises and tests
    # %% given="12.1"                  an import of helper definitions that exercise 12.1 uses
    # %% exercise="12.1" points=2      an import from one module of the package, then hints
    # %% test="12.1" points=2          the inline test of that exercise
    # %%                               worked examples, figures, measurements

In a notebook, the import of an exercise, or of a given cell, is replaced by the definitions that it
imports. Functions and methods with hints are blank for the student, all others are given:

    from tinytorch.attention import KVCache

    # KVCache.append:
    #   Check first: do the new tokens fit into the cache?
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from . import percent
from .magics import contains_command
from .syntax import syntax_tree

PACKAGE, WORKSPACE = "tinytorch", "workspace"


class LessonError(Exception):
    """A lesson does not exist, or its source is invalid."""


@dataclass(frozen=True)
class Cell:
    """A cell of the source.

    Attributes:
        kind: "markdown", "instructor", "setup", "given", "exercise", "test" or "code".
        source: its text.
        exercise: number of the exercise, "12.1", for an exercise, its test, or what it is given.
        points: points for passing.
    """

    kind: str
    source: str
    exercise: str = ""
    points: int = 0


@dataclass(frozen=True)
class Definition:
    """A function, class or constant at the top level of a source text.

    Attributes:
        name: its name.
        node: its syntax tree.
        start, stop: its lines, from 0, including decorators and excluding `stop`.
    """

    name: str
    node: ast.stmt
    start: int
    stop: int


@dataclass(frozen=True)
class Exercise:
    """An exercise.

    Attributes:
        number: "12.1".
        module: the module that defines it, "tinytorch.attention".
        names: the names imported from the module.
        hints: hints for the student, by function or "Class.method".
    """

    number: str
    module: str
    names: tuple[str, ...]
    hints: dict[str, list[str]]


class Lesson:
    """One lesson of a checkout.

    Args:
        source: path of its `name_dev.py`.
        root: the checkout, which contains the package.
    """

    def __init__(self, source: Path, root: Path) -> None:
        self.source, self.root = source, root
        self.name = source.name.removesuffix("_dev.py")

    @cached_property
    def number(self) -> int:
        """The number: 12 if the folder is 12_attention, or else if an exercise is 12.1.

        A released lesson may be in a folder of any name.
        """
        digits = self.source.parent.name.removesuffix(f"_{self.name}")
        if not _is_number(digits):
            digits = next((c.exercise for c in self.cells if c.exercise), "").partition(".")[0]
        if not _is_number(digits):
            raise LessonError(f"{self.source.name} has no exercise with a number such as 12.1")
        return int(digits)

    @property
    def folder(self) -> str:
        """The name of its folder in a checkout, "12_attention"."""
        return f"{self.number:02}_{self.name}"

    @cached_property
    def title(self) -> str:
        """The title in its first heading, "Attention"; else its name."""
        heading = re.search(r"^# Lesson \d+: (.+)$", self.cells[0].source, flags=re.M)
        return heading[1] if heading else self.name

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells, in order.

        Raises:
            LessonError: the source cannot be read, has no exercises, or gives code to an exercise
                that it does not have.
        """
        try:
            found = percent.read(self.source.read_text(encoding="utf-8"))
        except ValueError as error:
            raise LessonError(f"{self.source.name} cannot be read: {_first_line(error)}") from None
        cells = [self._cell(cell.type, cell.source, cell.metadata) for cell in found]
        numbers = {cell.exercise for cell in cells if cell.kind == "exercise"}
        if not numbers:
            raise LessonError(f"{self.source.name} contains no exercises")
        for cell in cells:
            if cell.kind == "given" and cell.exercise not in numbers:
                raise LessonError(f"{self.source.name} has no exercise {cell.exercise}, only given")
        return cells

    def _cell(self, kind: str, source: str, metadata: dict[str, object]) -> Cell:
        points = metadata.get("points", 0)
        if not isinstance(points, int):
            raise LessonError(f"{self.source.name}: points must be a number, not {points!r:.60}")
        if kind == "markdown":
            return Cell("instructor" if metadata.get("instructor") else "markdown", source)
        if metadata.get("setup"):
            return Cell("setup", source)
        for name in ("given", "exercise", "test"):
            if name in metadata:
                return Cell(name, source, str(metadata[name]), points)
        return Cell("code", source)

    @cached_property
    def exercises(self) -> list[Exercise]:
        """The exercises, in order."""
        return [self.exercise(cell) for cell in self.cells if cell.kind == "exercise"]

    def exercise(self, cell: Cell) -> Exercise:
        """Parse the import and the hints of the cell of an exercise, or of what it is given.

        Raises:
            LessonError: the cell is not one import from the package, or has hints for a name
                that is not imported.
        """
        where = f"{self.source.name}, exercise {cell.exercise}"
        body = parsed(cell.source, where).body
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
        """Return the file of a module, such as "tinytorch.attention".

        It is the installed package's for a released lesson, whose folder contains no package.
        """
        root = self.root if (self.root / PACKAGE).is_dir() else Path(__file__).resolve().parents[2]
        return root.joinpath(*module.split(".")).with_suffix(".py")

    @property
    def backups(self) -> Path:
        """The folder with the package's files as they were before the lesson's first export."""
        return self.root / WORKSPACE / ".backup" / self.folder

    def original(self, module: str) -> str:
        """Return the text of a module as it was before the lesson's first export."""
        path = self.module_path(module)
        backup = self.backups.joinpath(*module.split(".")).with_suffix(".py")
        return read_module(backup if backup.exists() else path)

    def for_students(self) -> str:
        """Return the text of the source without the cells for instructors."""
        cells = re.split(r"^(?=# %%)", self.source.read_text(encoding="utf-8"), flags=re.M)
        return "".join(c for c in cells if not re.match(r"# %%.*\binstructor=true", c))

    def code(self, cell: Cell) -> str:
        """Return the source of a code cell in the notebook with solutions."""
        return self.solution(cell) if cell.kind in ("given", "exercise") else cell.source

    def given(self, number: str) -> tuple[list[Cell], list[Cell]]:
        """Return what an exercise is given: the cells before it, and those after it."""
        cells = [c for c in self.cells if c.exercise == number and c.kind in ("given", "exercise")]
        index = next(i for i, c in enumerate(cells) if c.kind == "exercise")
        return cells[:index], [c for c in cells[index:] if c.kind == "given"]

    def solution(self, cell: Cell) -> str:
        """Return the package's definitions of an exercise, in the order of the module."""
        exercise = self.exercise(cell)
        return _join(lines for _, lines in self._parts(exercise))

    def blank(self, cell: Cell) -> str:
        """Return the solution with blank bodies for all functions and methods with hints."""
        return self._with_bodies(cell, _blank_body)

    def unwritten(self, cell: Cell) -> str:
        """Return the solution as in a course folder: blank without hints.

        The error names the lesson, since a program may use the function without a notebook.
        """

        def body(name: str, number: str, indent: str, lines: list[str]) -> list[str]:
            text = f"exercise {number} of lesson {self.number}, {self.name}: {name} is blank"
            return [f'{indent}raise NotImplementedError("{text}")']

        return self._with_bodies(cell, body, hints=False)

    def marked(self, cell: Cell) -> str:
        """Return the solution with hints, and nbgrader's markers around the bodies after them.

        `nbgrader generate_assignment` replaces the lines between the markers by a blank.
        """
        return self._with_bodies(cell, _marked_body)

    def _with_bodies(
        self, cell: Cell, new_body: Callable[..., list[str]], hints: bool = True
    ) -> str:
        """Return the solution with other bodies, after the hints, for what the student writes."""
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
                    indent = " " * function.body[0].col_offset
                    comments = [f"{indent}# {line}".rstrip() for line in exercise.hints[name]]
                    body = new_body(name, exercise.number, indent, lines[start:stop])
                    lines[start:stop] = comments + body if hints else body
        if wanted - done:
            missing = ", ".join(sorted(wanted - done))
            raise LessonError(f"exercise {exercise.number}: {exercise.module} has no {missing}")
        return _join(parts)

    def _parts(self, exercise: Exercise) -> Iterator[tuple[Definition, list[str]]]:
        """Yield each of the exercise's definitions with its lines."""
        lines = lines_of(self.original(exercise.module))
        found = definitions("\n".join(lines))
        for name in exercise.names:
            if name not in found:
                raise LessonError(f"exercise {exercise.number}: {exercise.module} has no {name}")
        for name, definition in found.items():
            if name in exercise.names:
                yield definition, lines[definition.start : definition.stop]


def find_root(start: Path | None = None) -> Path:
    """Return the checkout that contains `start`, or the one from which the package is installed.

    Args:
        start: a folder; by default the current one.

    Raises:
        LessonError: there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "notebooks").is_dir() and (folder / PACKAGE / "__init__.py").is_file():
            return folder
    raise LessonError(
        "no checkout of TinyTorch here: change to the folder that you cloned, or install it from"
        ' there with pip install -e ".[lessons]"'
    )


def lessons(root: Path) -> list[int]:
    """Return the numbers of all lessons of a checkout."""
    return sorted(int(source.parent.name.split("_")[0]) for source in _sources(root))


def load(number: int, root: Path) -> Lesson:
    """Return the lesson with this number.

    Raises:
        LessonError: there is none; the message lists the numbers.
    """
    for source in _sources(root):
        if int(source.parent.name.split("_")[0]) == number:
            return Lesson(source, root)
    known = ", ".join(map(str, lessons(root))) or "none"
    raise LessonError(f"there is no lesson {number}; choose from {known}")


def _sources(root: Path) -> list[Path]:
    folders = sorted((root / "notebooks").glob("[0-9][0-9]_*"))
    sources = [folder / f"{folder.name.split('_', 1)[1]}_dev.py" for folder in folders]
    return [source for source in sources if source.is_file()]


def read_module(path: Path) -> str:
    """Read a file of the package.

    Raises:
        LessonError: it cannot be read, or does not parse.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise LessonError(f"{path} cannot be read: {_first_line(error)}") from None
    parsed(text, str(path))
    return text


def parsed(source: str, where: str) -> ast.Module:
    """Return the syntax tree of a source text.

    Args:
        source: the text.
        where: what it is, for the message.

    Raises:
        LessonError: it does not parse; the message contains the line.
    """
    try:
        return syntax_tree(source)
    except SyntaxError as error:
        line = (error.text or "").strip()[:100]
        advice = " (move commands of IPython to another cell)" if contains_command(line) else ""
        raise LessonError(
            f"{where} does not parse: {error.msg}, line {error.lineno}: {line}{advice}"
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise LessonError(f"{where} does not parse: {_first_line(error)}") from None


def lines_of(source: str) -> list[str]:
    """Return the lines of a source text as Python counts them.

    `str.splitlines` would also split it at form feeds and at U+2028, for example.
    """
    return source.removesuffix("\n").split("\n")


def definitions(source: str) -> dict[str, Definition]:
    """Return the functions, classes and constants at the top level of a source text, in order."""
    found = {}
    for node in syntax_tree(source).body:
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(d.lineno for d in decorators)]) - 1
        for name in _bound_names(node):
            found[name] = Definition(name, node, start, node.end_lineno or node.lineno)
    return found


def replaced(module: str, source: str) -> str:
    """Return the text of a module with the definitions of another text in their places."""
    lines, new_lines = lines_of(module), lines_of(source)
    theirs = definitions(module)
    edits = [
        (theirs[name].start, theirs[name].stop, new_lines[d.start : d.stop])
        for name, d in definitions(source).items()
        if name in theirs
    ]
    for start, stop, text in sorted(edits, reverse=True):  # from the end: lines stay valid
        lines[start:stop] = text
    return "\n".join(lines) + "\n"


def functions(definition: Definition) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the function itself, or the methods of a class as "Class.method"."""
    if isinstance(definition.node, ast.FunctionDef):
        yield definition.name, definition.node
    elif isinstance(definition.node, ast.ClassDef):
        for node in definition.node.body:
            if isinstance(node, ast.FunctionDef):
                yield f"{definition.name}.{node.name}", node


def _bound_names(node: ast.stmt) -> list[str]:
    """Return the names that a definition binds; none for imports and other statements."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _first_line(error: BaseException) -> str:
    """Return the type of an error and the first line of its message."""
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:300]


def _hints(source: str) -> dict[str, list[str]]:
    """Parse the comments after the import: a heading `# name:`, then lines of hints."""
    hints: dict[str, list[str]] = {}
    for line in source.splitlines():
        text = line.removeprefix("#")
        if line.startswith("# ") and not line.startswith("#  ") and line.endswith(":"):
            hints[text[1:-1]] = []
        elif line.startswith("#") and hints:
            hints[next(reversed(hints))].append(text.removeprefix("  ").strip())
    return hints


def _body(function: ast.FunctionDef, lines: list[str], offset: int) -> tuple[int, int]:
    """Return the range of lines of a function's body, excluding its docstring."""
    first, end = function.body[0], (function.end_lineno or 0) - offset
    if ast.get_docstring(function) is not None:
        return (first.end_lineno or 0) - offset, end
    start = first.lineno - 1 - offset
    while lines[start - 1].strip().startswith("#"):
        start -= 1
    return start, end


def _blank_body(name: str, number: str, indent: str, body: list[str]) -> list[str]:
    blank = f'{indent}raise NotImplementedError("exercise {number}: {name}")'
    return [f"{indent}# YOUR CODE HERE", blank]


def _marked_body(name: str, number: str, indent: str, body: list[str]) -> list[str]:
    return [f"{indent}### BEGIN SOLUTION", *body, f"{indent}### END SOLUTION"]


def _join(parts: Iterator[list[str]] | list[list[str]]) -> str:
    """Join definitions, with two empty lines around functions and classes."""
    text = ""
    for lines in parts:
        after_constant = text and not text.rstrip("\n").splitlines()[-1].startswith(
            (" ", "@", "def", "class")
        )
        constant = not lines[0].startswith(("@", "def ", "class "))
        text += "" if not text else "\n" if after_constant and constant else "\n\n\n"
        text += "\n".join(lines)
    return text
