"""The readable functions of lesson 10 and their fast replacements return the same results."""

import inspect
import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinytorch import tokenization
from tinytorch.text import fast_bpe as fast
from tinytorch.tokenization import CharTokenizer, Tokenizer, split_words

ACCELERATED = ["apply_merges", "learn_merges"]
few_letters = st.text(alphabet="ab é", max_size=40)
word_counts = st.dictionaries(few_letters | st.text(max_size=8), st.integers(1, 5), max_size=8)
small = st.integers(0, 5)


def readable(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(tokenization, name).__wrapped__
    return function


@settings(deadline=None)
@given(word_counts, st.integers(0, 30))
@example({"aaaaaaa": 1, "aaa": 4}, 8)
@example({"zy": 1, "cb": 1, "xa": 1}, 2)
@example(Counter(split_words("she sells sea shells by the sea shore; " * 3)), 40)
def test_fast_and_readable_learn_the_same_merges(words: dict[str, int], count: int) -> None:
    before = dict(words)
    expected = readable("learn_merges")(words, count)
    assert fast.learn_merges(words, count) == expected
    assert tokenization.learn_merges(words, count) == expected
    assert words == before


@settings(deadline=None)
@given(word_counts, few_letters)
@example({"aaaaaaa": 1, "aaa": 4}, "aaaaaaaaaaaaa")
def test_fast_and_readable_apply_merges_equally(words: dict[str, int], text: str) -> None:
    merges = fast.learn_merges(words, 30)
    rules = {pair: (rank, 256 + rank) for rank, pair in enumerate(merges)}
    for ids in map(tokenization.text_to_bytes, [text, *words]):
        before = list(ids)
        expected = readable("apply_merges")(ids, rules)
        assert fast.apply_merges(ids, rules) == expected
        assert tokenization.apply_merges(ids, rules) == expected
        assert ids == before


def lowest_rank_first(ids: list[int], rules: dict[tuple[int, int], tuple[int, int]]) -> list[int]:
    """Merge the pair of the lowest rank, everywhere, until no rule applies."""
    while pairs := [pair for pair in pairwise(ids) if pair in rules]:
        first = min(pairs, key=lambda pair: rules[pair])
        merged, rest = [], list(ids)
        while rest:
            found = tuple(rest[:2]) == first
            merged.append(rules[first][1] if found else rest[0])
            del rest[: 1 + found]
        ids = merged
    return ids


@settings(deadline=None)
@given(st.lists(small, max_size=30), st.lists(st.tuples(small, small), max_size=12), st.integers())
def test_rules_of_any_order_are_applied_from_the_lowest_rank(
    ids: list[int], pairs: list[tuple[int, int]], seed: int
) -> None:
    """A rule may precede the one that creates its tokens, as in a file edited by hand.

    Only the fast function must handle that: a student's may go through the rules once.
    """
    made = {pair: 6 + n for n, pair in enumerate(pairs)}
    made |= {(token, 0): token + 20 for token in made.values()}
    order = sorted(made)
    random.Random(seed).shuffle(order)
    rules = {pair: (rank, made[pair]) for rank, pair in enumerate(order)}
    assert fast.apply_merges(ids, rules) == lowest_rank_first(ids, rules)


def test_all_pairs_of_a_rank_are_merged_before_the_pairs_they_create() -> None:
    rules = {(9, 0): (0, 10), (0, 0): (1, 9)}
    assert fast.apply_merges([0, 0, 0], rules) == [10]
    assert fast.apply_merges([0, 0, 0, 0], rules) == [9, 9]


@pytest.mark.parametrize("name", ACCELERATED)
def test_fast_and_readable_have_the_same_parameters(name: str) -> None:
    def parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
        return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]

    assert parameters(getattr(fast, name)) == parameters(readable(name))


def test_every_accelerated_function_is_compared_here() -> None:
    wrapped = [n for n, f in vars(tokenization).items() if hasattr(f, "__wrapped__")]
    assert sorted({*wrapped} - {"_word_pattern"}) == ACCELERATED


def test_a_function_defined_in_a_notebook_is_not_replaced() -> None:
    names: dict[str, Any] = {"__name__": "__main__", "accelerated": fast.accelerated}
    exec("@accelerated\ndef learn_merges(words, count):\n    return 'mine'", names)
    assert names["learn_merges"]({"ab": 1}, 1) == "mine"
    names["__name__"] = "tinytorch.somewhere"
    exec("@accelerated\ndef learn_merges(words, count):\n    return 'mine'", names)
    assert names["learn_merges"]({"ab": 1}, 1) == [(97, 98)]
    assert names["learn_merges"].__wrapped__({"ab": 1}, 1) == "mine"


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from([None, "<unk>", "a"]))
@example("ab", "a\ud83d", None)
@example("ab", "a\ud83d", "<unk>")
@example("ab", "a😀", "<unk>")
def test_char_encode_and_encode_array_agree(known: str, text: str, unknown: str | None) -> None:
    tokenizer = CharTokenizer(sorted(set(known)), unknown)
    try:
        expected = tokenizer.encode(text)
    except ValueError as error:
        with pytest.raises(type(error)):
            tokenizer.encode_array(text)
    else:
        assert tokenizer.encode_array(text).tolist() == expected


def test_a_saved_tokenizer_loads_as_the_class_of_the_package_not_of_a_notebook() -> None:
    class CharTokenizer(tokenization.CharTokenizer.__base__):  # type: ignore[misc,name-defined]
        kind = "char"

    state = tokenization.CharTokenizer("ab").to_dict()
    assert type(Tokenizer.from_dict(state)) is tokenization.CharTokenizer
    assert CharTokenizer.kind == "char"
