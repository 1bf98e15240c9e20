"""Lesson 10: from text to token ids and back, character by character or by byte-pair encoding.

Merges are learned and applied by readable functions; backends/text.py does the same faster.
"""

import codecs
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .text.fast_bpe import CharTable, accelerated
from .text.gpt2_files import Vocabulary, read_gpt2, read_vocabulary, write_vocabulary
from .text.tokenizer import Ids as Ids
from .text.tokenizer import Tokenizer as Tokenizer
from .text.tokenizer import checked_ids, texts_of

Pair = tuple[int, int]


# One token per character -----------------------------------------------------------------------


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
        characters: set[str] = set()
        for text in texts_of(corpus):
            characters |= set(text)
        self._set_vocab(sorted(characters))

    def _set_vocab(self, vocab: Iterable[str]) -> None:
        characters = [character for character in vocab if character != self.unknown]
        if any(len(character) != 1 for character in characters):
            raise ValueError("each entry of a character vocabulary is a string of one character")
        if len(set(characters)) < len(characters):
            raise ValueError("a character occurs twice in the vocabulary")
        self.vocab = characters if self.unknown is None else [self.unknown, *characters]
        self.id_to_char = dict(enumerate(self.vocab))
        self.char_to_id = {character: i for i, character in enumerate(self.vocab)}
        self._table = CharTable(self.char_to_id, missing=-1 if self.unknown is None else 0)

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    def encode(self, text: str) -> list[int]:
        """The id of each character; `_stranger` knows what one takes that has none."""
        known = self.char_to_id
        return [known[c] if c in known else self._stranger(c, text) for c in text]

    def encode_array(self, text: str) -> NDArray[np.int64]:
        """As `encode`, in one look-up for the whole text."""
        ids = self._table.ids(text)
        if ids.min(initial=0) < 0:
            self._stranger(text[int(ids.argmin())], text)
        return ids

    def _stranger(self, character: str, text: str) -> int:
        """The id of a character that is not in the vocabulary; or ValueError."""
        character.encode("utf-8")  # half of a surrogate pair: ValueError
        if self.unknown is not None:
            return 0
        strangers = sorted(set(text) - set(self.vocab))
        names = ", ".join(map(repr, strangers[:5])) + (", ..." if len(strangers) > 5 else "")
        raise ValueError(
            f"not in the vocabulary of {self.vocab_size} characters: {names}; build_vocab on text "
            'that has them, or create the tokenizer with unknown="<unk>"'
        )

    def decode(self, ids: Ids) -> str:
        """The characters of ids, joined."""
        return "".join([self.id_to_char[i] for i in checked_ids(ids, self.vocab_size)])

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind, "vocab": list(self.vocab), "unknown": self.unknown}

    @classmethod
    def _from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(state["vocab"], state["unknown"])


# Byte-pair encoding, in functions ---------------------------------------------------------------


def text_to_bytes(text: str) -> list[int]:
    """The bytes of a text in UTF-8, each in [0, 256): one to four for a character.

    >>> text_to_bytes("né")
    [110, 195, 169]
    """
    return list(text.encode("utf-8"))


def bytes_to_text(tokens: Iterable[bytes]) -> str:
    """The text whose bytes the tokens are; a character's bytes may stand in several tokens.

    Bytes that are no UTF-8, as in half a character, become U+FFFD.

    >>> bytes_to_text([b"n", bytes([195]), bytes([169])])
    'né'
    """
    return b"".join(tokens).decode("utf-8", errors="replace")


@cache
def _word_pattern() -> Any:
    """GPT-2's words: contractions, letters, digits or signs after at most one space, spaces."""
    import regex  # here, not above: it alone takes longer to import than this whole file

    return regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


def split_words(text: str) -> list[str]:
    """Cut a text into words, a space before a word being part of it; nothing is lost.

    Merges never cross a word, so "dog", "dog." and "dog!" do not each become a token.

    >>> split_words("The dog's bone.")
    ['The', ' dog', "'s", ' bone', '.']
    """
    words: list[str] = _word_pattern().findall(text)
    return words


def count_pairs(words: Iterable[tuple[list[int], int]]) -> Counter[Pair]:
    """How often each pair of neighbours occurs.

    Args:
        words: the ids of each distinct word, and how often it occurs.

    >>> count_pairs([([7, 8, 7], 10), ([7, 8], 1)])
    Counter({(7, 8): 11, (8, 7): 10})
    """
    counts: Counter[Pair] = Counter()
    for ids, times in words:
        for pair in pairwise(ids):
            counts[pair] += times
    return counts


def most_frequent(counts: Mapping[Pair, int]) -> Pair:
    """The pair with the highest count; among equals the one with the smallest ids.

    >>> most_frequent({(7, 9): 3, (7, 8): 3, (1, 2): 1})
    (7, 8)
    """
    return min(counts, key=lambda pair: (-counts[pair], pair))


def merge_pair(ids: list[int], pair: Pair, merged: int) -> list[int]:
    """The ids with `merged` in place of each occurrence of the pair, from left to right.

    Occurrences may overlap: of three equal ids the first two become one, and the third stays.
    `ids` itself stays as it is.

    >>> merge_pair([7, 7, 7, 8], (7, 7), 256)
    [256, 7, 8]
    """
    result = []
    place = 0
    while place < len(ids):
        if tuple(ids[place : place + 2]) == pair:
            result.append(merged)
            place += 2
        else:
            result.append(ids[place])
            place += 1
    return result


