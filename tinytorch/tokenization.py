"""Lesson 10: character-level and byte-pair tokenizers.

The functions that learn and apply merges are written for readability; text/fast_bpe.py has fast
versions.
"""

import codecs
import os
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .arguments import check_integer, shown
from .text.fast_bpe import CharTable, accelerated
from .text.gpt2_files import Vocabulary, read_gpt2, vocabulary_from_dict, vocabulary_to_dict
from .text.tokenizer import TokenIds as TokenIds
from .text.tokenizer import Tokenizer as Tokenizer
from .text.tokenizer import checked_ids, checked_text, texts_of

Pair = tuple[int, int]


# Characters ------------------------------------------------------------------------------------


class CharVocabulary(Tokenizer):
    """Base class of CharTokenizer: the vocabulary, and how it is saved.

    Attributes:
        vocab: list of V strings.
        char_to_id, id_to_char: dictionaries for encoding and decoding.
    """

    def __init__(self, vocab: Iterable[str] | None = None, unknown: str | None = None) -> None:
        if unknown is not None and not (isinstance(unknown, str) and unknown):
            raise ValueError(f"unknown must be a token such as '<unk>', not {shown(unknown)}")
        self.unknown = unknown
        self._set_vocab([] if vocab is None else vocab)

    def _set_vocab(self, vocab: Iterable[str]) -> None:
        """Assign ids to the characters, in order; the unknown token, if any, gets id 0."""
        characters = [c for c in vocab if self.unknown is None or c != self.unknown]
        if any(not isinstance(character, str) or len(character) != 1 for character in characters):
            raise ValueError("each entry of a character vocabulary must be a single character")
        if len(set(characters)) < len(characters):
            raise ValueError("the vocabulary contains a character twice")
        self.vocab = characters if self.unknown is None else [self.unknown, *characters]
        self.id_to_char = dict(enumerate(self.vocab))
        self.char_to_id = {character: i for i, character in enumerate(self.vocab)}
        self._table = CharTable(self.char_to_id, missing=-1 if self.unknown is None else 0)

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    def _unknown_id(self, character: str, text: str) -> int:
        """Return the id of a character outside the vocabulary, or raise ValueError."""
        character.encode("utf-8")  # raises UnicodeEncodeError, a ValueError, for a lone surrogate
        if self.unknown is not None:
            return 0
        missing = sorted({character} | set(text) - set(self.vocab))
        names = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"not in the vocabulary of {self.vocab_size} characters: {names}; call build_vocab "
            'with text that contains them, or create the tokenizer with unknown="<unk>"'
        )

    def encode_array(self, text: str) -> NDArray[np.int64]:
        """Return the ids of a text as an array (T,), by one table lookup."""
        ids = self._table.ids(checked_text(text))
        if ids.min(initial=0) < 0:
            self._unknown_id(text[int(ids.argmin())], text)
        return ids

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind, "vocab": list(self.vocab), "unknown": self.unknown}

    @classmethod
    def _from_state(cls, state: Mapping[str, Any]) -> Self:
        if not isinstance(state["vocab"], list):
            raise ValueError(f"vocab must be a list of characters, not {shown(state['vocab'])}")
        return cls(state["vocab"], state["unknown"])


class CharTokenizer(CharVocabulary):
    """Character-level tokenizer: one id per character.

    Args:
        vocab: the characters in the order of their ids; alternatively, call `build_vocab`.
        unknown: token with id 0 that represents all characters outside the vocabulary. Without
            it, encoding such a character raises ValueError.

    Encoding a lone surrogate raises ValueError, with or without `unknown`.

    Example:
        >>> tokenizer = CharTokenizer()
        >>> tokenizer.build_vocab("hello")
        >>> tokenizer.vocab
        ['e', 'h', 'l', 'o']
        >>> tokenizer.encode("hole")
        [1, 3, 2, 0]
    """

    kind = "char"

    def build_vocab(self, corpus: str | Iterable[str]) -> None:
        """Set the vocabulary to the characters of one or more texts, sorted by code point."""
        characters: set[str] = set()
        for text in texts_of(corpus):
            characters |= set(text)
        self._set_vocab(sorted(characters))

    def encode(self, text: str) -> list[int]:
        """Return the id of each character; unknown characters are handled by `_unknown_id`."""
        text = checked_text(text)
        known = self.char_to_id
        return [known[c] if c in known else self._unknown_id(c, text) for c in text]

    def decode(self, ids: TokenIds) -> str:
        """Return the characters of ids, joined; an id outside [0, V) raises ValueError."""
        return "".join([self.id_to_char[i] for i in checked_ids(ids, self.vocab_size)])


# Byte-pair encoding: the algorithm ---------------------------------------------------------------


def text_to_bytes(text: str) -> list[int]:
    """Encode a text as UTF-8: one to four bytes per character, each in [0, 256).

    >>> text_to_bytes("né")
    [110, 195, 169]
    """
    return list(text.encode("utf-8"))


