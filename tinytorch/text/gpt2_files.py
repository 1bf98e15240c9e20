"""Serialization of byte-pair vocabularies: GPT-2's names for tokens, and GPT-2's own files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..arguments import shown
from .tokenizer import read_json

# GPT-2 writes tokens as printable text: the bytes that are not printable characters are mapped, in
# order, to the code points from U+0100 on, so a space is written Ġ and a line feed Ċ.
_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_NAME_OF_BYTE = {b: 256 + n for n, b in enumerate(b for b in range(256) if b not in _PRINTABLE)}
_BYTE_OF_NAME = {name: byte for byte, name in _NAME_OF_BYTE.items()}


def token_name(token: bytes) -> str:
    """Return GPT-2's name of a token: b" the" is named "Ġthe"."""
    return token.decode("latin-1").translate(_NAME_OF_BYTE)


def named_token(name: object) -> bytes:
    """Return the token with this name, as GPT-2 writes it.

    Raises:
        ValueError: the name contains a character that stands for no byte.
    """
    try:
        return str(name).translate(_BYTE_OF_NAME).encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"{shown(name)} is not GPT-2's name of a token") from None


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
    names = [token_name(token) for token in vocab]
    ids = set(special.values())
    return {
        "vocab": {name: i for i, name in enumerate(names) if i not in ids},
        "merges": [f"{names[left]} {names[right]}" for left, right in merges],
        "special_tokens": dict(special),
    }


def vocabulary_from_dict(state: Mapping[str, Any]) -> Vocabulary:
    """Return the vocabulary that `vocabulary_to_dict` has converted.

    Raises:
        ValueError: a byte is missing, the ids are not 0, 1, 2, ..., or the merges do not create the
            other tokens.
        KeyError: an entry is missing.
    """
    vocab, merges, special = (
        _checked(state[name], kind, name)
        for name, kind in (("vocab", dict), ("merges", list), ("special_tokens", dict))
    )
    ids = [*vocab.values(), *special.values()]
    tokens = {named_token(name): i for name, i in vocab.items()}
    if any(bytes([byte]) not in tokens for byte in range(256)):
        raise ValueError("the vocabulary lacks some of the 256 bytes")
    if any(type(i) is not int for i in ids) or sorted(ids) != [*range(len(ids))]:
        raise ValueError("the ids of a vocabulary must be 0, 1, 2, ..., each used once")
    if len(tokens) < len(vocab):
        raise ValueError("the vocabulary contains a token twice")
    if "" in vocab or "" in special:
        raise ValueError("a token must not be empty")
    pairs = []
    for line in merges:
        parts = line.split(" ") if isinstance(line, str) else []
        if len(parts) != 2 or any(part not in vocab for part in [*parts, "".join(parts)]):
            raise ValueError(f"{shown(line)} does not merge two tokens into one of the vocabulary")
        pairs.append((vocab[parts[0]], vocab[parts[1]]))
    if len(set(pairs)) < len(pairs):
        raise ValueError("the vocabulary contains a merge twice")
    merged = {line.replace(" ", "") for line in merges}
    lost = [name for name in vocab if len(name) > 1 and name not in merged]
    if lost:
        raise ValueError(f"no merge creates {_listed(lost)}")
    return Vocabulary(tokens, pairs, special)


def _checked(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, not {shown(value)}")
    return value


def _listed(names: list[str]) -> str:
    """Return the first names, and the number of the others."""
    others = f" and {len(names) - 3} other tokens" if len(names) > 3 else ""
    return ", ".join(map(shown, names[:3])) + others


def read_gpt2(
    vocab_file: str | os.PathLike[str], merges_file: str | os.PathLike[str]
) -> dict[str, Any]:
    """Read GPT-2's two files into the form of `vocabulary_to_dict`.

    A token that is neither a byte nor the result of a merge, such as "<|endoftext|>", is special.

    Raises:
        ValueError: a file is damaged, or lacks merges: a token that is none of these, but consists
            of two others, is not special.
    """
    vocab = _checked(read_json(vocab_file), dict, "the vocabulary")
    text = Path(merges_file).read_text(encoding="utf-8-sig")
    lines = text.split("\n")
    merges = [line for line in lines[lines[0].startswith("#version") :] if line]
    merged = {line.replace(" ", "") for line in merges}
    special = {name: i for name, i in vocab.items() if len(name) > 1 and name not in merged}
    ordinary = {name: i for name, i in vocab.items() if name not in special}
    lost = [n for n in special if any(n[:k] in vocab and n[k:] in vocab for k in range(1, len(n)))]
    if lost:
        raise ValueError(f"the file of merges is not complete: no merge creates {_listed(lost)}")
    return {"vocab": ordinary, "merges": merges, "special_tokens": special}
