"""Export: replace the package's definitions with those of a student's notebook."""

import ast
import builtins
import shutil
import symtable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..serialization.atomic import write_atomically
from .inline import read
from .lesson import Definition, Exercise, Lesson, definitions, functions

WORKSPACE = "workspace"


class ExportError(Exception):
    """A notebook cannot be exported, or an export cannot be undone; nothing was changed."""


def export(lesson: Lesson, notebook: Path) -> list[str]:
    """Write the definitions of a notebook's exercises into the package.

    Functions and classes that the student has added to an exercise's cell are inserted before the
    exercise. Anything else in the cell, such as a call of print, is ignored. The files are backed
    up before a lesson's first export, so that `reset` can restore them.

    Args:
        lesson: the lesson.
        notebook: the student's notebook.

    Returns:
        The changed definitions, as "tinytorch/attention.py: create_causal_mask".

    Raises:
        ExportError: a cell is missing, does not parse, is still blank, changes a signature, or
            uses a name that is not defined in the package's module.
    """
    sources = {m.metadata["tinytorch"]["exercise"]: m.source for m in _exercise_cells(notebook)}
    texts: dict[Path, str] = {}
    written = []
    for exercise in lesson.exercises:
        if exercise.number not in sources:
            raise ExportError(f"exercise {exercise.number}: the notebook has no cell for it")
        path = lesson.module_path(exercise.module)
        before = texts.get(path) or _read(path)
        texts[path] = _insert(exercise, before, sources[exercise.number], _original(lesson, path))
        file = path.relative_to(lesson.root).as_posix()
        written += [f"{file}: {name}" for name in _changed(exercise, before, texts[path])]
    for path, text in texts.items():
        _check_names(path, text)
    for path, text in texts.items():
        if text != _read(path):
            _back_up(lesson, path)
            _write(path, text)
    return written


def reset(lesson: Lesson) -> list[str]:
    """Restore the files as they were before the lesson's first export, and return their names.

    Raises:
        ExportError: another lesson was exported to the same file later; reset that one first.
    """
    backups = sorted(_backups(lesson).rglob("*.py"))
    files = [backup.relative_to(_backups(lesson)) for backup in backups]
    for backup, file in zip(backups, files, strict=True):
        for other in _backups(lesson).parent.glob(f"*/{file.as_posix()}"):
            if other.stat().st_mtime_ns > backup.stat().st_mtime_ns:
                later = other.relative_to(_backups(lesson).parent).parts[0]
                raise ExportError(
                    f"{file.as_posix()} also contains {later}: reset that lesson first"
                )
    for backup, file in zip(backups, files, strict=True):
        write_atomically(lesson.root / file, backup.read_bytes())
    if backups:
        shutil.rmtree(_backups(lesson))
    return [file.as_posix() for file in files]


def is_exported(lesson: Lesson) -> bool:
    """Return whether this lesson is exported to the package."""
    return _backups(lesson).is_dir()


def _exercise_cells(notebook: Path) -> list[Any]:
    try:
        cells = read(notebook).cells
    except (OSError, ValueError) as error:
        raise ExportError(str(error)) from None
    return [c for c in cells if c.metadata.get("tinytorch", {}).get("kind") == "exercise"]


