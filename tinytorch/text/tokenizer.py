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
        kinds = {known.kind: known for known in reversed(Tokenizer.__subclasses__())}
        try:
            found = cls if cls.kind == state["type"] else kinds[state["type"]]
            if not issubclass(found, cls):
                raise ValueError(f"it is a {found.__name__}, not a {cls.__name__}")
            return found._from_state(state)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the description of a tokenizer ({error!r})") from error

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
            return cls.from_dict(json.loads(Path(path).read_bytes()))
        except ValueError as error:
            raise ValueError(f"cannot load a tokenizer from {os.fspath(path)}: {error}") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"


def texts_of(corpus: str | Iterable[str]) -> Iterable[str]:
    """Return the texts of a corpus, which is one text or several."""
    return [corpus] if isinstance(corpus, str) else corpus


def checked_ids(ids: TokenIds, vocab_size: int) -> list[int]:
    """Return ids as plain ints; a negative one must not index from the end of a list.

    Raises:
        ValueError: an id is outside [0, vocab_size).
    """
    numbers = [index(i) for i in ids]
    bad = next((i for i in numbers if not 0 <= i < vocab_size), None)
    if bad is not None:
        raise ValueError(f"token id {bad} is not in the vocabulary of {vocab_size} tokens")
    return numbers
