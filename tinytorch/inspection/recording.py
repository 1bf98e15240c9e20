"""What a GPT computes on the way from a text to the next token."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..backends.base import NumpyArray
from ..modules.module import evaluating
from ..tensor import Tensor
from ..transformers import GPT


@dataclass(frozen=True)
class Recording:
    """What a model computed for one text.

    Attributes:
        ids: the tokens, T of them.
        attention: weights of each block and head, (L, nh, T, T); a row is a query, and sums to 1.
        residual: the residual stream (T, C), after the embedding and after each of the L blocks.
    """

    ids: tuple[int, ...]
    attention: NumpyArray
    residual: tuple[Tensor, ...]


@no_grad()
@evaluating()
def record(model: GPT, ids: Sequence[int]) -> Recording:
    """Run the model on a text, and keep the attention weights and the residual stream.

    Args:
        model: the model; its blocks run as they are, with their hooks.
        ids: token ids, at most `max_seq_len`.

    >>> from tinytorch import GPT
    >>> from tinytorch.inspection import record
    >>> model = GPT(vocab_size=10, embed_dim=8, num_layers=3, num_heads=2, max_seq_len=16)
    >>> recording = record(model, [1, 2, 3, 4])
    >>> recording.attention.shape, len(recording.residual), recording.residual[0].shape
    ((3, 2, 4, 4), 4, (4, 8))
    """
    residual: list[Tensor] = []

    def keep(module: Any, args: Any, output: Tensor) -> None:
        residual.append(output[0])  # (1, T, C) -> (T, C)

    with ExitStack() as hooks:
        for module in (model.embedding, *model.blocks):
            hooks.callback(module.register_forward_hook(keep).remove)
        weights = model.attention_weights(Tensor([[*ids]], backend=model.backend))
    attention = np.concatenate([w.numpy() for w in weights])  # (L, nh, T, T)
    return Recording(tuple(ids), attention, tuple(residual))


def logit_lens(model: GPT, recording: Recording) -> Iterator[NumpyArray]:
    """Yield the logits (T, V) that the head reads from the residual stream, layer by layer.

    The first are those of the embedding alone, the last, after all blocks, the model's own.

    Source: nostalgebraist, "interpreting GPT: the logit lens" (2020).

    >>> from tinytorch import GPT
    >>> from tinytorch.inspection import logit_lens, record
    >>> model = GPT(vocab_size=10, embed_dim=8, num_layers=3, num_heads=2, max_seq_len=16)
    >>> [logits.shape for logits in logit_lens(model, record(model, [1, 2]))]
    [(2, 10), (2, 10), (2, 10), (2, 10)]
    """
    return (read_out(model, x) for x in recording.residual)


@no_grad()
@evaluating()
def read_out(model: GPT, x: Tensor) -> NumpyArray:
    """The logits (T, V) of vectors (T, C) of the residual stream."""
    logits: NumpyArray = model.head(model.ln_f(x)).numpy()
    return logits
