"""Lesson 10: from text to token ids and back, character by character or by byte-pair encoding."""

import codecs
import heapq
import json
import os
import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from operator import index
from pathlib import Path
from typing import Any, ClassVar, Self, SupportsIndex

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
Ids = Iterable[SupportsIndex]  # ints, or an integer array of shape (T,)


class Tokenizer(ABC):
    """Text to ids and back; every id is in [0, vocab_size).

    A subclass names itself in `kind`, which is how a saved file finds its class again.
    """

    kind: ClassVar[str] = ""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """V, the number of ids."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of a text."""

    @abstractmethod
    def decode(self, ids: Ids) -> str:
        """The text of ids: ints or an integer array (T,). An id outside of [0, V): ValueError."""

    def decode_stream(self, ids: Ids) -> Iterator[str]:
        """The text of each id as it comes; one that ends within a character gives "" at first."""
        return (self.decode([i]) for i in ids)

    def encode_array(self, text: str) -> NDArray[np.int64]:
        """The ids of a text as an array (T,): the way to encode a whole data set."""
        return np.array(self.encode(text), dtype=np.int64)

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All of the tokenizer, fit for JSON; "type" holds its kind."""

    @classmethod
    @abstractmethod
    def _from_state(cls, state: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote, read back."""

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The tokenizer that `to_dict` described, in its own class; ValueError if it is none."""
        kinds = {subclass.kind: subclass for subclass in Tokenizer.__subclasses__()}
        try:
            found = cls if cls.kind == state["type"] else kinds[state["type"]]
            if not issubclass(found, cls):
                raise ValueError(f"it is a {found.__name__}, not a {cls.__name__}")
            return found._from_state(state)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this describes no tokenizer ({error!r})") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON in UTF-8. A reader sees the old file or the new one, never half of one."""
        path = Path(path)
        text = json.dumps(self.to_dict(), ensure_ascii=False)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote; ValueError if the file holds something else."""
        try:
            return cls.from_dict(json.loads(Path(path).read_bytes()))
        except ValueError as error:
            raise ValueError(f"cannot load a tokenizer from {os.fspath(path)}: {error}") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"


def _texts(corpus: str | Iterable[str]) -> Iterable[str]:
    return [corpus] if isinstance(corpus, str) else corpus


def _checked(ids: Ids, vocab_size: int) -> list[int]:
    """Ids as plain ints; a negative one must not quietly count from the end of a list."""
    numbers = [index(i) for i in ids]
    bad = next((i for i in numbers if not 0 <= i < vocab_size), None)
    if bad is not None:
        raise ValueError(f"token id {bad} is not in the vocabulary of {vocab_size} tokens")
    return numbers


# One token per character -----------------------------------------------------------------------


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


class CharTokenizer(Tokenizer):
    """One id per character.

    Args:
        vocab: the characters, in the order of their ids; or call `build_vocab`.
        unknown: text that takes id 0 and stands for every character not in the vocabulary.
            Without it such a character is a ValueError.

    Attributes:
        vocab: list of V strings.
        char_to_id, id_to_char: the two directions, as dictionaries.

    Half of a surrogate pair is no character: encoding one is a ValueError too.

    Example:
        >>> tokenizer = CharTokenizer()
        >>> tokenizer.build_vocab("hello")
        >>> tokenizer.encode("hole")  # of e h l o
        [1, 3, 2, 0]
    """

    kind = "char"

    def __init__(self, vocab: Iterable[str] | None = None, unknown: str | None = None) -> None:
        self.unknown = unknown
        self._set_vocab([] if vocab is None else vocab)

    def build_vocab(self, corpus: str | Iterable[str]) -> None:
        """Take the characters of a text, or of many, sorted by code point."""
        self._set_vocab(sorted(set().union(*_texts(corpus))))

    def _set_vocab(self, vocab: Iterable[str]) -> None:
        characters = [character for character in vocab if character != self.unknown]
        if any(len(character) != 1 for character in characters):
            raise ValueError("each entry of a character vocabulary is a string of one character")
        if len(set(characters)) < len(characters):
            raise ValueError("a character occurs twice in the vocabulary")
        self.vocab = characters if self.unknown is None else [self.unknown, *characters]
        self.id_to_char = dict(enumerate(self.vocab))
        self.char_to_id = {character: i for i, character in enumerate(self.vocab)}
        self._table = self._lookup_table()

    def _lookup_table(self) -> NDArray[np.int64]:
        """Ids by code point; the last entry stands for all code points beyond."""
        known = [character for character in self.vocab if len(character) == 1]
        points = _code_points("".join(known))
        missing = -1 if self.unknown is None else 0
        table = np.full(int(points.max(initial=0)) + 2, missing, dtype=np.int64)
        table[points] = [self.char_to_id[character] for character in known]
        return table

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.encode_array(text).tolist()
        return ids

    def encode_array(self, text: str) -> NDArray[np.int64]:
        # One look-up for the whole text: a loop over characters takes twenty times as long.
        points = np.minimum(_code_points(text), len(self._table) - 1)
        ids = self._table[points]
        if ids.size and ids.min() < 0:
            self._refuse(text)
        return ids

    def _refuse(self, text: str) -> None:
        strangers = sorted(set(text) - set(self.vocab))
        names = ", ".join(map(repr, strangers[:5])) + (", ..." if len(strangers) > 5 else "")
        raise ValueError(
            f"not in the vocabulary of {self.vocab_size} characters: {names}; build_vocab on text "
            'that has them, or create the tokenizer with unknown="<unk>"'
        )

    def decode(self, ids: Ids) -> str:
        return "".join([self.vocab[i] for i in _checked(ids, self.vocab_size)])

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind, "vocab": list(self.vocab), "unknown": self.unknown}

    @classmethod
    def _from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(state["vocab"], state["unknown"])


# Byte-pair encoding ----------------------------------------------------------------------------

_NONE = -1  # no token: between words, and where a merge took a token away


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


@cache
def _word_pattern() -> Any:
    """GPT-2's words: contractions, letters, digits or signs after at most one space, spaces.

    Merges never cross a word, so "dog", "dog." and "dog!" do not each become a token.
    """
    import regex  # here, not above: it alone takes longer to import than this whole file

    return regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


# GPT-2 writes tokens as visible text: a byte that is no visible character takes the next one from
# U+0100 on, so that the space is Ġ and the line feed Ċ.
_VISIBLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_NAME_OF_BYTE = {b: 256 + n for n, b in enumerate(b for b in range(256) if b not in _VISIBLE)}
_BYTE_OF_NAME = {name: byte for byte, name in _NAME_OF_BYTE.items()}


def _to_name(token: bytes) -> str:
    return token.decode("latin-1").translate(_NAME_OF_BYTE)


def _from_name(name: str) -> bytes:
    return name.translate(_BYTE_OF_NAME).encode("latin-1")


class BPETokenizer(Tokenizer):
    """Byte-level byte-pair encoding: start from bytes, merge the most frequent neighbours.

    Ids 0 to 255 are the bytes, then one token per merge, then the special tokens. All text can
    be encoded, and decodes to itself; half of a surrogate pair is no text, and a ValueError.

    Args:
        vocab_size: how many tokens to train, bytes and special tokens included; ValueError if
            these alone are more.
        special_tokens: texts such as "<|endoftext|>" that are one token each, never merged.

    Attributes:
        vocab: list of V bytes objects, by id.
        merges: list of pairs of ids, in the order in which they were learned.
        special_tokens: dictionary from text to id.

    Sources: Sennrich, Haddow and Birch 2016, https://arxiv.org/abs/1508.07909; on bytes: Radford
    et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2).

    Example:
        >>> tokenizer = BPETokenizer(vocab_size=258)
        >>> tokenizer.train("low lower lowest")
        >>> [tokenizer.vocab[i] for i in tokenizer.encode("slow")]
        [b's', b'low']
    """

    kind = "bpe"
    _CACHED_WORDS, _CACHED_LENGTH = 65_536, 64

    def __init__(self, vocab_size: int = 1000, special_tokens: Iterable[str] = ()) -> None:
        texts = list(special_tokens)
        if isinstance(special_tokens, str) or "" in texts or len(set(texts)) < len(texts):
            raise ValueError("special_tokens is a list of different texts, none of them empty")
        self.special_tokens = dict.fromkeys(texts, _NONE)
        self._special_pattern = re.compile(
            "(" + "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)) + ")"
        )
        self._target = self._checked_target(vocab_size)
        self._set_merges([])

    def _checked_target(self, vocab_size: int) -> int:
        smallest = 256 + len(self.special_tokens)
        if vocab_size < smallest:
            raise ValueError(f"vocab_size is {vocab_size}; bytes and special tokens: {smallest}")
        return vocab_size

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    def train(self, corpus: str | Iterable[str], vocab_size: int | None = None) -> None:
        """Learn merges from a text, or from many, in place of those learned before.

        At each step the pair of tokens that occurs most often becomes a token; among equals the
        one with the smallest ids. Stops early, with a smaller vocab_size, when no pair is left.
        Special tokens in the text cut it, and nothing is learned from them.
        """
        if vocab_size is not None:
            self._target = self._checked_target(vocab_size)
        words: Counter[str] = Counter()
        for text in _texts(corpus):
            for part in self._split_special(text)[::2]:
                words.update(_word_pattern().findall(part))
        counts = _PairCounts(words)
        merges: list[Pair] = []
        while 256 + len(merges) + len(self.special_tokens) < self._target:
            pair = counts.pop_most_common()
            if pair is None:
                break
            counts.merge(pair, 256 + len(merges))
            merges.append(pair)
        self._set_merges(merges)

    def _set_merges(self, merges: list[Pair]) -> None:
        tokens = [bytes([byte]) for byte in range(256)]
        for left, right in merges:
            tokens.append(tokens[left] + tokens[right])
        special = {text: len(tokens) + n for n, text in enumerate(self.special_tokens)}
        self._set_vocab({token: i for i, token in enumerate(tokens)}, merges, special)

    def _set_vocab(
        self, tokens: Mapping[bytes, int], merges: list[Pair], special: dict[str, int]
    ) -> None:
        by_id = {i: token for token, i in tokens.items()}
        by_id |= {i: text.encode("utf-8") for text, i in special.items()}
        self.vocab = [by_id[i] for i in range(len(by_id))]
        self.merges, self.special_tokens = merges, special
        self._byte_ids = [tokens[bytes([byte])] for byte in range(256)]
        self._rules = {
            (left, right): (rank, tokens[self.vocab[left] + self.vocab[right]])
            for rank, (left, right) in enumerate(merges)
        }
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """The ids of a text.

        Special tokens in it are plain text unless `allow_special`: whoever types
        "<|endoftext|>" at a prompt should not be able to end it.
        """
        ids: list[int] = []
        for n, part in enumerate(self._split_special(text) if allow_special else [text]):
            if n % 2:
                ids.append(self.special_tokens[part])
                continue
            for word in _word_pattern().findall(part):
                ids += self._cache.get(word) or self._encode_word(word)
        return ids

    def encode_array(self, text: str, allow_special: bool = False) -> NDArray[np.int64]:
        return np.array(self.encode(text, allow_special), dtype=np.int64)

    def _split_special(self, text: str) -> list[str]:
        """Plain text at the even places, special tokens at the odd ones."""
        return self._special_pattern.split(text) if self.special_tokens else [text]

    def _encode_word(self, word: str) -> list[int]:
        ids = self._apply_merges([self._byte_ids[byte] for byte in word.encode("utf-8")])
        if len(word) <= self._CACHED_LENGTH:
            if len(self._cache) >= self._CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = ids
        return ids

    def _apply_merges(self, ids: list[int]) -> list[int]:
        """Merge as in training: the earliest learned pair first, left to right.

        A heap of (rank, place) finds it in O(log T). A pair that a neighbour's merge has broken
        up stays in the heap, and is recognised when its turn comes.
        """
        chain, rules = _Chain([*ids, _NONE]), self._rules
        heap: list[tuple[int, int]] = []

        def offer(place: int) -> None:
            if rule := rules.get(chain.pair(place)):
                heapq.heappush(heap, (rule[0], place))

        for place in range(len(ids)):
            offer(place)
        while heap:
            rank, place = heapq.heappop(heap)
            rule = rules.get(chain.pair(place))
            if rule and rule[0] == rank:
                chain.merge(place, rule[1])
                offer(chain.before[place])
                offer(place)
        return [i for i in chain.ids if i != _NONE]

    def decode(self, ids: Ids) -> str:
        """The text of ids; bytes that are no UTF-8, as in half a character, become U+FFFD."""
        tokens = [self.vocab[i] for i in _checked(ids, self.vocab_size)]
        return b"".join(tokens).decode("utf-8", errors="replace")

    def decode_stream(self, ids: Ids) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for i in ids:
            yield decoder.decode(self.vocab[_checked([i], self.vocab_size)[0]])
        yield decoder.decode(b"", final=True)

    def to_dict(self) -> dict[str, Any]:
        names = [_to_name(token) for token in self.vocab]
        special = set(self.special_tokens.values())
        return {
            "type": self.kind,
            "vocab": {name: i for i, name in enumerate(names) if i not in special},
            "merges": [f"{names[left]} {names[right]}" for left, right in self.merges],
            "special_tokens": dict(self.special_tokens),
        }

    @classmethod
    def _from_state(cls, state: Mapping[str, Any]) -> Self:
        special = dict(state["special_tokens"])
        tokens = {_from_name(name): i for name, i in state["vocab"].items()}
        if any(bytes([byte]) not in tokens for byte in range(256)):
            raise ValueError("the vocabulary lacks some of the 256 bytes")
        if sorted([*tokens.values(), *special.values()]) != [*range(len(tokens) + len(special))]:
            raise ValueError("the ids of a vocabulary are 0, 1, 2 and so on, each of them once")
        pairs = (line.split(" ") for line in state["merges"])
        merges = [(tokens[_from_name(left)], tokens[_from_name(right)]) for left, right in pairs]
        tokenizer = cls(len(tokens) + len(special), special)
        tokenizer._set_vocab(tokens, merges, special)
        return tokenizer

    @classmethod
    def from_gpt2(
        cls, vocab_file: str | os.PathLike[str], merges_file: str | os.PathLike[str]
    ) -> Self:
        """Read GPT-2's two files, encoder.json (or vocab.json) and vocab.bpe (or merges.txt).

        Encodes exactly as GPT-2 does. What is in the vocabulary but neither a byte nor made by a
        merge, such as "<|endoftext|>", is a special token. ValueError if the files do not fit.
        """
        try:
            vocab = json.loads(Path(vocab_file).read_bytes())
            lines = Path(merges_file).read_text(encoding="utf-8").split("\n")
            merges = [line for line in lines[lines[0].startswith("#version") :] if line]
            made = {line.replace(" ", "") for line in merges}
            special = {name: i for name, i in vocab.items() if len(name) > 1 and name not in made}
            ordinary = {name: i for name, i in vocab.items() if name not in special}
            return cls.from_dict(
                {"type": "bpe", "vocab": ordinary, "merges": merges, "special_tokens": special}
            )
        except (ValueError, AttributeError) as error:
            files = f"{os.fspath(vocab_file)} and {os.fspath(merges_file)}"
            raise ValueError(f"cannot make a tokenizer of {files}: {error}") from error


def create_tokenizer(
    strategy: str = "char", vocab_size: int = 1000, corpus: str | Iterable[str] | None = None
) -> Tokenizer:
    """A tokenizer by name, "char" or "bpe", trained on a text or on many if there is a corpus."""
    if strategy == "char":
        characters = CharTokenizer()
        characters.build_vocab(corpus or "")
        return characters
    if strategy == "bpe":
        pieces = BPETokenizer(vocab_size)
        pieces.train(corpus or "")
        return pieces
    raise ValueError(f'no tokenizer is called {strategy!r}; there are "char" and "bpe"')


def tokenize_dataset(
    texts: str | Iterable[str], tokenizer: Tokenizer, max_length: int | None = None
) -> list[list[int]]:
    """The ids of each text, cut off after max_length tokens."""
    return [tokenizer.encode(text)[:max_length] for text in _texts(texts)]
