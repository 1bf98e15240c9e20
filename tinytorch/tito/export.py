"""Export: replace the package's definitions with those of a student's notebook."""

import ast
import builtins
import copy
import shutil
import symtable
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from ..serialization.atomic import write_atomically
from . import notebook as notebooks
from .lesson import (
    PACKAGE,
    WORKSPACE,
    Definition,
    Exercise,
    Lesson,
    LessonError,
    definitions,
    functions,
    lines_of,
    parsed,
    read_module,
)
from .package import ImportProblem, copy_package, import_problem
from .syntax import syntax_tree


class ExportError(Exception):
    """A notebook cannot be exported, or an export cannot be undone; nothing was changed."""


def export(lesson: Lesson, notebook: Path) -> list[str]:
    """Write the definitions of a notebook's exercises into the package.

    Functions and classes that the student has added to an exercise's cell are inserted before the
    exercise, and constants that they use. A module they need is imported as in the notebook.
    Anything else in the cell, such as a call of print, is ignored. The package is first imported
    with the new code, in a copy and in another process. The files are backed up before a lesson's
    first export, so that `reset` can restore them.

    Args:
        lesson: the lesson.
        notebook: the student's notebook.

    Returns:
        The changed definitions, as "tinytorch/attention.py: create_causal_mask".

    Raises:
        ExportError: a cell is missing, does not parse, is still blank, changes a signature, uses a
            name that is not defined in the package's module, gives another meaning to a name
            of that module, or breaks the import of the package.
    """
    try:
        texts, written = _new_texts(lesson, notebook)
    except SyntaxError as error:  # found by the compiler, though the code parses
        raise ExportError(f"a cell does not compile: {error.msg}, line {error.lineno}") from None
    except (RecursionError, MemoryError):
        raise ExportError("the code of the notebook is nested too deeply") from None
    if texts:
        _check_import(lesson, texts)
        _replace(lesson, texts)
    return written


def _new_texts(lesson: Lesson, notebook: Path) -> tuple[dict[Path, str], list[str]]:
    """Return the files of the package that an export changes, and the changed definitions."""
    sources = _sources(lesson, notebook)
    names = {name for exercise in lesson.exercises for name in exercise.names}
    texts: dict[Path, str] = {}
    written = []
    for exercise in lesson.exercises:
        path = lesson.module_path(exercise.module)
        before = texts.get(path) or read_module(path)
        original = lesson.original(exercise.module)
        texts[path] = insert(exercise, before, sources[exercise.number], original, names)
        file = path.relative_to(lesson.root).as_posix()
        written += [f"{file}: {name}" for name in _changed(before, texts[path])]
    known = notebook_imports(lesson) | imports_of(sources.values())
    for path in texts:
        texts[path], added = add_imports(texts[path], known)
        written += [f"{path.relative_to(lesson.root).as_posix()}: {line}" for line in added]
        check_names(path, texts[path])
    return {path: text for path, text in texts.items() if text != read_module(path)}, written


def reset(lesson: Lesson) -> list[str]:
    """Restore the files as they were before the lesson's first export, and return their names.

    Raises:
        ExportError: another lesson was exported to the same file later; reset that one first.
    """
    backups = sorted(lesson.backups.rglob("*.py"))
    files = [backup.relative_to(lesson.backups) for backup in backups]
    for backup, file in zip(backups, files, strict=True):
        for other in lesson.backups.parent.glob(f"*/{file.as_posix()}"):
            if other.stat().st_mtime_ns > backup.stat().st_mtime_ns:
                later = other.relative_to(lesson.backups.parent).parts[0]
                raise ExportError(
                    f"{file.as_posix()} also contains {later}: reset that lesson first"
                )
    for backup, file in zip(backups, files, strict=True):
        write_atomically(lesson.root / file, backup.read_bytes())
    if lesson.backups.is_dir():
        shutil.rmtree(lesson.backups)
    return [file.as_posix() for file in files]


def is_exported(lesson: Lesson) -> bool:
    """Return whether this lesson is exported to the package."""
    return any(lesson.backups.rglob("*.py"))


def _sources(lesson: Lesson, notebook: Path) -> dict[str, str]:
    """Return the code of each exercise."""
    try:
        cells = notebooks.read(notebook)
    except (OSError, ValueError) as error:
        raise ExportError(str(error)) from None
    found = notebooks.exercise_cells(cells, lesson.exercises)
    for number, own in found.items():
        if not own:
            raise ExportError(f"exercise {number}: {notebooks.no_cell(cells, number)}")
    return {number: notebooks.source_of(own) for number, own in found.items()}


