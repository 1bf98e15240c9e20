"""Byte-pair encoding of source code: words that keep the indentation of a line together."""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

from ..text.tokenizer import checked_text, texts_of
from ..tokenization import BPETokenizer, learn_merges


@cache
def _pattern() -> Any:
    import regex  # on first use, as in `tinytorch.tokenization`

    return regex.compile(
        r"(?:[ \t\f]*\n)+[ \t]*"  # ends of lines, and the indentation of the next one
        r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"  # letters, digits or signs, as in GPT-2
        r"|\s+(?!\S)|\s+"
    )


def split_code(text: str) -> list[str]:
    r"""Split source code into words; joining them restores it.

    A line's end and the indentation of the next line are one word, so that "return" is the same
    token at any depth, and each depth can become a token. GPT-2's words leave the last space of the
    indentation to the next word.

    >>> split_code("if x:\n    return x")
    ['if', ' x', ':', '\n    ', 'return', ' x']
    """
    words: list[str] = _pattern().findall(text)
    return words


class CodeTokenizer(BPETokenizer):
    r"""Byte-level BPE on the words of `split_code`; it has no special tokens.

    Args:
        vocab_size: number of tokens to train, including the 256 bytes.

    Example:
        >>> tokenizer = CodeTokenizer(vocab_size=270)
        >>> tokenizer.train("if x:\n    return x\n    return y")
        >>> [tokenizer.vocab[i] for i in tokenizer.encode("x\n    y")]
        [b'x', b'\n    ', b'y']
    """

    kind = "code"

    def __init__(self, vocab_size: int = 1000, special_tokens: Iterable[str] = ()) -> None:
        super().__init__(vocab_size, special_tokens)
        if self.special_tokens:
            raise ValueError("a tokenizer of code has no special tokens")

    def train(self, corpus: str | Iterable[str], vocab_size: int | None = None) -> None:
        size = self._target if vocab_size is None else vocab_size
        self._target = self._checked_target(size)
        counts = Counter(word for text in texts_of(corpus) for word in split_code(text))
        self._set_merges(learn_merges(counts, size - 256))

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        ids: list[int] = []
        for word in split_code(checked_text(text)):
            ids.extend(self._cache.get(word) or self._encode_word(word))
        return ids
