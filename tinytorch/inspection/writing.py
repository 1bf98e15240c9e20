"""A text that a model continues token by token, with the logits of each choice."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..backends.base import NumpyArray
from ..generation.generate import stream
from ..tensor import Tensor
from ..transformers import GPT
from .ablation import Head, ablated_heads

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
