r"""The part of the package `regex` that TinyTorch uses, on Python's `re`: adds \p{L} and the like.

Categories are those of Python's own version of Unicode.
"""

import re
import sys
import unicodedata
from functools import cache
from re import error, escape

__all__ = ["compile", "error", "escape", "search"]

_PROPERTY = re.compile(r"(\\\\)|\\([pP])\{(\w+)\}|(?<!\\)(\[)|(?<!\\)(\])")


def compile(pattern: str, flags: int = 0) -> re.Pattern[str]:
    r"""Compile a pattern in which \p{L} is any letter, also inside of brackets."""
    return re.compile(_expanded(pattern), flags)


def search(pattern: str, text: str, flags: int = 0) -> re.Match[str] | None:
    """Find the first match."""
    return compile(pattern, flags).search(text)


@cache
def _expanded(pattern: str) -> str:
    r"""The pattern with ranges of characters in the place of \p{...}."""
    inside = False

    def replace(match: re.Match[str]) -> str:
        nonlocal inside
        whole, (escaped, negated, name, opens, closes) = match[0], match.groups()
        if opens or closes:
            inside = bool(opens) or (inside and not closes)
            return whole
        if escaped or not name:
            return whole
        ranges = _ranges(name, negated == "P")
        return ranges if inside else f"[{ranges}]"

    return _PROPERTY.sub(replace, pattern)


@cache
def _categories() -> list[str]:
    return [unicodedata.category(chr(code)) for code in range(sys.maxunicode + 1)]


@cache
def _ranges(name: str, negated: bool) -> str:
    r"""The characters of a category, such as "L" or "Nd", as a regular expression writes them."""
    found, start = [], None
    for code, category in enumerate([*_categories(), ""]):
        belongs = code <= sys.maxunicode and category.startswith(name) != negated
        if belongs and start is None:
            start = code
        elif not belongs and start is not None:
            found.append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start = None
    if not found:
        raise error(f"unknown property {name}")
    return "".join(found)
