"""Benchmark byte-pair encoding against Hugging Face's `tokenizers` (Rust) and the lesson's code.

    python tests/benchmarks/versus_tokenizers.py [--rounds 7] [--vocab-size 1024] [--json FILE]

All three train on Tiny Shakespeare and encode all of it, in alternation in one process. Every
encoding starts with an empty word cache. The encoders use the same merges and must return the same
ids; for the trainers, the number of equal leading merges is reported. The lesson's code is the
plain Python that a student writes, without the fast versions of `tinytorch/text/fast_bpe.py`. Needs
`tokenizers`.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinytorch import tokenization
from tinytorch.data.datasets import tiny_shakespeare
from tinytorch.tokenization import BPETokenizer, Tokenizer, split_words

SIDES = ("tinytorch", "tokenizers", "plain Python")


def plain_training(text: str, merges: int) -> list[tuple[int, int]]:
    """Learn merges with the lesson's `learn_merges`, which scans every word for every merge."""
    learn: Any = tokenization.learn_merges
    learned: list[tuple[int, int]] = learn.__wrapped__(Counter(split_words(text)), merges)
    return learned


def plain_encoding(text: str, rules: dict[tuple[int, int], tuple[int, int]]) -> list[int]:
    """Encode with the lesson's `apply_merges`, once for each distinct word."""
    apply: Any = tokenization.apply_merges
    cache: dict[str, list[int]] = {}
    ids: list[int] = []
    for word in split_words(text):
        if word not in cache:
            cache[word] = apply.__wrapped__(tokenization.text_to_bytes(word), rules)
        ids += cache[word]
    return ids


def hugging_face_copy(tokenizer: BPETokenizer) -> Callable[[], Any]:
    """Return a function that creates a Hugging Face tokenizer with the same merges, empty cache."""
    import tokenizers

    with tempfile.TemporaryDirectory() as folder:
        vocabulary, merges = gpt2_files(tokenizer, Path(folder))
        saved = tokenizers.ByteLevelBPETokenizer(str(vocabulary), str(merges)).to_str()
    return lambda: tokenizers.Tokenizer.from_str(saved)


def gpt2_files(tokenizer: BPETokenizer, folder: Path) -> tuple[Path, Path]:
    """Write the merges as GPT-2's two files, which the other library reads."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    printable = [c for c in range(256) if chr(c) in letters]
    others = [c for c in range(256) if c not in printable]
    alphabet = {c: chr(c) for c in printable} | {c: chr(256 + n) for n, c in enumerate(others)}
    names = [alphabet[byte] for byte in range(256)]
    lines = ["#version: 0.2"]
    for left, right in tokenizer.merges:
        lines.append(f"{names[left]} {names[right]}")
        names.append(names[left] + names[right])
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps({name: i for i, name in enumerate(names)}), "utf-8")
    merges.write_text("\n".join(lines) + "\n", "utf-8")
    return vocabulary, merges


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def measure(text: str, vocab_size: int, rounds: int) -> dict[str, Any]:
    """Return the median seconds of each side for training and encoding."""
    from tokenizers import ByteLevelBPETokenizer

    def train_ours() -> BPETokenizer:
        tokenizer = BPETokenizer(vocab_size)
        tokenizer.train(text)
        return tokenizer

    def train_theirs() -> Any:
        tokenizer = ByteLevelBPETokenizer()
        tokenizer.train_from_iterator([text], vocab_size, min_frequency=1, show_progress=False)
        return tokenizer

    trainers = (train_ours, train_theirs, lambda: plain_training(text, vocab_size - 256))
    tokenizer = train_ours()
    state, rust = tokenizer.to_dict(), hugging_face_copy(tokenizer)
    rules = {pair: (rank, 256 + rank) for rank, pair in enumerate(tokenizer.merges)}
    times: dict[str, dict[str, list[float]]] = {
        work: {side: [] for side in SIDES} for work in ("training", "encoding")
    }
    for round_ in range(rounds):
        trained = []
        for side, train in zip(SIDES, trainers, strict=True):
            if side != SIDES[2] or round_ == 0:  # plain Python takes minutes: once is enough
                spent, result = seconds(train)
                times["training"][side].append(spent)
                trained.append(result)
        if round_ == 0:
            assert trained[2] == trained[0].merges, "the lesson's code learns different merges"
            agreement = equal_merges(trained[0], trained[1])
        fresh, other = Tokenizer.from_dict(state), rust()
        encoders = (
            lambda fresh=fresh: fresh.encode(text),
            lambda other=other: other.encode(text).ids,
            lambda: plain_encoding(text, rules),
        )
        ids = []
        for side, encode in zip(SIDES, encoders, strict=True):
            spent, result = seconds(encode)
            times["encoding"][side].append(spent)
            ids.append(result)
        assert ids[0] == ids[1] == ids[2], "equal merges must give equal ids"
    medians = {
        work: {side: statistics.median(values) for side, values in sides.items()}
        for work, sides in times.items()
    }
    return {"vocab_size": vocab_size, "tokens": len(ids[0]), "same merges": agreement, **medians}


def equal_merges(ours: BPETokenizer, theirs: Any) -> int:
    """Count the equal leading merges; the trainers may break ties differently."""
    with tempfile.TemporaryDirectory() as folder:
        _, path = gpt2_files(ours, Path(folder))
        mine = path.read_text("utf-8").splitlines()[1:]
        theirs.save_model(folder)
        others = (Path(folder) / "merges.txt").read_text("utf-8").splitlines()[1:]
    return next(
        (n for n, (a, b) in enumerate(zip(mine, others, strict=False)) if a != b), len(mine)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--vocab-size", type=int, default=1024)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    result = measure(tiny_shakespeare().text, arguments.vocab_size, arguments.rounds)
    print(f"| {arguments.vocab_size} tokens | {' | '.join(SIDES)} |\n|---|---|---|---|")
    for work in ("training", "encoding"):
        print(f"| {work} | {' | '.join(f'{result[work][side]:.3f} s' for side in SIDES)} |")
    print(
        f"\n{result['tokens']:,} ids, equal for all three; the first {result['same merges']} of"
        f" {arguments.vocab_size - 256} merges equal those of the other trainer"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
