"""Checks of the arguments of `generate` and of the logits that a model computes."""

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from ..arguments import check_integer, check_number
from ..backends.base import NumpyArray
from ..backends.decode_step import Choice
from ..tensor import Tensor

SMALLEST_TEMPERATURE = 1e-200  # below it the most likely token is chosen; a division could overflow


def parse_prompt(ids: Any, model: Any) -> NumpyArray:
    """The prompt as an integer array (B, T).

    Raises:
        ValueError: it is empty or not (T,) or (B, T) integers.
        IndexError: a token is outside of the vocabulary.
    """
    try:
        array = ids.numpy() if isinstance(ids, Tensor) else np.asarray(ids)
    except ValueError:
        raise ValueError("the prompts of a batch must have the same length") from None
    if array.size == 0:
        raise ValueError("the prompt is empty: pass at least one token")
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2):
        raise ValueError(
            f"a prompt must hold integers (T,) or (B, T), got {array.dtype} {array.shape}"
        )
    vocab_size = _vocab_size(model)
    wrong = array[(array < 0) | (array >= vocab_size)]
    if wrong.size:
        raise IndexError(
            f"the prompt has token id {wrong[0]}, outside of the vocabulary [0, {vocab_size})"
        )
    return np.atleast_2d(array).astype(np.int64)


def parse_stop_tokens(given: Any, model: Any) -> NumpyArray | None:
    """A token or a collection of tokens as an integer array (n,); None stays None."""
    if given is None:
        return None
    is_collection = isinstance(given, Collection) and getattr(given, "shape", None) != ()
    tokens = given if is_collection else [given]
    return np.array(
        [check_integer("stop_token", token, 0, _vocab_size(model) - 1) for token in tokens],
        np.int64,
    )


def parse_choice(temperature: Any, top_k: Any, top_p: Any) -> Choice:
    """The settings of `sample`, checked."""
    heat = float(check_number("temperature", temperature))
    if heat == math.inf:
        raise ValueError("temperature must be at least 0 and finite, not inf")
    k = None if top_k is None else check_integer("top_k", top_k, 1)
    heat = 0.0 if heat < SMALLEST_TEMPERATURE else heat
    if top_p is None:
        return Choice(heat, k, None)
    p = float(check_number("top_p", top_p))
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be in (0, 1], not {top_p}")
    return Choice(heat, k, p)


def _vocab_size(model: Any) -> float:
    """The number of tokens; infinite if the model's config does not name it."""
    return getattr(model.config, "vocab_size", math.inf)


def finite_logits(logits: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
    """The logits (B, V), and the largest of each row (B, 1), which is finite.

    In a row with a logit of infinity, they are 0 for it and -inf for all others.

    Raises:
        RuntimeError: a logit is NaN, or all of a row are -inf.
    """
    largest = np.maximum.reduce(logits, axis=-1, keepdims=True)  # (B, 1), NaN if any is
    if math.isfinite(np.add.reduce(largest, axis=None)):
        return logits, largest
    if not (largest > -np.inf).all():
        raise _diverged()
    only_infinite = np.where(logits == np.inf, 0.0, -np.inf)
    logits = np.where(largest < np.inf, logits, only_infinite)
    return logits, np.where(largest < np.inf, largest, 0.0)


def check_tokens(tokens: NumpyArray) -> NumpyArray:
    """Tokens (B,) sampled on a device, where -1 stands for logits without a token to sample."""
    if tokens.size and tokens.min() < 0:
        raise _diverged()
    return tokens


def _diverged() -> RuntimeError:
    return RuntimeError(
        "no token can be sampled: the logits are NaN, or all are -inf. The model has diverged; load"
        " an earlier checkpoint, and train with a lower learning rate or clip the gradients"
    )
