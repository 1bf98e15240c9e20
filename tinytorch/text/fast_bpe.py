"""Fast byte-pair encoding, and character lookup by table.

`learn_merges` and `apply_merges` return the same results as the readable functions of lesson 10, in
time that hardly grows with the number of merges. `accelerated` replaces those functions with these,
by name, as a backend's kernel replaces an op's reference.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")
Pair = tuple[int, int]
Rules = Mapping[Pair, tuple[int, int]]  # pair -> (rank, id of the merged token)

_NO_TOKEN = -1  # separates words, and marks positions whose token was merged into the previous one


def accelerated(reference: Callable[P, R]) -> Callable[P, R]:
    """Decorator: run the function of the same name in this file instead of the reference.

    The reference stays available as `__wrapped__`, to read and to test against. Only functions of
    the package are replaced; one defined elsewhere, as in a student's notebook, runs as written.
    """
    if reference.__module__.partition(".")[0] != __name__.partition(".")[0]:
        return reference
    fast: Callable[P, R] | None = globals().get(reference.__name__)
    if fast is None:  # in a course folder there are no fast versions
        return reference

    @wraps(reference)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return fast(*args, **kwargs)

    return call


# Characters ------------------------------------------------------------------------------------


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


class CharTable:
    """Lookup table from code points to ids, ten times as fast as a loop over the characters.

    Args:
        char_to_id: ids by character; entries that are not one character long are ignored.
        missing: id of all other characters.
    """

    def __init__(self, char_to_id: Mapping[str, int], missing: int) -> None:
        known = [character for character in char_to_id if len(character) == 1]
        points = _code_points("".join(known))
        self._last = int(points.max(initial=0)) + 1  # represents all larger code points
        self._ids = np.full(self._last + 1, missing, dtype=np.int64)
        self._ids[points] = [char_to_id[character] for character in known]

    def ids(self, text: str) -> NDArray[np.int64]:
        """Return the ids of a text, shape (T,).

        Raises:
            ValueError: the text contains a lone surrogate.
        """
        return self._ids[np.minimum(_code_points(text), self._last)]


# Merges ----------------------------------------------------------------------------------------


class _LinkedTokens:
    """Token ids as a doubly linked list, so that a merge takes constant time.

    Args:
        ids: token ids that end in _NO_TOKEN. The list is circular, so every position has two
            neighbours.
    """

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.next = [*range(1, len(ids)), 0]
        self.prev = list(range(-1, len(ids) - 1))

    def pair(self, position: int) -> Pair:
        return self.ids[position], self.ids[self.next[position]]

    def merge(self, position: int, merged: int) -> None:
        """Replace the pair that starts at `position` with one token."""
        removed = self.next[position]
        self.ids[position], self.ids[removed] = merged, _NO_TOKEN
        self.next[position] = self.next[removed]
        self.prev[self.next[removed]] = position


class _PairCounts:
    """Counts of adjacent pairs, updated after each merge instead of recomputed.

    Each distinct word is stored once and weighted by its count, so a merge costs time in
    proportion to the positions that it changes. Entries of `positions` and `heap` may be outdated;
    they are checked when they are used.
    """

    def __init__(self, words: Mapping[str, int]) -> None:
        ids: list[int] = []
        self.weights: list[int] = []
        for word, count in words.items():
            letters = word.encode("utf-8")
            ids += [*letters, _NO_TOKEN]
            self.weights += [count] * (len(letters) + 1)
        self.tokens = _LinkedTokens(ids)
        self.counts: Counter[Pair] = Counter()
        self.positions: defaultdict[Pair, list[int]] = defaultdict(list)
        for position in range(len(ids)):
            self._add(position)
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self.heap)

    def _add(self, position: int) -> Pair:
        pair = self.tokens.pair(position)
        if _NO_TOKEN not in pair:
            self.counts[pair] += self.weights[position]
            self.positions[pair].append(position)
        return pair

    def _remove(self, position: int) -> None:
        pair = self.tokens.pair(position)
        if _NO_TOKEN not in pair:
            self.counts[pair] -= self.weights[position]

    def pop_most_common(self) -> Pair | None:
        """Return the pair with the highest count and, among equals, the smallest ids."""
        while self.heap:
            count, pair = heapq.heappop(self.heap)
            current = self.counts[pair]
            if current == -count:
                return pair
            if current:
                heapq.heappush(self.heap, (-current, pair))
        return None

    def merge(self, pair: Pair, merged: int) -> None:
        """Replace every occurrence of the pair, from left to right."""
        tokens, created = self.tokens, set()
        for position in self.positions.pop(pair):
            if tokens.pair(position) != pair:
                continue  # overlap: in "aaa" the first "aa" has consumed the middle "a"
            before = tokens.prev[position]
            self._remove(before)
            self._remove(tokens.next[position])
            tokens.merge(position, merged)
            created |= {self._add(before), self._add(position)}
        del self.counts[pair]
        for new in created:
            if self.counts[new]:  # only pairs that contain the merged token have grown
                heapq.heappush(self.heap, (-self.counts[new], new))


def learn_merges(words: Mapping[str, int], count: int) -> list[Pair]:
    """Fast `tinytorch.tokenization.learn_merges`: count pairs once, then update the counts."""
    pairs = _PairCounts(words)
    merges: list[Pair] = []
    while len(merges) < count:
        pair = pairs.pop_most_common()
        if pair is None:
            break
        pairs.merge(pair, 256 + len(merges))
        merges.append(pair)
    return merges


def apply_merges(ids: list[int], rules: Rules) -> list[int]:
    """Fast `tinytorch.tokenization.apply_merges`: a heap of (rank, position) finds the next pair.

    A pair that an adjacent merge has broken up stays in the heap and is skipped when it is popped.
    Pairs created by a merge wait until all merges of the same rank are done, as in the reference.
    """
    tokens = _LinkedTokens([*ids, _NO_TOKEN])
    heap: list[tuple[int, int]] = []
    changed = list(range(len(ids)))
    while True:
        for position in changed:
            if rule := rules.get(tokens.pair(position)):
                heapq.heappush(heap, (rule[0], position))
        if not heap:
            return [i for i in tokens.ids if i != _NO_TOKEN]
        changed, rank = [], heap[0][0]
        while heap and heap[0][0] == rank:
            position = heapq.heappop(heap)[1]
            rule = rules.get(tokens.pair(position))
            if rule and rule[0] == rank:
                tokens.merge(position, rule[1])
                changed += [tokens.prev[position], position]
