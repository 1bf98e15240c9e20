"""How a byte-pair tokenizer is written down: GPT-2's names for tokens, and GPT-2's own files."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# GPT-2 writes tokens as visible text: a byte that is no visible character takes the next one from
# U+0100 on, so that the space is Ġ and the line feed Ċ.
_VISIBLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_NAME_OF_BYTE = {b: 256 + n for n, b in enumerate(b for b in range(256) if b not in _VISIBLE)}
_BYTE_OF_NAME = {name: byte for byte, name in _NAME_OF_BYTE.items()}


def _to_name(token: bytes) -> str:
    return token.decode("latin-1").translate(_NAME_OF_BYTE)


def _from_name(name: str) -> bytes:
    return name.translate(_BYTE_OF_NAME).encode("latin-1")


class Vocabulary(NamedTuple):
    """Ids of tokens, pairs of ids in the order of merging, ids of special tokens."""

    tokens: dict[bytes, int]
    merges: list[tuple[int, int]]
    special: dict[str, int]


def write_vocabulary(
    vocab: Sequence[bytes], merges: Sequence[tuple[int, int]], special: Mapping[str, int]
) -> dict[str, Any]:
    """A tokenizer's tokens by id, merges and special tokens, fit for JSON."""
    names = [_to_name(token) for token in vocab]
    ids = set(special.values())
    return {
        "vocab": {name: i for i, name in enumerate(names) if i not in ids},
        "merges": [f"{names[left]} {names[right]}" for left, right in merges],
        "special_tokens": dict(special),
    }


def read_vocabulary(state: Mapping[str, Any]) -> Vocabulary:
    """What `write_vocabulary` wrote; ValueError or KeyError if it does not fit together."""
    special = dict(state["special_tokens"])
    tokens = {_from_name(name): i for name, i in state["vocab"].items()}
    if any(bytes([byte]) not in tokens for byte in range(256)):
        raise ValueError("the vocabulary lacks some of the 256 bytes")
    if sorted([*tokens.values(), *special.values()]) != [*range(len(tokens) + len(special))]:
        raise ValueError("the ids of a vocabulary are 0, 1, 2 and so on, each of them once")
    pairs = (line.split(" ") for line in state["merges"])
    merges = [(tokens[_from_name(left)], tokens[_from_name(right)]) for left, right in pairs]
    return Vocabulary(tokens, merges, special)


def read_gpt2(
    vocab_file: str | os.PathLike[str], merges_file: str | os.PathLike[str]
) -> dict[str, Any]:
    """GPT-2's two files in the form of `write_vocabulary`.

    What is in the vocabulary but neither a byte nor made by a merge, such as "<|endoftext|>", is
    a special token.
    """
    vocab = json.loads(Path(vocab_file).read_bytes())
    lines = Path(merges_file).read_text(encoding="utf-8").split("\n")
    merges = [line for line in lines[lines[0].startswith("#version") :] if line]
    made = {line.replace(" ", "") for line in merges}
    special = {name: i for name, i in vocab.items() if len(name) > 1 and name not in made}
    ordinary = {name: i for name, i in vocab.items() if name not in special}
    return {"vocab": ordinary, "merges": merges, "special_tokens": special}