def _insert(exercise: Exercise, module: str, cell: str, original: str) -> str:
    """Return the module's text with the definitions of the cell inserted."""
    where = f"exercise {exercise.number}"
    try:
        mine = definitions(cell)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise ExportError(
            f"{where} does not parse: {error.msg}, line {error.lineno}: {line}"
        ) from None
    theirs = definitions(module)
    for name in exercise.names:
        if name not in mine:
            raise ExportError(f"{where}: {name} is not defined")
        _check_same_signature(where, mine[name], theirs[name])
    _check_not_blank(where, mine)
    added = [
        name
        for name, definition in mine.items()
        if name not in exercise.names
        and isinstance(definition.node, ast.FunctionDef | ast.ClassDef)
    ]
    known = definitions(original)
    for name in added:
        if name in known:
            raise ExportError(
                f"{where}: {name} is already defined in {exercise.module}; choose another name"
            )
    lines, own = module.splitlines(), cell.splitlines()
    first = min(theirs[name].start for name in exercise.names)
    for name in sorted(
        [*exercise.names, *(set(added) & set(theirs))], key=lambda n: -theirs[n].start
    ):
        lines[theirs[name].start : theirs[name].stop] = _lines(own, mine[name])
    for name in reversed(added):
        if name not in theirs:
            lines[first:first] = [*_lines(own, mine[name]), "", ""]
    return "\n".join(lines) + "\n"


def _lines(lines: list[str], definition: Definition) -> list[str]:
    return lines[definition.start : definition.stop]


def _changed(exercise: Exercise, before: str, after: str) -> Iterator[str]:
    old, new = before.splitlines(), after.splitlines()
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
        own, wanted = _signature(have[name]), _signature(function)
        if own != wanted:
            raise ExportError(f"{where}: {name}{own} must have the signature {name}{wanted}")


def _check_same(where: str, name: str, mine: ast.stmt, theirs: ast.stmt) -> None:
    for kind, what in (("decorator_list", "decorators"), ("bases", "base classes")):
        own, wanted = (_unparsed(getattr(node, kind, [])) for node in (mine, theirs))
        if own != wanted:
            raise ExportError(f"{where}: the {what} of {name} must be {wanted}, not {own}")


def _kind(node: ast.stmt) -> str:
    names = {ast.FunctionDef: "function", ast.ClassDef: "class"}
    return names.get(type(node), "constant")


def _unparsed(nodes: list[ast.expr]) -> str:
    return ", ".join(ast.unparse(node) for node in nodes) or "none"


def _signature(function: ast.FunctionDef) -> str:
    """Return parameters and defaults, without annotations, which a student may omit."""
    arguments = ast.parse(ast.unparse(function)).body[0].args  # type: ignore[attr-defined]
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return f"({ast.unparse(arguments)})"


def _check_not_blank(where: str, mine: dict[str, Definition]) -> None:
    for definition in mine.values():
        for node in ast.walk(definition.node):
            if isinstance(node, ast.Raise) and ast.unparse(node).startswith(
                "raise NotImplementedError('exercise "
            ):
                raise ExportError(f"{where}: {definition.name} is still blank")


def _check_names(path: Path, text: str) -> None:
    """Check that every global name used in the module is defined in it."""
    table = symtable.symtable(text, path.name, "exec")
    known = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    known |= {child.get_name() for child in table.get_children()}
    known |= set(dir(builtins)) | {"__file__", "__name__", "__doc__"}
    for function, name in _globals(table):
        if name not in known:
            raise ExportError(
                f"{function} uses {name}, which is not defined in {path.name}: define it as a"
                " function in the same cell, or import it inside the function"
            )


def _globals(table: symtable.SymbolTable) -> Iterator[tuple[str, str]]:
    for child in table.get_children():
        for symbol in child.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                yield child.get_name(), symbol.get_name()
        yield from _globals(child)


def _backups(lesson: Lesson) -> Path:
    return lesson.root / WORKSPACE / ".backup" / lesson.folder


def _original(lesson: Lesson, path: Path) -> str:
    """Return the text of a file as it was before the lesson's first export."""
    backup = _backups(lesson) / path.relative_to(lesson.root)
    return _read(backup if backup.exists() else path)


def _back_up(lesson: Lesson, path: Path) -> None:
    backup = _backups(lesson) / path.relative_to(lesson.root)
    if not backup.exists():
        backup.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(backup, path.read_bytes())


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    """Replace the file's text, keeping its line endings."""
    windows = b"\r\n" in path.read_bytes()
    write_atomically(path, (text.replace("\n", "\r\n") if windows else text).encode())
