"""The steps before the merges in tokenizer.json: normalizers and pre-tokenizers.

A normalizer rewrites the text; a pre-tokenizer splits it into the words that merges never cross.
Both are described by dictionaries with a "type", as Hugging Face's package `tokenizers` does.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from ..arguments import shown
from ..tokenization import split_words

Normalizer = Callable[[str], str]
PreTokenizer = Callable[[str], list[str]]

_FORMS: dict[str, Literal["NFC", "NFD", "NFKC", "NFKD"]] = {  # of Unicode
    "NFC": "NFC",
    "NFD": "NFD",
    "NFKC": "NFKC",
    "NFKD": "NFKD",
}


def normalizer(description: Any) -> Normalizer:
    """Return the function that a normalizer's description stands for; None stands for none.

    Raises:
        ValueError: the type is unknown.

    >>> normalizer({"type": "NFC"})("e" + chr(0x301)) == "é"
    True
    """
    functions = list(_normalizers(description))

    def normalize(text: str) -> str:
        for function in functions:
            text = function(text)
        return text

    return normalize


def _normalizers(description: Any) -> Iterator[Normalizer]:
    if description is None:
        return
    kind = _kind("normalizer", description)
    if kind == "Sequence":
        for part in _list(description, "normalizers"):
            yield from _normalizers(part)
    elif kind in _FORMS:
        yield partial(unicodedata.normalize, _FORMS[kind])
    else:
        raise ValueError(
            f"the normalizer {shown(kind)} is not supported; {', '.join(_FORMS)} and Sequence are"
        )


def pre_tokenizer(description: Any) -> PreTokenizer:
    """Return the function that a pre-tokenizer's description stands for: text -> words.

    Raises:
        ValueError: the type or a setting is not supported, or no step encodes text as bytes.

    >>> digits = {"type": "Digits", "individual_digits": True}
    >>> byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    >>> both = {"type": "Sequence", "pretokenizers": [digits, byte_level]}
    >>> pre_tokenizer(both)("In 2017 too")
    ['In', ' ', '2', '0', '1', '7', ' too']
    """
    parts = list(_parts(description))
    if not any(part.get("type") == "ByteLevel" for part in parts):
        raise ValueError("no step of its pre-tokenizer is ByteLevel: it is not a byte-level BPE")
    steps = [step for part in parts if (step := _step(part)) is not None]

    def split(text: str) -> list[str]:
        words = [text] if text else []
        for step in steps:
            words = [word for piece in words for word in step(piece)]
        return words

    return split


def _parts(description: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a pre-tokenizer, those of a sequence one by one."""
    if description is None:
        return
    if _kind("pre-tokenizer", description) == "Sequence":
        for part in _list(description, "pretokenizers"):
            yield from _parts(part)
    else:
        yield description


def _step(description: Mapping[str, Any]) -> PreTokenizer | None:
    kind = description["type"]
    if kind == "ByteLevel":
        return _byte_level(
            description.get("add_prefix_space", True), description.get("use_regex", True)
        )
    if kind == "Digits":
        one = description.get("individual_digits", False)
        return partial(_split, _compile(r"\p{N}" if one else r"\p{N}+"), True, True)
    if kind == "Split":
        behavior, invert = description.get("behavior"), description.get("invert", False)
        if behavior not in ("Isolated", "Removed"):
            raise ValueError(f"Split with the behavior {shown(behavior)} is not supported")
        kept = behavior == "Isolated"
        pattern = _compile(_pattern(description.get("pattern")))
        return partial(_split, pattern, kept or bool(invert), kept or not invert)
    raise ValueError(
        f"the pre-tokenizer {shown(kind)} is not supported; ByteLevel, Digits, Split and Sequence"
        " are"
    )


def _byte_level(add_prefix_space: object, use_regex: object) -> PreTokenizer | None:
    """GPT-2's words if `use_regex`; its other effect, that words become bytes, needs no step."""
    if not add_prefix_space and not use_regex:
        return None

    def step(text: str) -> list[str]:
        if add_prefix_space and not text.startswith(" "):
            text = " " + text
        return split_words(text) if use_regex else [text]

    return step


def _split(pattern: Any, matches: bool, others: bool, text: str) -> list[str]:
    """Split at the matches of a pattern; keep the matches, and the text between them, or not."""
    pieces, end = [], 0
    for match in pattern.finditer(text):
        if others and match.start() > end:
            pieces.append(text[end : match.start()])
        if matches and match.end() > match.start():
            pieces.append(match[0])
        end = match.end()
    if others and end < len(text):
        pieces.append(text[end:])
    return pieces


def _pattern(description: Any) -> str:
    """The regular expression of {"Regex": ...}, or that of a literal {"String": ...}."""
    import regex

    given = description if isinstance(description, Mapping) else {}
    if isinstance(given.get("Regex"), str):
        return str(given["Regex"])
    if isinstance(given.get("String"), str):
        return str(regex.escape(given["String"]))
    raise ValueError(f"Split needs a pattern, Regex or String, not {shown(description)}")


def _compile(pattern: str) -> Any:
    """Compile a pattern that was written for Oniguruma, the library of `tokenizers`.

    What is used of it means the same in `regex`, except {1,3}+, which is possessive only here.
    """
    import regex

    if regex.search(r"\{\d*,?\d*\}\+", pattern):
        raise ValueError(f"the pattern {shown(pattern)} repeats a repetition, as in {{1,3}}+")
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"the pattern {shown(pattern)} is not valid: {error}") from None


def _kind(what: str, description: Any) -> str:
    kind = description.get("type") if isinstance(description, Mapping) else None
    if not isinstance(kind, str):
        raise ValueError(f"a {what} is described by a dict with a type, not {shown(description)}")
    return kind


def _list(description: Mapping[str, Any], name: str) -> list[Any]:
    parts = description.get(name)
    if not isinstance(parts, list):
        raise ValueError(f"a Sequence needs a list of {name}, not {shown(parts)}")
    return parts