def _check_import(lesson: Lesson, texts: dict[Path, str]) -> None:
    """Import a copy of the package that contains the new texts."""
    with tempfile.TemporaryDirectory(prefix="tito") as folder:
        scratch = Path(folder).resolve()
        copy_package(lesson.root, scratch)
        for path, text in texts.items():
            (scratch / path.relative_to(lesson.root)).write_text(text, encoding="utf-8")
        problem = import_problem(scratch, {exercise.module for exercise in lesson.exercises})
    if problem is not None:
        changed = {path.relative_to(lesson.root).as_posix() for path in texts}
        advice = "" if problem.file in changed else repair_advice(lesson.root, problem)
        advice = f" ({advice})" if advice else ""
        raise ExportError(f"with your code, the package cannot be imported: {problem}{advice}")


def repair_advice(root: Path, problem: ImportProblem) -> str:
    """Return how to repair the package of a checkout, which cannot be imported."""
    backups = root / WORKSPACE / ".backup"
    exported = sorted(folder.name for folder in backups.glob("*_*") if folder.is_dir())
    culprits = [
        name for name in exported if problem.file and (backups / name / problem.file).exists()
    ]
    numbers = [name.partition("_")[0] for name in culprits[::-1] or exported[::-1]]
    if numbers:
        return " and ".join(f"tito reset {number}" for number in numbers) + " restores it"
    if problem.file and (root / ".git").exists():
        return f"git checkout -- {problem.file} restores the committed file"
    return ""


def insert(exercise: Exercise, module: str, cell: str, original: str, exercises: set[str]) -> str:
    """Return the module's text with the definitions of an exercise's cell inserted.

    Args:
        exercise: the exercise.
        module: the module's text.
        cell: the student's code.
        original: the module's text before the first export.
        exercises: names of all exercises; others than this one's are left out, which are in the
            cell if cells were merged.

    Raises:
        ExportError: the cell does not parse, is blank, changes a signature, or gives a name of the
            module another meaning.
    """
    where = f"exercise {exercise.number}"
    try:
        parsed(cell, where)
    except LessonError as error:
        raise ExportError(str(error)) from None
    mine, theirs = definitions(cell), definitions(module)
    _check_written(where, exercise, mine, theirs)
    _check_new_meanings(where, exercise.module, cell, original, exercises)
    texts = _texts(exercise, cell, mine, exercises)
    first = min(theirs[name].start for name in exercise.names)
    new = [[*text, "", ""] for name, text in texts.items() if name not in theirs]
    edits = [(theirs[n].start, theirs[n].stop, text) for n, text in texts.items() if n in theirs]
    edits.append((first, first, list(chain(*new))))
    lines = lines_of(module)
    for start, stop, text in sorted(edits, reverse=True):  # from the end, so that lines stay valid
        lines[start:stop] = text
    return "\n".join(lines) + "\n"


def _check_written(
    where: str, exercise: Exercise, mine: dict[str, Definition], theirs: dict[str, Definition]
) -> None:
    """Check that a cell defines all of an exercise, with the same signatures and no blank."""
    for name in exercise.names:
        if name not in theirs:
            raise ExportError(f"{where}: {exercise.module} has no {name}")
        if name not in mine:
            raise ExportError(f"{where}: {name} is not defined")
        _check_same_signature(where, mine[name], theirs[name])
    for name in exercise.names:
        if is_blank(mine[name]):
            raise ExportError(f"{where}: {name} is still blank")


