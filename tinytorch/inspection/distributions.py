"""Probabilities of tokens, from logits and from texts."""

from collections.abc import Sequence

import numpy as np

from ..autograd import no_grad
from ..backends.base import NumpyArray
from ..generation.checks import SMALLEST_TEMPERATURE, finite_logits, parse_choice
from ..losses import CrossEntropyLoss
from ..modules.module import evaluating
from ..tensor import Tensor
from ..transformers import GPT


def probabilities(
    logits: NumpyArray, temperature: float = 1.0, top_k: int | None = None
) -> NumpyArray:
    """The probabilities with which `generate` chooses each token.

    Args:
        logits: (..., V).
        temperature: divides the logits; with 0, the most likely token has probability 1.
        top_k: number of most likely tokens that are left to choose from; None for all.

    Returns:
        float64, (..., V).

    Raises:
        RuntimeError: a logit is NaN, or all are -inf.

    >>> import numpy as np
    >>> from tinytorch.inspection import probabilities
    >>> logits = np.log([0.5, 0.3, 0.2])
    >>> probabilities(logits).round(3).tolist()
    [0.5, 0.3, 0.2]
    >>> probabilities(logits, top_k=2).round(3).tolist()
    [0.625, 0.375, 0.0]
    """
    choice = parse_choice(temperature, top_k, None)
    logits, largest = finite_logits(logits)
    if choice.temperature < SMALLEST_TEMPERATURE:
        likeliest = np.argmax(logits, axis=-1, keepdims=True)
        certain: NumpyArray = (np.arange(logits.shape[-1]) == likeliest).astype(np.float64)
        return certain
    weights = np.exp((logits.astype(np.float64) - largest) / choice.temperature)
    if choice.top_k is not None and choice.top_k < weights.shape[-1]:
        least = np.partition(weights, -choice.top_k, axis=-1)[..., -choice.top_k, None]
        weights[weights < least] = 0
    result: NumpyArray = weights / weights.sum(axis=-1, keepdims=True)
    return result


@no_grad()
@evaluating()
def text_loss(model: GPT, ids: Sequence[int]) -> float:
    """The mean loss, in nats, with which the model predicts each token but the first of a text.

    Raises:
        ValueError: the text has only one token.
    """
    if len(ids) < 2:
        raise ValueError("a loss needs a text of at least two tokens: one to read, one to predict")
    logits = model(Tensor([[*ids[:-1]]], backend=model.backend))[0]  # (T - 1, V)
    return float(CrossEntropyLoss()(logits, Tensor([*ids[1:]], backend=model.backend)).item())