@accelerated
def learn_merges(words: Mapping[str, int], count: int) -> list[Pair]:
    """The pairs to merge, in order: each step merges the most frequent one everywhere.

    The tokens are the bytes, 0 to 255; the first merge makes token 256, the next one 257, and so
    on. There are fewer than `count` merges when no pair is left.

    Args:
        words: how often each word occurs.
        count: how many merges to learn.

    >>> learn_merges({"low": 5, "lower": 2}, 2)  # l o, then lo w
    [(108, 111), (256, 119)]
    """
    tokens = [(text_to_bytes(word), times) for word, times in words.items()]
    merges: list[Pair] = []
    while len(merges) < count:
        counts = count_pairs(tokens)
        if not counts:
            break
        pair, merged = most_frequent(counts), 256 + len(merges)
        tokens = [(merge_pair(ids, pair, merged), times) for ids, times in tokens]
        merges.append(pair)
    return merges


@accelerated
def apply_merges(ids: list[int], rules: Mapping[Pair, tuple[int, int]]) -> list[int]:
    """The ids of one word after all merges, in the order in which they were learned.

    Args:
        ids: the word's bytes.
        rules: for each pair its rank (0 was learned first), and the token that it becomes.

    >>> apply_merges([108, 111, 119], {(108, 111): (0, 256), (256, 119): (1, 257)})
    [257]
    """
    while True:
        pairs = [pair for pair in pairwise(ids) if pair in rules]
        if not pairs:
            return ids
        first = min(pairs, key=lambda pair: rules[pair])
        ids = merge_pair(ids, first, rules[first][1])


def split_special(text: str, special_tokens: Iterable[str]) -> list[str]:
    """Cut a text at special tokens: plain text at the even places, special tokens at the odd ones.

    Where one special token begins another, the longer one counts.

    >>> split_special("one<end>two", ["<end>"])
    ['one', '<end>', 'two']
    """
    longest_first = sorted(special_tokens, key=len, reverse=True)
    if not longest_first:
        return [text]
    return re.split("(" + "|".join(re.escape(token) for token in longest_first) + ")", text)


# Byte-pair encoding, as a tokenizer ---------------------------------------------------------------


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
        self.special_tokens = dict.fromkeys(texts, 0)
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
        for text in texts_of(corpus):
            for part in split_special(text, self.special_tokens)[::2]:
                words.update(split_words(part))
        self._set_merges(learn_merges(words, self._target - 256 - len(self.special_tokens)))

    def _set_merges(self, merges: list[Pair]) -> None:
        """Number the tokens: bytes, merges, special tokens."""
        tokens = [bytes([byte]) for byte in range(256)]
        for left, right in merges:
            tokens.append(tokens[left] + tokens[right])
        special = {text: len(tokens) + n for n, text in enumerate(self.special_tokens)}
        self._set_vocab(Vocabulary({t: i for i, t in enumerate(tokens)}, merges, special))

    def _set_vocab(self, vocabulary: Vocabulary) -> None:
        tokens, self.merges, self.special_tokens = vocabulary
        by_id = {i: token for token, i in tokens.items()}
        by_id |= {i: text.encode("utf-8") for text, i in self.special_tokens.items()}
        self.vocab = [by_id[i] for i in range(len(by_id))]
        self._byte_ids = [tokens[bytes([byte])] for byte in range(256)]
        self._rules = {
            (left, right): (rank, tokens[self.vocab[left] + self.vocab[right]])
            for rank, (left, right) in enumerate(self.merges)
        }
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """The ids of a text.

        Special tokens in it are plain text unless `allow_special`: whoever types
        "<|endoftext|>" at a prompt should not be able to end it.
        """
        ids: list[int] = []
        for n, part in enumerate(split_special(text, self.special_tokens if allow_special else [])):
            if n % 2:
                ids.append(self.special_tokens[part])
            else:
                for word in split_words(part):
                    ids += self._cache.get(word) or self._encode_word(word)
        return ids

    def encode_array(self, text: str, allow_special: bool = False) -> NDArray[np.int64]:
        return np.array(self.encode(text, allow_special), dtype=np.int64)

    def _encode_word(self, word: str) -> list[int]:
        """The ids of a word, remembered for its next occurrence."""
        ids = apply_merges([self._byte_ids[byte] for byte in text_to_bytes(word)], self._rules)
        if len(word) <= self._CACHED_LENGTH:
            if len(self._cache) >= self._CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = ids
        return ids

    def decode(self, ids: Ids) -> str:
        """The text of ids; bytes that are no UTF-8, as in half a character, become U+FFFD."""
        return bytes_to_text(self.vocab[i] for i in checked_ids(ids, self.vocab_size))

    def decode_stream(self, ids: Ids) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for i in ids:
            yield decoder.decode(self.vocab[checked_ids([i], self.vocab_size)[0]])
        yield decoder.decode(b"", final=True)

    def to_dict(self) -> dict[str, Any]:
        """All of the tokenizer, fit for JSON, with GPT-2's names for tokens."""
        return {
            "type": self.kind,
            **write_vocabulary(self.vocab, self.merges, self.special_tokens),
        }

    @classmethod
    def _from_state(cls, state: Mapping[str, Any]) -> Self:
        vocabulary = read_vocabulary(state)
        tokenizer = cls(len(vocabulary.tokens) + len(vocabulary.special), vocabulary.special)
        tokenizer._set_vocab(vocabulary)
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
            return cls.from_dict({"type": "bpe", **read_gpt2(vocab_file, merges_file)})
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
    return [tokenizer.encode(text)[:max_length] for text in texts_of(texts)]
