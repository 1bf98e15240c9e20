"""Text to token ids, fast: what does the work of the readable functions of lesson 10.

`learn_merges` and `apply_merges` give the same results as those of tinytorch/tokenization.py, in
time that hardly grows with the number of merges. They replace them by name, as kernels replace
ops: see `accelerated`.
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
Rules = Mapping[Pair, tuple[int, int]]  # pair -> its rank, and the token that it becomes

_NONE = -1  # no token: between words, and where a merge took a token away


def accelerated(reference: Callable[P, R]) -> Callable[P, R]:
    """Decorator: the package's own function does its work by the one of its name in this file.

    The reference stays for people to read and for tests to compare with, as `__wrapped__`. A
    function that is defined anywhere else, as in a student's notebook, runs as it is written.
    """
    if reference.__module__.partition(".")[0] != __name__.partition(".")[0]:
        return reference
    fast: Callable[P, R] = globals()[reference.__name__]

    @wraps(reference)
    def call(*arguments: P.args, **settings: P.kwargs) -> R:
        return fast(*arguments, **settings)

    return call


# Characters ------------------------------------------------------------------------------------


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


class CharTable:
    """The ids of a whole text in one look-up: a loop over characters takes ten times as long.

    Args:
        char_to_id: of entries that are no single character, no use is made.
        missing: the id of all other characters.
    """

    def __init__(self, char_to_id: Mapping[str, int], missing: int) -> None:
        known = [character for character in char_to_id if len(character) == 1]
        points = _code_points("".join(known))
        self._last = int(points.max(initial=0)) + 1  # stands for all code points beyond
        self._ids = np.full(self._last + 1, missing, dtype=np.int64)
        self._ids[points] = [char_to_id[character] for character in known]

    def ids(self, text: str) -> NDArray[np.int64]:
        """The ids (T,) of a text; half of a surrogate pair is a ValueError."""
        return self._ids[np.minimum(_code_points(text), self._last)]


# Merges ----------------------------------------------------------------------------------------


class _Chain:
    """Token ids as a doubly linked list: a merge costs the same however long the text.

    The ids must end in _NONE; the ends are tied together, so that every place has neighbours.
    """

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.after = [*range(1, len(ids)), 0]
        self.before = list(range(-1, len(ids) - 1))

    def pair(self, place: int) -> Pair:
        return self.ids[place], self.ids[self.after[place]]

    def merge(self, place: int, merged: int) -> None:
        """One token instead of the two that start at this place."""
        gone = self.after[place]
        self.ids[place], self.ids[gone] = merged, _NONE
        self.after[place] = self.after[gone]
        self.before[self.after[gone]] = place


class _PairCounts:
    """How often each pair of neighbours occurs, kept up to date from merge to merge.

    Each distinct word is there once and counts as often as it occurs, so a merge costs as much
    as the places that it changes. `places` may hold places where the pair is no longer, and the
    heap counts that have since fallen: both are found out when they are used.
    """

    def __init__(self, words: Mapping[str, int]) -> None:
        ids: list[int] = []
        self.weights: list[int] = []
        for word, count in words.items():
            letters = word.encode("utf-8")
            ids += [*letters, _NONE]
            self.weights += [count] * (len(letters) + 1)
        self.chain = _Chain(ids)
        self.counts: Counter[Pair] = Counter()
        self.places: defaultdict[Pair, list[int]] = defaultdict(list)
        for place in range(len(ids)):
            self._add(place)
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self.heap)

    def _add(self, place: int) -> Pair:
        pair = self.chain.pair(place)
        if _NONE not in pair:
            self.counts[pair] += self.weights[place]
            self.places[pair].append(place)
        return pair

    def _remove(self, place: int) -> None:
        pair = self.chain.pair(place)
        if _NONE not in pair:
            self.counts[pair] -= self.weights[place]

    def pop_most_common(self) -> Pair | None:
        """The pair to merge next: of those that occur most often, the one with smallest ids."""
        while self.heap:
            count, pair = heapq.heappop(self.heap)
            now = self.counts[pair]
            if now == -count:
                return pair
            if now:
                heapq.heappush(self.heap, (-now, pair))
        return None

    def merge(self, pair: Pair, merged: int) -> None:
        """Replace the pair everywhere, left to right."""
        chain, fresh = self.chain, set()
        for place in self.places.pop(pair):
            if chain.pair(place) != pair:
                continue  # in "aaa" the first "aa" took the middle from the second
            before = chain.before[place]
            self._remove(before)
            self._remove(chain.after[place])
            chain.merge(place, merged)
            fresh |= {self._add(before), self._add(place)}
        del self.counts[pair]
        for new in fresh:
            if self.counts[new]:  # only pairs with the merged token are new; others only fall
                heapq.heappush(self.heap, (-self.counts[new], new))


def learn_merges(words: Mapping[str, int], count: int) -> list[Pair]:
    """See tinytorch/tokenization.py: here pairs are counted once, then counts are corrected."""
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
    """See tinytorch/tokenization.py: here a heap of (rank, place) finds the next pair.

    A pair that a neighbour's merge has broken up stays in the heap, and is recognised when its
    turn comes. New pairs wait until all of this rank are merged, as in the reference.
    """
    chain = _Chain([*ids, _NONE])
    heap: list[tuple[int, int]] = []
    fresh = list(range(len(ids)))
    while True:
        for place in fresh:
            if rule := rules.get(chain.pair(place)):
                heapq.heappush(heap, (rule[0], place))
        if not heap:
            return [i for i in chain.ids if i != _NONE]
        fresh, first = [], heap[0][0]
        while heap and heap[0][0] == first:
            place = heapq.heappop(heap)[1]
            rule = rules.get(chain.pair(place))
            if rule and rule[0] == first:
                chain.merge(place, rule[1])
                fresh += [chain.before[place], place]