def _texts(
    exercise: Exercise, cell: str, mine: dict[str, Definition], exercises: set[str]
) -> dict[str, list[str]]:
    """Return the lines of what is exported: the exercise, helpers, and constants that they use."""
    helpers = {
        name
        for name, definition in mine.items()
        if name not in exercises
        and isinstance(definition.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    constants = _constants(mine, {*exercise.names, *helpers}) - exercises
    lines = lines_of(cell)
    chosen = [*exercise.names, *(name for name in mine if name in constants | helpers)]
    texts = {name: _lines(lines, mine[name]) for name in chosen}
    for name in constants:  # without another statement of the line
        texts[name] = lines_of(ast.get_source_segment(cell, mine[name].node) or "")
    return texts


def _constants(mine: dict[str, Definition], users: set[str]) -> set[str]:
    """Return the constants of a cell that the definitions `users` refer to, also indirectly.

    A constant's value is computed without a call: numbers, text, collections of them.
    """
    simple = {name for name, definition in mine.items() if is_constant(definition.node)}
    found: set[str] = set()
    nodes = [mine[name].node for name in users]
    while nodes:
        names = {node.id for node in ast.walk(nodes.pop()) if isinstance(node, ast.Name)}
        nodes += [mine[name].node for name in names & simple - found - users]
        found |= names & simple - users
    return found


def is_constant(node: ast.stmt) -> bool:
    match node:
        case ast.Assign(targets=[ast.Name()], value=value):
            pass
        case ast.AnnAssign(target=ast.Name(), value=ast.expr() as value):
            pass
        case _:
            return False
    return all(
        isinstance(
            part,
            ast.Constant | ast.UnaryOp | ast.BinOp | ast.Tuple | ast.List | ast.Set | ast.Dict
            | ast.Name | ast.Attribute | ast.operator | ast.unaryop | ast.expr_context,
        )
        for part in ast.walk(value)
    )  # fmt: skip


def _check_new_meanings(
    where: str, module: str, cell: str, original: str, exercises: set[str]
) -> None:
    """Check that a cell gives no other meaning to a name that the module uses.

    It would have that meaning in the whole module (a function), or not in the module, though in the
    notebook (an import or a variable).
    """
    mine, known = definitions(cell), _origins(original)
    for name, origin in _origins(cell).items():
        differs = name in known and (name in mine or origin != known[name])
        if differs and name not in exercises:
            raise ExportError(
                f"{where}: {name} has another meaning in {module}; choose another name"
            )
    for name, definition in mine.items():
        if hasattr(builtins, name) and not isinstance(definition.node, ast.Assign | ast.AnnAssign):
            raise ExportError(f"{where}: {name} is a function of Python; choose another name")


def _origins(source: str) -> dict[str, str]:
    """Return the package that each global name of a module of the package comes from.

    The types of `typing` and of `collections` count as equal.
    """
    found = dict.fromkeys(definitions(source), PACKAGE)
    for name, line in imports_of([source]).items():
        package = line.split()[1].partition(".")[0] or PACKAGE  # of "from .ops import random"
        found[name] = "typing" if package == "collections" else package
    return found


def _lines(lines: list[str], definition: Definition) -> list[str]:
    return lines[definition.start : definition.stop]


def _changed(before: str, after: str) -> Iterator[str]:
    old, new = lines_of(before), lines_of(after)
    was, now = definitions(before), definitions(after)
    for name, definition in now.items():
        if name not in was or _lines(new, definition) != _lines(old, was[name]):
            yield name


def _check_same_signature(where: str, mine: Definition, theirs: Definition) -> None:
    """Check that parameters, defaults, decorators, base classes and methods are unchanged."""
    if type(mine.node) is not type(theirs.node):
        own, wanted = _kind(mine.node), _kind(theirs.node)
        raise ExportError(f"{where}: {mine.name} must be a {wanted}, not a {own}")
    _check_same(where, mine.name, mine.node, theirs.node)
    have, want = dict(functions(mine)), dict(functions(theirs))
    for name, function in want.items():
        if name not in have:
            raise ExportError(f"{where}: {name} is not defined")
        _check_same(where, name, have[name], function)
        if any(_unparsed([d]).endswith(".gradient") for d in function.decorator_list):
            continue  # its parameters are what the op of the same cell has saved
        own, wanted = _signature(have[name]), _signature(function)
        if own != wanted:
            raise ExportError(f"{where}: {name}{own} must have the signature {name}{wanted}")


def _check_same(where: str, name: str, mine: ast.stmt, theirs: ast.stmt) -> None:
    for kind, what in (("decorator_list", "decorators"), ("bases", "base classes")):
        own, wanted = (_unparsed(getattr(node, kind, [])) for node in (mine, theirs))
        if own != wanted:
            raise ExportError(f"{where}: the {what} of {name} must be {wanted}, not {own}")


def _kind(node: ast.stmt) -> str:
    names = {
        ast.FunctionDef: "function", ast.AsyncFunctionDef: "coroutine", ast.ClassDef: "class",
    }  # fmt: skip
    return names.get(type(node), "constant")


def _unparsed(nodes: list[ast.expr]) -> str:
    return ", ".join(ast.unparse(node) for node in nodes) or "none"


def _signature(function: ast.FunctionDef) -> str:
    """Return parameters and defaults, without annotations, which a student may omit."""
    arguments = copy.deepcopy(function.args)
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return f"({ast.unparse(arguments)})"


def is_blank(definition: Definition) -> bool:
    """Whether a definition contains the blank of `tito start`, or a body ends with nbgrader's."""
    for node in ast.walk(definition.node):
        match node:
            case ast.Raise(
                exc=ast.Call(func=ast.Name(id="NotImplementedError"), args=[ast.Constant(value)])
            ) if str(value).startswith("exercise "):
                return True
            case ast.FunctionDef(
                body=[
                    *_,
                    ast.Raise(exc=ast.Call(func=ast.Name(id="NotImplementedError"), args=[])),
                ]
            ):
                return True
    return False


def notebook_imports(lesson: Lesson) -> dict[str, str]:
    """Return the import statement behind each name that the cells of a notebook can use.

    In the notebook, the imports of exercises and given cells are replaced by what they import.
    """
    kinds = ("setup", "given", "exercise")
    return imports_of(cell.source for cell in lesson.cells if cell.kind in kinds)


def imports_of(sources: Iterable[str]) -> dict[str, str]:
    """Return the import statement of each name that is imported at the top level of cells."""
    found = {}
    for node in (node for source in sources for node in _statements(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                single: ast.stmt = ast.Import([alias])
                if isinstance(node, ast.ImportFrom):
                    single = ast.ImportFrom(node.module, [alias], node.level)
                found[alias.asname or alias.name.partition(".")[0]] = ast.unparse(single)
    return found


def _statements(source: str) -> list[ast.stmt]:
    """Return the statements of a cell; none if it does not parse, as with IPython's magics."""
    try:
        return syntax_tree(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def add_imports(text: str, known: dict[str, str]) -> tuple[str, list[str]]:
    """Import the undefined names of a module as in the notebook; return text and new lines."""
    missing = dict.fromkeys(name for _, name in _undefined(text))
    added = [known[name] for name in missing if name in known]
    body, end = syntax_tree(text).body, 0
    for node in body[ast.get_docstring(syntax_tree(text)) is not None :]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            end = node.end_lineno or 0
    if not end and body:
        end = (body[0].end_lineno or 0) if isinstance(body[0], ast.Expr) else 0
    lines = lines_of(text)
    lines[end:end] = added
    return "\n".join(lines) + "\n", added


def check_names(path: Path, text: str) -> None:
    """Check that every global name used in the module is defined in it."""
    for user, name in _undefined(text):
        found = (n for n in ast.walk(syntax_tree(text)) if isinstance(n, ast.Name) and n.id == name)
        node = next(found, None)  # None if Python has changed the name, as __x in a class
        line = f", in: {lines_of(text)[node.lineno - 1].strip():.100}" if node else ""
        raise ExportError(
            f"{user or path.name} uses {name}, which is not defined in {path.name}{line}"
            " (only functions, classes, imports and simple constants of the exercise's cell are"
            " exported with it: define it there, or compute it within the function)"
        )


def _undefined(text: str) -> Iterator[tuple[str, str]]:
    """Yield the names that a module uses without defining them, after the name of their user.

    The user is a function or class; "" for annotations, defaults, decorators and base classes.
    """
    table = symtable.symtable(text, "module", "exec")
    known = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    known |= {child.get_name() for child in table.get_children()}
    known |= set(dir(builtins))
    used = [("", s.get_name()) for s in table.get_symbols() if s.is_referenced()]
    for user, name in [*_globals(table), *used]:
        if name not in known and not (name.startswith("__") and name.endswith("__")):
            yield user, name


def _globals(table: symtable.SymbolTable) -> Iterator[tuple[str, str]]:
    for child in table.get_children():
        for symbol in child.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                yield child.get_name(), symbol.get_name()
        yield from _globals(child)


def _replace(lesson: Lesson, texts: dict[Path, str]) -> None:
    """Back up and write files; if one cannot be written, none is changed."""
    before = {path: path.read_bytes() for path in texts}
    first, done = not is_exported(lesson), []
    try:
        for path, text in texts.items():
            _back_up(lesson, path, before[path])
            newline = "\r\n" if b"\r\n" in before[path] else "\n"
            write_atomically(path, text.replace("\n", newline).encode())
            done.append(path)
    except BaseException:
        for path in done:
            write_atomically(path, before[path])
        if first:
            shutil.rmtree(lesson.backups, ignore_errors=True)
        raise


def _back_up(lesson: Lesson, path: Path, before: bytes) -> None:
    """Back up a file before the first export, given the bytes that were read from it.

    They were read before looking for a backup: another export running at the same time, which
    makes a backup before it writes the file, cannot pass off its own code as the original.
    """
    backup = lesson.backups / path.relative_to(lesson.root)
    if not backup.exists():
        backup.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(backup, before)
