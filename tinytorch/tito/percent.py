"""Reads cells from a Python file in the percent format, which jupytext and most editors know.

    # %% [markdown] instructor=true
    # Text: each line after "# ".

    # %% exercise="12.1" points=2
    from tinytorch.attention import create_causal_mask

A line that starts with `# %%` starts a cell. Its metadata are names with values in JSON. Importing
jupytext itself would take a second, since it prepares to validate every format of a notebook.
"""

import json
import re
from dataclasses import dataclass

_HEADER = re.compile(r"\A# ---\n(?:#.*\n)*?# ---\n")
_START = re.compile(r"^# %%(?!%)(.*)\n?", flags=re.M)
_MARKDOWN = re.compile(r"\A \[markdown\](?= |$)")
_ENTRY = re.compile(r'\s+(\w+)=("(?:[^"\\]|\\.)*"|\S+)')


@dataclass(frozen=True)
class PercentCell:
    """A cell: its type, "markdown" or "code", its source and its metadata."""

    type: str
    source: str
    metadata: dict[str, object]


def read(text: str) -> list[PercentCell]:
    """Return the cells of a file.

    Raises:
        ValueError: the metadata of a cell are not names with values in JSON.
    """
    before, *parts = _START.split(_HEADER.sub("", text))
    cells = [PercentCell("code", before.strip("\n"), {})] if before.strip() else []
    for head, source in zip(parts[::2], parts[1::2], strict=True):
        rest = _MARKDOWN.sub("", head)
        kind = "code" if rest == head else "markdown"
        lines = source.strip("\n").split("\n")
        if kind == "markdown":
            lines = [re.sub(r"\A# ?", "", line) for line in lines]
        cells.append(PercentCell(kind, "\n".join(lines), _metadata(rest)))
    return cells


def _metadata(text: str) -> dict[str, object]:
    """Parse ` points=2 exercise="12.1"`."""
    if _ENTRY.sub("", text).strip():
        raise ValueError(f'expected name=value after "# %%", not {text.strip()!r:.60}')
    try:
        return {name: json.loads(value) for name, value in _ENTRY.findall(text)}
    except ValueError:
        raise ValueError(f"the values in {text.strip()!r:.60} must be JSON") from None
