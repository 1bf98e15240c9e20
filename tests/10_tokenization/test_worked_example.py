"""The example that lesson 10 computes by hand is what its code computes."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tinytorch import tokenization
from tinytorch.tokenization import count_pairs, merge_pair, most_frequent, split_words

SOURCE = Path(__file__).parents[2] / "notebooks" / "10_tokenization" / "tokenization_dev.py"
TEXT = "low low lower"
TIMES = {1: "once", 2: "twice", 3: "3 times"}


def rows(text: str, steps: int) -> Iterator[str]:
    """The rows of the lesson's table, computed step by step."""
    names = {i: bytes([i]).decode("latin-1").replace(" ", "␣") for i in range(256)}
    words = [(list(word.encode()), 1) for word in split_words(text)]

    def shown() -> str:
        return " · ".join(f"`{' '.join(names[i] for i in ids)}`" for ids, _ in words)

    yield f"| start | | | {shown()} |"
    for step in range(1, steps + 1):
        counts = count_pairs(words)
        left, right = pair = most_frequent(counts)
        new = 255 + step
        names[new] = names[left] + names[right]
        words = [(merge_pair(ids, pair, new), times) for ids, times in words]
        often = f"`{names[left]} {names[right]}`, {TIMES[counts[pair]]}"
        yield f"| {step} | {often} | `{names[new]}` = {new} | {shown()} |"


def test_the_table_is_what_the_code_computes() -> None:
    table = re.findall(r"(?m)^# (\| (?:start|\d) \|.*\|)$", SOURCE.read_text(encoding="utf-8"))
    first = table.index(next(row for row in table if row.startswith("| start |")))
    assert table[first : first + 5] == list(rows(TEXT, 4))


def test_the_merges_in_the_text_are_those_of_the_table() -> None:
    source = SOURCE.read_text(encoding="utf-8")
    (listed,) = re.findall(r"The four merges of the table are\n# `(.*?)`", source)
    words = Counter(split_words(TEXT))
    assert str(tokenization.learn_merges(words, 4)) == listed
    assert str(tokenization.learn_merges.__wrapped__(words, 4)) == listed  # type: ignore[attr-defined]


def test_the_ties_are_those_that_the_text_names() -> None:
    """In step 1, `o w` occurs as often as `l o`; in step 4, the first `low` and `e` as often."""
    ids = [[*word.encode()] for word in split_words(TEXT)]
    counts = count_pairs([(word, 1) for word in ids])
    assert counts[111, 119] == counts[108, 111] == max(counts.values())
    merges = [((108, 111), 256), ((256, 119), 257), ((32, 257), 258)]
    for pair, merged in merges:
        ids = [merge_pair(word, pair, merged) for word in ids]
    assert count_pairs([(word, 1) for word in ids]) == {(258, 101): 1, (101, 114): 1}
