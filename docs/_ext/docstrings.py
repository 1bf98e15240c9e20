"""How the package's docstrings become reST.

They are plain text, as `help()` shows it: prose with code in backticks, the sections Args, Returns
and Raises, examples after `>>>`, and indented blocks after `::`. So everything that reST would read
as markup elsewhere (`*`, `|`, a trailing underscore) is text, and code in single backticks is code.
Napoleon then reads the sections.
"""

import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)
MARKUP = re.compile(r"(\\|\*|\||(?<=\w)_(?!\w))")
BEFORE, AFTER = " \n\t'\"([{<-/:", " \n\t'\")]}>-/:.,;!?\\"  # what may stand beside a literal


def to_rest(lines: list[str]) -> list[str]:
    """The lines of a docstring in reST."""
    result: list[str] = []
    for is_prose, block in blocks(lines):
        result += prose("\n".join(block)).split("\n") if is_prose else block
    return result


def blocks(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """The lines in blocks, each with True if it is prose and False if it is code."""
    block: list[str] = []
    state, indent = "prose", 0
    for line in lines:
        depth = len(line) - len(line.lstrip())
        ends = {
            "prose": False,
            "example": not line.strip(),
            "literal": bool(line.strip()) and depth <= indent,
        }
        new = "prose" if ends[state] else state
        if new == "prose" and line.lstrip().startswith(">>> "):
            new = "example"
        if new != state:
            yield state == "prose", block
            block, state = [], new
        block.append(line)
        if state == "prose" and line.rstrip().endswith("::"):
            yield True, block
            block, state, indent = [], "literal", depth
    yield state == "prose", block


def prose(text: str) -> str:
    """Prose in reST: markup escaped, code in double backticks."""
    parts = CODE.split(text)
    for i in range(0, len(parts), 2):
        parts[i] = MARKUP.sub(r"\\\1", parts[i])
    for i in range(1, len(parts), 2):
        code = f"``{parts[i].strip('`')}``"
        before, after = parts[i - 1][-1:], parts[i + 1][:1]
        start = "" if not before or before in BEFORE else "\\ "
        end = "" if not after or after in AFTER else "\\ "
        parts[i] = f"{start}{code}{end}"
    return "".join(parts)


def first_sentence(docstring: str | None) -> str:
    """The first sentence or paragraph of a docstring, in reST on one line."""
    paragraph = " ".join((docstring or "").strip().split("\n\n")[0].split())
    found = re.match(r"(.*?[.:])(?: [A-Z>]|$)", paragraph)
    return prose(found[1] if found else paragraph)


def process(
    app: Sphinx, what: str, name: str, value: object, options: Any, lines: list[str]
) -> None:
    lines[:] = to_rest(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", process, priority=400)  # before Napoleon, 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
