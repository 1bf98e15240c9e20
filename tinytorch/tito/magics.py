"""IPython's commands in a cell, such as `%matplotlib inline` and `!ls`, which are not Python."""

import re

from .syntax import syntax_tree

_RUNS_PYTHON = {"%%time", "%%capture", "%%prun"}  # and keep what the cell defines


def without_commands(source: str) -> str:
    """Replace the lines that are commands of IPython by `pass`, so that the cell parses.

    All other lines keep their numbers. The source is returned unchanged if it does not parse
    without them either, or if a command is part of a statement, as in `files = !ls`.
    """
    lines = source.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if _RUNS_PYTHON & set(lines[first].split()[:1]):
        lines[first] = _replaced(lines[first])
    for _ in range(len(lines) + 1):
        try:
            syntax_tree("\n".join(lines))
        except SyntaxError as error:
            index = (error.lineno or 0) - 1
            if not 0 <= index < len(lines) or not is_command(lines[index]):
                return source
            lines[index] = _replaced(lines[index])
        except (ValueError, RecursionError, MemoryError):
            return source
        else:
            return "\n".join(lines)
    return source


def is_command(line: str) -> bool:
    """Whether a line that does not parse is a command by itself."""
    line = line.strip()
    return not line.startswith("%%") and (line.startswith(("%", "!", "?")) or line.endswith("?"))


def contains_command(line: str) -> bool:
    """Whether a line that does not parse is a command, or assigns the result of one."""
    return is_command(line) or line.startswith("%%") or bool(re.search(r"=\s*[%!]", line))


def _replaced(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}pass  # {line.strip()}"