def bytes_to_text(tokens: Iterable[bytes]) -> str:
    """Join the bytes of tokens and decode them; a character may span several tokens.

    Invalid UTF-8, such as half a character, becomes U+FFFD.

    >>> bytes_to_text([b"n", bytes([195]), bytes([169])])
    'né'
    """
    return b"".join(tokens).decode("utf-8", errors="replace")


@cache
def _word_pattern() -> Any:
    """GPT-2's words: contractions; letters, digits or signs after an optional space; spaces."""
    import regex  # on first use, because importing it takes longer than importing this module

    return regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


def split_words(text: str) -> list[str]:
    """Split a text into words as GPT-2 does; a space belongs to the word that follows it.

    Joining the words restores the text. Merges never cross word boundaries, so "dog", "dog." and
    "dog!" do not each become a token.

    >>> split_words("The dog's bone.")
    ['The', ' dog', "'s", ' bone', '.']
    """
    words: list[str] = _word_pattern().findall(text)
    return words


def count_pairs(words: Iterable[tuple[list[int], int]]) -> Counter[Pair]:
    """Count the pairs of adjacent ids.

    Args:
        words: the ids and the count of each distinct word.

    >>> count_pairs([([7, 8, 7], 10), ([7, 8], 1)])
    Counter({(7, 8): 11, (8, 7): 10})
    """
    counts: Counter[Pair] = Counter()
    for ids, times in words:
        for pair in pairwise(ids):
            counts[pair] += times
    return counts


def most_frequent(counts: Mapping[Pair, int]) -> Pair:
    """Return the pair with the highest count; ties go to the smallest ids.

    >>> most_frequent({(7, 9): 3, (7, 8): 3, (1, 2): 1})
    (7, 8)
    """
    return min(counts, key=lambda pair: (-counts[pair], pair))


def merge_pair(ids: list[int], pair: Pair, merged: int) -> list[int]:
    """Return a copy of `ids` with `merged` in place of each occurrence of the pair.

    Occurrences may overlap and are replaced from left to right: of three equal ids, the first two
    are merged.

    >>> merge_pair([7, 7, 7, 8], (7, 7), 256)
    [256, 7, 8]
    """
    result = []
    i = 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            result.append(merged)
            i += 2
        else:
            result.append(ids[i])
            i += 1
    return result


@accelerated
def learn_merges(words: Mapping[str, int], count: int) -> list[Pair]:
    """Learn merges: repeatedly merge the most frequent pair in all words.

    Tokens 0 to 255 are the bytes; the first merge creates token 256, the second 257, and so on.

    Args:
        words: the count of each word.
        count: number of merges to learn.

    Returns:
        The merged pairs in order, fewer than `count` if no pair is left.

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
    """Apply merges to one word, in the order in which they were learned.

    Args:
        ids: ids of the word's bytes.
        rules: the rank (0 for the first merge learned) and the new token of each pair.

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
    """Split a text at special tokens: ordinary text at even indices, special tokens at odd ones.

    If one special token is a prefix of another, the longer one matches.

    >>> split_special("one<end>two", ["<end>"])
    ['one', '<end>', 'two']
    """
    longest_first = sorted(special_tokens, key=len, reverse=True)
    if not longest_first:
        return [text]
    return re.split("(" + "|".join(re.escape(token) for token in longest_first) + ")", text)


# Byte-pair encoding: the tokenizer ----------------------------------------------------------------


