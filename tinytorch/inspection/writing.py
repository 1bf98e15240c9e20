"""A text that a model continues token by token, with the logits of each choice.

`Writer` is the iterator, `Writing` answers the messages of a page with it.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..arguments import check_integer
from ..backends.base import NumpyArray
from ..generation.generate import stream
from ..tensor import Tensor
from ..transformers import GPT
from .ablation import Head, ablated_heads
from .distributions import probabilities
from .messages import Reply, to_heads
from .subject import Subject

ENDLESS = 10**9  # tokens


class Writer:
    """An iterator over the tokens of `generation.generate.stream`, with their logits.

    Args:
        model: the model.
        ids: the text so far.
        heads: heads that are knocked out, pairs (block, head).
        settings: temperature, top_k and seed, as for `stream`.

    Attributes:
        ids: the text so far, with the tokens that were written.
    """

    def __init__(
        self, model: GPT, ids: Sequence[int], heads: Collection[Head] = (), **settings: Any
    ) -> None:
        self.ids = list(ids)
        self._model, self._heads = model, heads
        self._stream = stream(model, self.ids, ENDLESS, **settings)

    def __iter__(self) -> "Writer":
        return self

    def __next__(self) -> tuple[int, NumpyArray]:
        """The next token, and the logits (V,) from which it was drawn."""
        logits: list[NumpyArray] = []

        def keep(module: Any, args: Any, output: Tensor) -> None:
            logits.append(output.numpy()[0, -1])  # (1, T, V) -> (V,)

        handle = self._model.register_forward_hook(keep)
        try:
            with ablated_heads(self._model, self._heads):
                token = int(next(self._stream)[0])
        finally:
            handle.remove()
        self.ids.append(token)
        return token, np.asarray(logits[-1])


class Writing:
    """A text that the model of `subject` writes, a token for each message."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._writer: Writer | None = None
        self._writers_key: Any = None
        self._rng = np.random.default_rng(0)

    def write(
        self,
        ids: list[int],
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int | None = None,
        heads: list[list[int]] | None = None,
        count: int = 12,
    ) -> Reply:
        """Append one token to a text, as `generate` does.

        With a seed, the random numbers start again; without one, those of the last message go on.
        """
        model, tokenizer = self._subject.model, self._subject.tokenizer
        self._subject.check_ids(ids)
        if len(ids) >= model.config.max_seq_len:
            raise ValueError(
                f"the text fills the model's context of {len(ids)} tokens: shorten it to go on"
            )
        key = model, temperature, top_k, to_heads(heads)
        if seed is not None or self._writer is None:
            self._rng = np.random.default_rng(check_integer("seed", seed or 0))
        if seed is not None or self._writer is None or self._writers_key != (*key, ids):
            self._writer = Writer(
                model, ids, key[3], temperature=temperature, top_k=top_k, seed=self._rng
            )
        token, logits = next(self._writer)
        self._writers_key = (*key, [*ids, token])
        p = probabilities(logits, temperature, top_k)
        return {
            "id": token,
            "token": tokenizer.decode([token]),
            "text": tokenizer.decode([*ids, token]),
            "p": float(p[token]),
            **self._subject.distribution(logits, temperature, top_k, count),
        }
