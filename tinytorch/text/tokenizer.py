"""The interface of all tokenizers: encode, decode, save and load."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from operator import index
from pathlib import Path
from typing import Any, ClassVar, Self, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from ..arguments import shown
from ..serialization.atomic import write_atomically

TokenIds = Iterable[SupportsIndex]  # ints, or an integer array of shape (T,)


class Tokenizer(ABC):
    """Base class of tokenizers, which map text to ids in [0, vocab_size) and back.

    A subclass sets `kind`, the name under which its saved files are recognised.
    """

    kind: ClassVar[str] = ""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """V, the number of ids."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""

    @abstractmethod
    def decode(self, ids: TokenIds) -> str:
        """Return the text of ids.

        Args:
            ids: ints, or an integer array of shape (T,).

        Raises:
            ValueError: an id is outside [0, V).
        """

    def decode_stream(self, ids: TokenIds) -> Iterator[str]:
        """Yield the text of each id as it arrives.

        The text of a token that ends within a character is delayed until the character is
        complete: "" is yielded for it.
        """
        return (self.decode([i]) for i in ids)

    def encode_array(self, text: str) -> NDArray[np.int64]:
        """Return the ids of a text as an array of shape (T,); use it for whole data sets."""
        return np.array(self.encode(text), dtype=np.int64)

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the tokenizer as values that JSON can represent; "type" is its `kind`."""

    @classmethod
    @abstractmethod
    def _from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the tokenizer that `to_dict` has described."""

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return the tokenizer that `to_dict` has described, in the class of its kind.

        Raises:
            ValueError: `state` describes no tokenizer, or not one of this class.
        """
        # The first class of a kind is the package's: a notebook may have defined another since.
        kinds: dict[str, type[Tokenizer]] = {}
        for known in _subclasses(Tokenizer):
            kinds.setdefault(known.kind, known)
        if not isinstance(state, Mapping):
            raise ValueError(f"a tokenizer is described by a dict, not {shown(state)}")
        kind = state.get("type")
        if not isinstance(kind, str) or not kind or (kind != cls.kind and kind not in kinds):
            raise ValueError(f"unknown type of tokenizer: {shown(kind)}")
        found = cls if cls.kind == kind else kinds[kind]
        if not issubclass(found, cls):
            raise ValueError(f"it is a {found.__name__}, not a {cls.__name__}")
        try:
            return found._from_state(state)
        except KeyError as error:
            raise ValueError(
                f"the description of a tokenizer lacks {shown(error.args[0])}"
            ) from None
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not the description of a tokenizer ({error!s:.100})") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer to a JSON file, atomically."""
        text = json.dumps(self.to_dict(), ensure_ascii=False)
        write_atomically(path, text.encode("utf-8"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a tokenizer from a file written by `save`.

        Raises:
            ValueError: the file contains something else.
        """
        try:
            return cls.from_dict(read_json(path))
        except ValueError as error:
            raise ValueError(f"cannot load a tokenizer from {os.fspath(path)}: {error}") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"


def _subclasses(base: type[Any]) -> Iterator[type[Tokenizer]]:
    """Yield the subclasses of a class, and theirs, in the order of their definition."""
    for known in base.__subclasses__():
        yield known
        yield from _subclasses(known)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; a byte-order mark is ignored.

    Raises:
        ValueError: the file is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def texts_of(corpus: str | Iterable[str]) -> Iterator[str]:
    """Yield the texts of a corpus, which is one text or several.

    Raises:
        TypeError: it is neither, or one of several is not a string.
    """
    given: object = corpus
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise TypeError(f"a corpus is a str or several, not {type(given).__name__}")
    for text in [corpus] if isinstance(corpus, str) else corpus:
        yield checked_text(text)


def checked_text(text: str) -> str:
    """Return a text.

    Raises:
        TypeError: it is not a string; iterating over bytes, for example, would yield numbers.
    """
    if not isinstance(text, str):
        raise TypeError(f"a tokenizer encodes a str, not {type(text).__name__}")
    return text


def checked_ids(ids: TokenIds, vocab_size: int) -> list[int]:
    """Return ids as plain ints; a negative one must not index from the end of a list.

    Raises:
        TypeError: they are not integers, or not one-dimensional.
        ValueError: an id is outside [0, vocab_size).
    """
    plain = ids.tolist() if hasattr(ids, "tolist") else ids  # arrays and tensors
    if not isinstance(plain, Iterable) or isinstance(plain, str | bytes):
        raise TypeError(f"decode takes ids of shape (T,), not {shown(ids)}")
    numbers = []
    for i in plain:
        if isinstance(i, bool) or not hasattr(i, "__index__"):
            raise TypeError(f"token ids must be integers of shape (T,), not {shown(i)}")
        numbers.append(index(i))
    bad = next((i for i in numbers if not 0 <= i < vocab_size), None)
    if bad is not None:
        raise ValueError(f"token id {shown(bad)} is not in the vocabulary of {vocab_size} tokens")
    return numbers