class BPEVocabulary(Tokenizer):
    """Base class of BPETokenizer: the numbering of the tokens, and how they are saved.

    Attributes:
        vocab: list of V bytes objects, indexed by id.
        merges: list of pairs of ids, in the order in which they were learned.
        special_tokens: dictionary from text to id.
    """

    _CACHED_WORDS, _CACHED_LENGTH = 65_536, 64

    def __init__(self, vocab_size: int = 1000, special_tokens: Iterable[str] = ()) -> None:
        texts = list(special_tokens)
        valid = all(isinstance(text, str) and text for text in texts)
        if isinstance(special_tokens, str) or not valid or len(set(texts)) < len(texts):
            raise ValueError("special_tokens must be a list of distinct, non-empty strings")
        self.special_tokens = dict.fromkeys(texts, 0)
        self._target = self._checked_target(vocab_size)
        self._set_merges([])

    def _checked_target(self, vocab_size: int) -> int:
        return check_integer("vocab_size", vocab_size, least=256 + len(self.special_tokens))

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    def _set_merges(self, merges: list[Pair]) -> None:
        """Assign ids in this order: bytes, merges, special tokens."""
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

    @abstractmethod
    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """Return the ids of a text."""

    def encode_array(self, text: str, allow_special: bool = False) -> NDArray[np.int64]:
        return np.array(self.encode(text, allow_special), dtype=np.int64)

    def _encode_word(self, word: str) -> list[int]:
        """Return the ids of a word, and cache them."""
        ids = apply_merges([self._byte_ids[byte] for byte in text_to_bytes(word)], self._rules)
        if len(word) <= self._CACHED_LENGTH:
            if len(self._cache) >= self._CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = ids
        return ids

    def decode_stream(self, ids: TokenIds) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for i in ids:
            yield decoder.decode(self.vocab[checked_ids([i], self.vocab_size)[0]])
        yield decoder.decode(b"", final=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the tokenizer as values that JSON can represent, with GPT-2's token names."""
        return {
            "type": self.kind,
            **vocabulary_to_dict(self.vocab, self.merges, self.special_tokens),
        }

    @classmethod
    def _from_state(cls, state: Mapping[str, Any]) -> Self:
        vocabulary = vocabulary_from_dict(state)
        tokenizer = cls(len(vocabulary.tokens) + len(vocabulary.special), vocabulary.special)
        tokenizer._set_vocab(vocabulary)
        return tokenizer

    @classmethod
    def from_gpt2(
        cls, vocab_file: str | os.PathLike[str], merges_file: str | os.PathLike[str]
    ) -> Self:
        """Create GPT-2's tokenizer from its two files.

        A token that is neither a byte nor the result of a merge, such as "<|endoftext|>", is
        special.

        Args:
            vocab_file: encoder.json, or vocab.json.
            merges_file: vocab.bpe, or merges.txt.

        Raises:
            ValueError: the files are not in GPT-2's format, or do not belong together.
        """
        try:
            return cls.from_dict({"type": "bpe", **read_gpt2(vocab_file, merges_file)})
        except ValueError as error:
            files = f"{os.fspath(vocab_file)} and {os.fspath(merges_file)}"
            raise ValueError(f"cannot create a tokenizer from {files}: {error}") from error


class BPETokenizer(BPEVocabulary):
    """Byte-level byte-pair encoding (BPE): start from bytes, merge the most frequent pairs.

    Ids 0 to 255 are the bytes, followed by one token per merge, followed by the special tokens.
    Any text can be encoded and decodes to itself; a lone surrogate raises ValueError.

    Args:
        vocab_size: number of tokens to train, including bytes and special tokens; ValueError if
            it is smaller than their number.
        special_tokens: texts such as "<|endoftext|>", each a single token that is never merged.

    Sources: Sennrich, Haddow and Birch 2016, https://arxiv.org/abs/1508.07909; on bytes: Radford
    et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2).

    Example:
        >>> tokenizer = BPETokenizer(vocab_size=258)
        >>> tokenizer.train("low lower lowest")
        >>> [tokenizer.vocab[i] for i in tokenizer.encode("slow")]
        [b's', b'low']
    """

    kind = "bpe"

    def train(self, corpus: str | Iterable[str], vocab_size: int | None = None) -> None:
        """Learn merges from one or more texts, replacing those learned before.

        Training stops early, with a smaller vocab_size, when no pair is left. Special tokens
        split the text, and nothing is learned from them.
        """
        if vocab_size is not None:
            self._target = self._checked_target(vocab_size)
        words: Counter[str] = Counter()
        for text in texts_of(corpus):
            for part in split_special(text, self.special_tokens)[::2]:
                words.update(split_words(part))
        self._set_merges(learn_merges(words, self._target - 256 - len(self.special_tokens)))

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """Return the ids of a text.

        With `allow_special`, special tokens in the text are encoded as such. By default they are
        ordinary text, so that a user who types "<|endoftext|>" cannot end a prompt.
        """
        text = checked_text(text)
        ids: list[int] = []
        for n, part in enumerate(split_special(text, self.special_tokens if allow_special else [])):
            if n % 2:
                ids.append(self.special_tokens[part])
            else:
                for word in split_words(part):
                    ids += self._cache.get(word) or self._encode_word(word)
        return ids

    def decode(self, ids: TokenIds) -> str:
        """Return the text of ids; invalid UTF-8, such as half a character, becomes U+FFFD."""
        return bytes_to_text(self.vocab[i] for i in checked_ids(ids, self.vocab_size))


def create_tokenizer(
    strategy: str = "char", vocab_size: int = 1000, corpus: str | Iterable[str] | None = None
) -> Tokenizer:
    """Create a tokenizer by name, and train it on `corpus`, one or more texts.

    Args:
        strategy: "char" or "bpe".
        vocab_size: number of tokens of a "bpe" tokenizer.
        corpus: without it, the tokenizer is untrained.

    Raises:
        ValueError: an unknown name.

    >>> create_tokenizer("char", corpus="hello").vocab
    ['e', 'h', 'l', 'o']
    """
    if strategy == "char":
        char = CharTokenizer()
        char.build_vocab(corpus or "")
        return char
    if strategy == "bpe":
        bpe = BPETokenizer(vocab_size)
        bpe.train(corpus or "")
        return bpe
    raise ValueError(f'unknown tokenizer {shown(strategy)}; choose "char" or "bpe"')


def tokenize_dataset(
    texts: str | Iterable[str], tokenizer: Tokenizer, max_length: int | None = None
) -> list[list[int]]:
    """Encode each text, and truncate its ids to `max_length` tokens."""
    return [tokenizer.encode(text)[:max_length] for text in texts_of(texts)]
