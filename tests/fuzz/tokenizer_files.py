"""Fuzz targets: files of tokenizers, and GPT-2's vocabulary and merges."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_files import ODD_VALUES, Target, check_length, mutate_bytes, mutate_json

from tinytorch import BPETokenizer, CharTokenizer, Tokenizer, create_tokenizer

TEXT = "to be or not to be, that is the question: a größer 空 😀\n" * 3


def prepare_char(folder: Path) -> Any:
    tokenizer = CharTokenizer(unknown="<unk>")
    tokenizer.build_vocab(TEXT)
    return tokenizer.to_dict()


def prepare_bpe(folder: Path) -> Any:
    tokenizer = BPETokenizer(300, ["<|endoftext|>", "<pad>"])
    tokenizer.train(TEXT)
    return tokenizer.to_dict()


def mutate(state: Any, rng: random.Random, folder: Path) -> Path:
    """Write the tokenizer with a mutated value, or with mutated bytes."""
    path = folder / "tokenizer.json"
    kind = rng.random()
    if kind < 0.3:
        path.write_bytes(mutate_bytes(json.dumps(state, ensure_ascii=False).encode(), rng))
    elif kind < 0.35:
        path.write_text("[" * rng.choice([10, 900, 100_000]) + json.dumps(state))
    else:
        for _ in range(rng.choice([1, 1, 2, 4])):
            state = mutate_json(state, rng)
        encoding = rng.choice(["utf-8"] * 8 + ["utf-8-sig", "utf-16"])
        path.write_bytes(json.dumps(state).encode(encoding))
    return path


def use(tokenizer: Tokenizer) -> None:
    """Check that an accepted tokenizer works: what it describes, encodes and decodes."""
    assert isinstance(tokenizer, Tokenizer)
    again = Tokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert again.to_dict() == tokenizer.to_dict()
    try:
        ids = tokenizer.encode(TEXT)
    except ValueError:  # a character that is not in the vocabulary
        assert tokenizer.kind == "char"
    else:
        assert all(type(i) is int and 0 <= i < tokenizer.vocab_size for i in ids)
        decoded = tokenizer.decode(ids)
        assert decoded == TEXT or tokenizer.kind == "char"
    for i in {0, tokenizer.vocab_size // 2, tokenizer.vocab_size - 1} - {-1}:
        assert isinstance(tokenizer.decode([i] if tokenizer.vocab_size else []), str)


def load(path: Path) -> None:
    try:
        use(Tokenizer.load(path))
    except ValueError as error:
        check_length(error, path)
        raise


def prepare_gpt2(folder: Path) -> tuple[dict[str, Any], list[str]]:
    state = prepare_bpe(folder)
    return state["vocab"] | {"<|endoftext|>": len(state["vocab"])}, state["merges"]


def mutate_gpt2(
    good: tuple[dict[str, Any], list[str]], rng: random.Random, folder: Path
) -> tuple[Path, Path]:
    """Write both files, one of them mutated."""
    vocab, merges = good[0], list(good[1])
    kind = rng.random()
    if kind < 0.3:
        vocab = mutate_json(vocab, rng)
    elif kind < 0.6:
        at = rng.randrange(len(merges))
        new = rng.choice([merges[at][::-1], merges[at] + " x", "", "x", "\ud7ff x", "a" * 10_000])
        merges[at : at + rng.choice([0, 1, 1, 5])] = [new] * rng.choice([0, 1, 2])
    vocab_data = json.dumps(vocab).encode()
    merges_data = ("#version: 0.2\n" + "\n".join(merges)).encode()
    if 0.6 <= kind < 0.75:
        vocab_data = mutate_bytes(vocab_data, rng)
    elif 0.75 <= kind < 0.9:
        merges_data = mutate_bytes(merges_data, rng)
    elif kind >= 0.95:
        vocab_data = json.dumps(rng.choice(ODD_VALUES)).encode()
    files = folder / "vocab.json", folder / "merges.txt"
    files[0].write_bytes(rng.choice([b"", b"", b"\xef\xbb\xbf"]) + vocab_data)
    files[1].write_bytes(rng.choice([b"", b"", b"\xef\xbb\xbf"]) + merges_data)
    return files


def load_gpt2(files: tuple[Path, Path]) -> None:
    try:
        use(BPETokenizer.from_gpt2(*files))
    except ValueError as error:
        check_length(error, *files)
        raise


def prepare_tokenizers(folder: Path) -> list[Tokenizer]:
    byte_pairs = BPETokenizer(300, ["<e>"])
    byte_pairs.train(TEXT)
    return [create_tokenizer("char", corpus=TEXT), byte_pairs]


def mutate_input(
    tokenizers: list[Tokenizer], rng: random.Random, folder: Path
) -> tuple[Tokenizer, Any]:
    """A tokenizer, and an input for encode and decode, of the right or of another type."""
    text = "".join(rng.choice("abe <>|e\n") for _ in range(rng.randrange(30)))
    odd_text = text + rng.choice("\0é空😀\ud800x")
    ids = [rng.randrange(20) for _ in range(rng.randrange(5))]
    odd_ids = [*ids, rng.choice([255, 256, 300, -1, 2**70, 1.0, None, "1", True])]
    bytes_ = text.encode()
    value = rng.choice([text, odd_text, ids, odd_ids, bytes_, np.array(ids), *ODD_VALUES])
    return rng.choice(tokenizers), value


def use_input(given: tuple[Tokenizer, Any]) -> None:
    """Text is encoded, and ids are decoded; anything else is a TypeError or a ValueError."""
    tokenizer, value = given
    if isinstance(value, str):
        ids = tokenizer.encode(value)
        assert tokenizer.encode_array(value).tolist() == ids
        assert tokenizer.decode(ids) == value
        _assert_refused(tokenizer.decode, value)
    elif _are_ids(value, tokenizer.vocab_size):
        assert "".join(tokenizer.decode_stream(value)) == tokenizer.decode(value)
        _assert_refused(tokenizer.encode, value)
    else:
        _assert_refused(tokenizer.encode, value)
        tokenizer.decode(value)
        raise AssertionError(f"{value!r:.60} is decoded")


def _are_ids(value: Any, vocab_size: int) -> bool:
    if not isinstance(value, list | dict | np.ndarray):  # an empty dict has no wrong id
        return False
    return all(isinstance(i, int | np.integer) and 0 <= i < vocab_size for i in value)


def _assert_refused(function: Callable[[Any], Any], value: Any) -> None:
    try:
        function(value)
    except (TypeError, ValueError):
        return
    raise AssertionError(f"{function.__name__} takes {value!r:.60}")


TARGETS = [
    Target("Tokenizer.load, char", prepare_char, mutate, load, (ValueError,)),
    Target("Tokenizer.load, bpe", prepare_bpe, mutate, load, (ValueError,)),
    Target("from_gpt2", prepare_gpt2, mutate_gpt2, load_gpt2, (ValueError,)),
    Target(
        "encode and decode", prepare_tokenizers, mutate_input, use_input, (TypeError, ValueError)
    ),
]
