"""Markdown of lessons as HTML, with formulas as MathML."""

import re
from functools import cache
from typing import Any

from ..tito._optional import require

# Code is found first, so that a dollar sign in it starts no formula.
_CODE_OR_FORMULA = re.compile(
    r"(?P<code>^```.*?^```|`[^`\n]+`)|\$\$(?P<display>.+?)\$\$|\$(?P<inline>[^$\n][^$]*?)\$",
    re.MULTILINE | re.DOTALL,
)
_PLACE = "\N{OBJECT REPLACEMENT CHARACTER}{}\N{OBJECT REPLACEMENT CHARACTER}"


def html(source: str) -> str:
    """Return a Markdown text as HTML: CommonMark, tables, and formulas between dollar signs.

    Raises:
        MissingPackageError: markdown-it-py or latex2mathml is not installed.
    """
    formulas: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        formulas.append(_mathml(match["display"] or match["inline"], bool(match["display"])))
        return _PLACE.format(len(formulas) - 1)

    text = str(_parser().render(_CODE_OR_FORMULA.sub(replace, source)))
    for index, formula in enumerate(formulas):
        text = text.replace(_PLACE.format(index), formula)
    return text.replace("<table>", '<div class="table"><table>').replace(
        "</table>", "</table></div>"
    )


def _mathml(formula: str, is_display: bool) -> str:
    convert = require("latex2mathml.converter", "site").convert
    found = str(convert(" ".join(formula.split()), display="block" if is_display else "inline"))
    return found.replace("<mo>&#x0221E;</mo>", "<mi>&#x0221E;</mi>")  # infinity: no space around it


@cache
def _parser() -> Any:
    return require("markdown_it", "site").MarkdownIt("commonmark", {"html": False}).enable("table")
