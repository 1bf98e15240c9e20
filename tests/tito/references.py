"""What lessons refer to: other lessons, exercises, files, commands, names of the package.

    python tests/tito/references.py             # of all lessons
    python tests/tito/references.py 12          # of one

prints references to what does not exist, and uses of what a later lesson builds.
"""

import ast
import builtins
import importlib
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import typer.main  # noqa: E402

from tinytorch.tito import milestones  # noqa: E402
from tinytorch.tito.cli import app  # noqa: E402
from tinytorch.tito.lesson import Cell, Lesson, definitions, lessons, load  # noqa: E402
from tinytorch.tito.magics import without_commands  # noqa: E402

NUMBERS = r"(\d+(?:\.\d+)?(?:(?:,\s+and|,|\s+and|\s+to|\s+or)\s+\d+(?:\.\d+)?)*)"
PROSE = ("markdown", "instructor")  # kinds of cells
# Words before "lesson 7" that say that the student has done it.
DONE = r"(as in|from|since|(?:built|wrote|learned|seen|saw|met|used|drew) \w*\s*in)\s+(?:the\s+)?$"
# Names of libraries that need not be installed.
OF_OTHERS = {
    "tiktoken.get_encoding", "ByteLevelBPETokenizer", "train_from_iterator", "add_special_tokens",
    "embedding_dense_backward", "RotaryPositionalEmbeddings", "DynamicCache", "GPT2LMHeadModel",
    "GroupShuffleSplit", "StandardScaler", "Normalize",
}  # fmt: skip
# Classes that earlier lessons use without the methods that a lesson writes.
USED_BEFORE = {"Module", "Parameter"}
ATTRIBUTE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


class Course:
    """The lessons that there are, and the names that their text may use."""

    def __init__(self, own: Iterable[Lesson]) -> None:
        self.lessons = {lesson.number: lesson for lesson in own}

    def problems(self, lesson: Lesson) -> Iterator[str]:
        """Yield what is wrong with the references of a lesson, with the place."""
        for cell, text in texts(lesson):
            for problem in (
                *self.lessons_in(lesson, text),
                *self.exercises_in(text),
                *links_in(lesson, text),
                *commands_in(self, text),
                *names_in(lesson, text),
            ):
                yield f"lesson {lesson.number}, {place(cell)}: {problem}"
        for cell in lesson.cells:
            if cell.kind not in PROSE:
                for problem in self.uses_in(lesson, lesson.code(cell)):
                    yield f"lesson {lesson.number}, {place(cell)}: {problem}"

    def lessons_in(self, lesson: Lesson, text: str) -> Iterator[str]:
        """Lessons that do not exist, and later ones of which the text says that they are done."""
        for found in re.finditer(rf"\b[Ll]essons?\s+{NUMBERS}", text):
            for number in expanded(found[1]):
                if "." in number:
                    continue
                n = int(number)
                if n not in self.lessons:
                    yield f"there is no lesson {n}: {shown(text, found)}"
                elif n > lesson.number and is_done(text[: found.start()], text[found.end() :]):
                    yield f"lesson {n} comes later: {shown(text, found)}"

    def exercises_in(self, text: str) -> Iterator[str]:
        """Exercises that do not exist."""
        known = {e.number for lesson in self.lessons.values() for e in lesson.exercises}
        for found in re.finditer(rf"\b[Ee]xercises?\s+{NUMBERS}", text):
            for number in expanded(found[1]):
                if number not in known:
                    yield f"there is no exercise {number}: {shown(text, found)}"

    def uses_in(self, lesson: Lesson, source: str) -> Iterator[str]:
        """Uses in code of what the exercises of later lessons write."""
        later = self.later(lesson)
        for node in ast.walk(ast.parse(without_commands(source))):
            for name in sorted(later.keys() & set(package_names_in(node))):
                text = ast.unparse(node)
                yield f"{name} is exercise {later[name]}, which comes later: {text}"

    @cache  # noqa: B019
    def later(self, lesson: Lesson) -> dict[str, str]:
        """What the exercises of later lessons write: "name" of a function or class, and ".name" of
        a method that no other class has."""
        found: dict[str, str] = {}
        for other in self.lessons.values():
            for exercise in other.exercises if other.number > lesson.number else ():
                for name in exercise.hints:
                    owner, _, method = name.partition(".")
                    if owner not in USED_BEFORE:
                        found.setdefault(owner, exercise.number)
                    if method in unique_methods():
                        found.setdefault(f".{method}", exercise.number)
        return found


