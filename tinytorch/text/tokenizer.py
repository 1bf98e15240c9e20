"""What all tokenizers have in common: ids for text, text for ids, and a file to keep them in."""

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
        # The class that was first of its kind: a notebook may have defined another one since.
        kinds = {known.kind: known for known in reversed(Tokenizer.__subclasses__())}
        try:
            found = cls if cls.kind == state["type"] else kinds[state["type"]]
            if not issubclass(found, cls):
                raise ValueError(f"it is a {found.__name__}, not a {cls.__name__}")
            return found._from_state(state)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this describes no tokenizer ({error!r})") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer as JSON in UTF-8, atomically."""
        text = json.dumps(self.to_dict(), ensure_ascii=False)
        write_atomically(path, text.encode("utf-8"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote; ValueError if the file holds something else."""
        try:
            return cls.from_dict(json.loads(Path(path).read_bytes()))
        except ValueError as error:
            raise ValueError(f"cannot load a tokenizer from {os.fspath(path)}: {error}") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"


def texts_of(corpus: str | Iterable[str]) -> Iterable[str]:
    return [corpus] if isinstance(corpus, str) else corpus


def checked_ids(ids: Ids, vocab_size: int) -> list[int]:
    """Ids as plain ints; a negative one must not quietly count from the end of a list."""
    numbers = [index(i) for i in ids]
    bad = next((i for i in numbers if not 0 <= i < vocab_size), None)
    if bad is not None:
        raise ValueError(f"token id {bad} is not in the vocabulary of {vocab_size} tokens")
    return numbers
