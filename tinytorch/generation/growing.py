"""A text that a model and others write in turn, as a conversation, with one key-value cache."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np

from ..arguments import check_integer
from ..ops import random
from . import generate
from .checks import parse_choice
from .decode_step import with_fused_step

PIECE = 256  # tokens that are read at once, which bounds the memory for their logits


class GrowingText:
    """A text to which tokens are appended, and which a model continues.

    Each token is read once, however many turns the text has. When the context is full, the older
    half of the text is dropped, except its beginning, and the rest is read again.

    Args:
        model: a GPT or Llama.
        kept: tokens at the beginning that are never dropped, such as a system message.

    Attributes:
        ids: the tokens that the model remembers: all, until the context was full once.
        drops: how often older tokens were dropped.

    >>> from tinytorch import GPT
    >>> model = GPT(vocab_size=10, embed_dim=8, num_layers=1, num_heads=2, max_seq_len=16)
    >>> text = GrowingText(model)
    >>> text.append([1, 2, 3])
    >>> answer = list(text.write(5, seed=1))
    >>> text.append([4])
    >>> len(text.ids)
    9
    """

    def __init__(self, model: Any, kept: int = 0) -> None:
        self._limit = model.config.max_seq_len
        self._kept = check_integer("kept", kept, 0, self._limit // 2)
        self._model = with_fused_step(model)
        self._caches = model.new_caches()
        self._read = 0  # tokens in the caches
        self.ids: list[int] = []
        self.drops = 0

    def append(self, ids: Iterable[int]) -> None:
        """Append tokens, for example a question."""
        self.ids += ids

    def write(
        self,
        max_new_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: Collection[int] = (),
        seed: int | np.random.Generator | None = None,
    ) -> Iterator[int]:
        """Yield the tokens with which the model continues the text, and append them.

        Whoever needs no more stops iterating. Settings are those of `generate.stream`.

        Args:
            max_new_tokens: their largest number.
            temperature: divides the logits; 0 selects the most likely token.
            top_k: sample from the k most likely tokens only.
            top_p: sample from the smallest set of most likely tokens with this probability.
            stop: tokens after which the model is done; the one that it writes is yielded too.
            seed: a seed or a NumPy generator.

        Raises:
            ValueError: the text is empty, or a setting is out of range.
            RuntimeError: a logit is NaN, or all are -inf.
        """
        choice = parse_choice(temperature, top_k, top_p)
        rng = random.generator() if seed is None else random.new_generator(seed)
        if not self.ids:
            raise ValueError("an empty text cannot be continued: append tokens first")
        for _ in range(check_integer("max_new_tokens", max_new_tokens)):
            token = int(generate.choose_token(self._logits(), *choice, rng=rng)[0])
            self.ids.append(token)
            yield token
            if token in stop:
                return

    def _logits(self) -> Any:
        """The logits (1, V) after the last token; reads what is unread, in pieces."""
        self._make_room()
        logits: Any = None
        while self._read < len(self.ids):
            for cache in self._caches:  # they differ if an exception has ended the last step
                cache.length = self._read
            piece = self.ids[self._read : self._read + PIECE]
            ids = np.array([piece], dtype=np.int64)
            logits = generate._last_logits(self._model, self._model.backend, ids, self._caches)
            self._read += len(piece)
        return logits

    def _make_room(self) -> None:
        """Drop older tokens if the context has no room for all."""
        if len(self.ids) <= self._limit:
            return
        self.ids = self.ids[: self._kept] + self.ids[self._kept - self._limit // 2 :]
        self._read = 0
        self.drops += 1