def package_names_in(node: ast.AST) -> list[str]:
    """Return the names of the package that a node uses, and attributes as ".name"."""
    match node:
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "tinytorch":
            return [alias.name for alias in node.names]
        case ast.Attribute(value=ast.Name(id="tinytorch" | "nn" | "F")):
            return [node.attr]
        case ast.Attribute():
            return [f".{node.attr}"]
    return []


def texts(lesson: Lesson) -> Iterator[tuple[Cell, str]]:
    """Yield the prose of a lesson: markdown, and the comments and hints of code."""
    for cell in lesson.cells:
        if cell.kind in PROSE:
            yield cell, cell.source
        else:
            yield cell, comments(cell.source)


def is_done(before: str, after: str) -> bool:
    """Whether the words around "lesson 7" say that the student has done it."""
    return bool(re.search(DONE, before)) and not re.match(r"\s+on\b", after)


def comments(source: str) -> str:
    """Return the comments of a source text, and its strings, without the rest."""
    kept = []
    for token in tokenize.generate_tokens(io.StringIO(without_commands(source)).readline):
        if token.type == tokenize.COMMENT:
            kept.append(token.string.lstrip("#").strip())
        elif token.type == tokenize.STRING:
            kept.append(token.string)
    return "\n".join(kept)


def place(cell: Cell) -> str:
    """Return where a cell is: its exercise, or its first words."""
    first = next((line for line in cell.source.split("\n") if line.strip("# ")), "")
    return f"{cell.kind} {cell.exercise}" if cell.exercise else f"{cell.kind} {first[:40]!r}"


def shown(text: str, found: re.Match[str]) -> str:
    """Return the words around a match."""
    return repr(" ".join(text[max(0, found.start() - 40) : found.end() + 30].split()))


def expanded(numbers: str) -> list[str]:
    """Return the numbers of a list: "1, 2 and 4", "01 to 03", "4.4 to 4.7"."""
    found: list[str] = []
    for part in re.split(r",\s+and\s+|,\s+|\s+and\s+|\s+or\s+", numbers):
        first, *last = re.split(r"\s+to\s+", part)
        prefix, _, digits = first.rpartition(".")
        stop = int(last[0].rpartition(".")[2]) if last else int(digits)
        found += [f"{prefix}." * bool(prefix) + str(n) for n in range(int(digits), stop + 1)]
    return found


