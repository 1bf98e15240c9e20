"""Serialization of byte-pair vocabularies: GPT-2's names for tokens, and GPT-2's own files."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# GPT-2 writes tokens as printable text: the bytes that are not printable characters are mapped, in
# order, to the code points from U+0100 on, so a space is written Ġ and a line feed Ċ.
_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_NAME_OF_BYTE = {b: 256 + n for n, b in enumerate(b for b in range(256) if b not in _PRINTABLE)}
_BYTE_OF_NAME = {name: byte for byte, name in _NAME_OF_BYTE.items()}


def _to_name(token: bytes) -> str:
    return token.decode("latin-1").translate(_NAME_OF_BYTE)


def _from_name(name: str) -> bytes:
    return name.translate(_BYTE_OF_NAME).encode("latin-1")


class Vocabulary(NamedTuple):
    """A byte-pair vocabulary.

    Attributes:
        tokens: ids by token, special tokens excluded.
        merges: pairs of ids in the order of merging.
        special: ids by special token.
    """

    tokens: dict[bytes, int]
    merges: list[tuple[int, int]]
    special: dict[str, int]


def vocabulary_to_dict(
    vocab: Sequence[bytes], merges: Sequence[tuple[int, int]], special: Mapping[str, int]
) -> dict[str, Any]:
    """Return tokens (by id), merges and special tokens as values that JSON can represent."""
    names = [_to_name(token) for token in vocab]
    ids = set(special.values())
    return {
        "vocab": {name: i for i, name in enumerate(names) if i not in ids},
        "merges": [f"{names[left]} {names[right]}" for left, right in merges],
        "special_tokens": dict(special),
    }


def vocabulary_from_dict(state: Mapping[str, Any]) -> Vocabulary:
    """Return the vocabulary that `vocabulary_to_dict` has converted.

    Raises:
        ValueError: a byte is missing, or the ids are not 0, 1, 2, ...
        KeyError: an entry is missing, or a merge uses a token that is not in the vocabulary.
    """
    special = dict(state["special_tokens"])
    tokens = {_from_name(name): i for name, i in state["vocab"].items()}
    if any(bytes([byte]) not in tokens for byte in range(256)):
        raise ValueError("the vocabulary lacks some of the 256 bytes")
    if sorted([*tokens.values(), *special.values()]) != [*range(len(tokens) + len(special))]:
        raise ValueError("the ids of a vocabulary must be 0, 1, 2, ..., each used once")
    pairs = (line.split(" ") for line in state["merges"])
    merges = [(tokens[_from_name(left)], tokens[_from_name(right)]) for left, right in pairs]
    return Vocabulary(tokens, merges, special)


def read_gpt2(
    vocab_file: str | os.PathLike[str], merges_file: str | os.PathLike[str]
) -> dict[str, Any]:
    """Read GPT-2's two files into the form of `vocabulary_to_dict`.

    A token that is neither a byte nor the result of a merge, such as "<|endoftext|>", is special.
    """
    vocab = json.loads(Path(vocab_file).read_bytes())
    lines = Path(merges_file).read_text(encoding="utf-8").split("\n")
    merges = [line for line in lines[lines[0].startswith("#version") :] if line]
    merged = {line.replace(" ", "") for line in merges}
    special = {name: i for name, i in vocab.items() if len(name) > 1 and name not in merged}
    ordinary = {name: i for name, i in vocab.items() if name not in special}
    return {"vocab": ordinary, "merges": merges, "special_tokens": special}