def links_in(lesson: Lesson, text: str) -> Iterator[str]:
    """Links and images that lead to no file."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path = target.partition("#")[0]
        if path and "://" not in path and not (lesson.source.parent / path).exists():
            yield f"there is no file {target}"


def commands_in(course: Course, text: str) -> Iterator[str]:
    """Commands of tito that do not exist, or have the number of no lesson."""
    known: Any = typer.main.get_command(app)
    for line in re.findall(r"(?m)(?:`|^[ $!%]*)tito ((?:[a-z]+[^\n`]*))", text):
        words = line.split("#")[0].split()
        command, *rest = words
        group = known.commands.get(command)
        if group is not None and getattr(group, "commands", None) and rest:
            command, *rest = rest
            group = group.commands.get(command)
        if group is None:
            yield f"there is no command tito {line}"
        elif words[:2] == ["milestone", "run"]:
            if rest and rest[0] not in milestones.names():
                yield f"there is no milestone {rest[0]}"
        elif rest and rest[0].isdecimal() and int(rest[0]) not in course.lessons:
            yield f"there is no lesson {rest[0]}: tito {line}"


def names_in(lesson: Lesson, text: str) -> Iterator[str]:
    """Names in backticks that nothing has."""
    for quoted in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text):
        if is_path(quoted):
            if not any((folder / quoted).exists() for folder in (ROOT, ROOT / "tinytorch")):
                yield f"there is no file `{quoted}`"
        elif is_name(quoted) and not exists(lesson, quoted.partition("(")[0]):
            yield f"nothing is called `{quoted}`"


def is_path(quoted: str) -> bool:
    """Whether a text in backticks is a path in the repository."""
    folders = ("tinytorch/", "backends/", "tests/", "docs/", "milestones/", "notebooks/", "ops/")
    return bool(re.fullmatch(r"[\w./-]+", quoted)) and (
        quoted.startswith(folders) or bool(re.fullmatch(r"[a-z_/]+\.(py|md|ipynb)", quoted))
    )


def is_name(quoted: str) -> bool:
    """Whether a text in backticks is a name or a call, and no variable such as `x` or `B`."""
    name = quoted.partition("(")[0]
    class_name = name[:1].isupper() and not name.isupper()
    marked = quoted != name or "." in name or "_" in name.strip("_") or class_name
    return marked and ATTRIBUTE.fullmatch(name) is not None


def exists(lesson: Lesson, name: str) -> bool:
    """Whether the package, Python, a library or the lesson's code has a dotted name."""
    first, *rest = name.split(".")
    if name in OF_OTHERS:
        return True
    if first in ("torch", "nn", "F", "np", "numpy", "tinytorch") and rest:
        return library_has(name)
    known = (identifiers(lesson), package_names(), vars(builtins), sys.stdlib_module_names)
    return all(any(part in names for names in known) for part in (first, *rest))


@cache
def library_has(name: str) -> bool:
    """Whether a library that is installed has a dotted name; True if it is not installed."""
    full = {"nn": "torch.nn", "F": "torch.nn.functional", "np": "numpy"}
    first, *rest = name.split(".")
    try:
        found: Any = importlib.import_module(full.get(first, first))
    except ImportError:
        return True
    for part in rest:
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(f"{found.__name__}.{part}")
            except (ImportError, AttributeError):
                return False
    return True


@cache
def identifiers(lesson: Lesson) -> frozenset[str]:
    """All names in the code of a lesson."""
    code = [lesson.code(c) for c in lesson.cells if c.kind not in PROSE]
    return frozenset(n for source in code for n in names_of(ast.parse(without_commands(source))))


@cache
def package_names() -> frozenset[str]:
    """All names that the package's code defines or uses."""
    files = [p for p in (ROOT / "tinytorch").rglob("*.py") if "cupy" not in p.parts]
    return frozenset(n for path in files for n in names_of(ast.parse(path.read_text("utf-8"))))


def names_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield from value.split(".")


@cache
def unique_methods() -> frozenset[str]:
    """Methods of lessons' classes whose names no other class of the package, of Python or of NumPy
    has."""
    import numpy as np

    owners: dict[str, set[str]] = {}
    files = [p for folder in ("tinytorch", "backends") for p in (ROOT / folder).rglob("*.py")]
    for path in files:
        for name, definition in definitions(path.read_text("utf-8")).items():
            if isinstance(definition.node, ast.ClassDef):
                for node in definition.node.body:
                    if isinstance(node, ast.FunctionDef):
                        owners.setdefault(node.name, set()).add(name)
    common = {n for t in (list, dict, set, str, int, float, np.ndarray) for n in dir(t)}
    return frozenset(name for name, own in owners.items() if len(own) == 1 and name not in common)


def main(arguments: list[str]) -> int:
    course = Course(load(number, ROOT) for number in lessons(ROOT))
    chosen = [n for n in course.lessons if not arguments or str(n) in arguments]
    found = [problem for n in chosen for problem in course.problems(course.lessons[n])]
    print("\n".join(found) or f"lessons {', '.join(map(str, chosen))}: all references are right")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
