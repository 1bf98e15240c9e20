"""Text generation from a language model, one token at a time."""

import math
from collections.abc import Collection, Iterator
from numbers import Real
from operator import index
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..backends import Backend
from ..backends.base import NumpyArray
from ..ops import random
from ..tensor import Tensor
from .decode_step import with_fused_step
from .evaluation_mode import EvaluationMode, evaluation_mode

SMALLEST_TEMPERATURE = 1e-200  # already greedy; a division by less could overflow
DIVERGED = (
    "no token can be sampled: the logits are NaN, or all are -inf. The model has diverged; load an"
    " earlier checkpoint, and train with a lower learning rate or clip the gradients"
)


def generate(model: Any, ids: Any, max_new_tokens: int, **settings: Any) -> Tensor:
    """Return the prompt followed by up to `max_new_tokens` new tokens.

    Args:
        model: a GPT, or a callable object with its `config.max_seq_len`, `new_caches()`,
            `modules()` and `backend`.
        ids: the prompt, integers (T,) or (B, T) with T at least 1; a list, array or tensor. The
            prompts of a batch have one length.
        max_new_tokens: the maximum number of tokens to add.
        settings: as for `stream`.

    Returns:
        integer ids (T + n,) or (B, T + n). After its stop token, a row is padded with it.

    Raises:
        RuntimeError: the logits are NaN or infinite: the model has diverged.

    >>> from tinytorch import GPT
    >>> model = GPT(vocab_size=10, embed_dim=8, num_layers=1, num_heads=2, max_seq_len=16)
    >>> model.generate([1, 2], 30, temperature=0.8, top_k=5, seed=1).shape
    (32,)
    """
    prompt = _prompt(ids, _vocab_size(model))
    new = list(stream(model, prompt, max_new_tokens, **settings))
    tokens = np.concatenate([prompt, *(t[:, None] for t in new)], axis=1)  # (B, T + n)
    one = np.ndim(ids if not isinstance(ids, Tensor) else ids.numpy()) == 1
    return Tensor(tokens[0] if one else tokens, backend=model.backend)


def stream(
    model: Any,
    ids: Any,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_token: int | Collection[int] | None = None,
    seed: int | np.random.Generator | None = None,
    use_cache: bool = True,
) -> Iterator[NumpyArray]:
    """Yield new tokens as they are sampled: integer arrays (B,), one per step.

    When the context is full, its older half is dropped and the rest is processed again, so that
    text of any length can be generated with a fixed context.

    Args:
        model: as for `generate`.
        ids: as for `generate`.
        max_new_tokens: the maximum number of steps.
        temperature: divides the logits; 0 selects the most likely token.
        top_k: sample from the k most likely tokens only.
        top_p: sample from the smallest set of most likely tokens with at least this probability.
        stop_token: a token or several; stop when every row has sampled one of them.
        seed: a seed or a NumPy generator; the same seed gives the same text. By default numbers
            are drawn from the generator of `manual_seed`, as batches and shuffles are.
        use_cache: cache keys and values, so that each step processes one token; the result does
            not change.

    Raises:
        ValueError: the prompt is empty, or a setting is out of range.
        IndexError: the prompt has a token outside of the vocabulary.
        RuntimeError: the logits are NaN or infinite: the model has diverged.

    Between two tokens the model may be trained, and each of its modules has its own mode.

    Example:

        for token in stream(model, tokenizer.encode("ROMEO:"), 500, temperature=0.8):
            print(tokenizer.decode(token), end="", flush=True)
    """
    vocab_size = _vocab_size(model)
    window = _prompt(ids, vocab_size)
    top_k = None if top_k is None else _integer("top_k", top_k, 1)
    _check_distribution(temperature, top_p)
    return _stream(
        with_fused_step(model), evaluation_mode(model), window,
        _integer("max_new_tokens", max_new_tokens, 0),
        (temperature, top_k, top_p), _stop_tokens(stop_token, vocab_size),
        None if seed is None else random.new_generator(seed), use_cache,
    )  # fmt: skip


def _stream(
    model: Any,
    mode: EvaluationMode,
    window: NumpyArray,
    max_new_tokens: int,
    choice: tuple[float, int | None, float | None],
    stop_tokens: NumpyArray | None,
    rng: np.random.Generator | None,
    use_cache: bool,
) -> Iterator[NumpyArray]:
    limit = model.config.max_seq_len
    window = window[:, -limit:]  # (B, T)
    caches = model.new_caches() if use_cache else None
    unread = window
    done = np.zeros(len(window), dtype=bool)
    token = window[:, -1]  # (B,)
    backend = model.backend
    for _ in range(max_new_tokens):
        mode.enter(model)  # and leave before the yield: the caller may train the model
        try:
            logits = _last_logits(model, backend, unread, caches)  # (B, V)
        finally:
            mode.leave()
        new = choose_token(logits, *choice, rng=rng)  # (B,)
        if stop_tokens is None:
            token = new
        else:
            token = np.where(done, token, new)
            done = (token[:, None] == stop_tokens).any(axis=1)
        yield token
        if done.all():
            return
        unread = token[:, None]
        if window.shape[1] == limit:
            window = window[:, limit - limit // 2 :]
            caches = model.new_caches() if use_cache else None
            unread = np.concatenate([window, unread], axis=1)
        window = np.concatenate([window, token[:, None]], axis=1)
        if not use_cache:
            unread = window


@no_grad()
def _last_logits(model: Any, backend: Backend, ids: NumpyArray, caches: Any) -> Tensor:
    """The logits (B, V) at the last position of ids (B, T)."""
    last: Tensor = model(Tensor(ids, backend=backend), caches)[:, -1, :]  # of (B, T, V)
    return last


def choose_token(
    logits: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    *,
    rng: np.random.Generator | None = None,
) -> NumpyArray:
    """As `sample`, but on the device if the backend can, so that only tokens are copied.

    Args:
        logits: (B, V).

    Returns:
        integers (B,).
    """
    on_device = logits.backend.sample
    if on_device is None or temperature == 0 or top_k is not None or top_p is not None:
        return sample(logits.numpy(), temperature, top_k, top_p, rng=rng)
    tokens = on_device(logits.data, temperature, (rng or random.generator()).random(len(logits)))
    if tokens.size and tokens.min() < 0:
        raise RuntimeError(DIVERGED)
    return tokens


def sample(
    logits: NumpyArray,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    *,
    rng: np.random.Generator | None = None,
) -> NumpyArray:
    """Sample one token for each row of logits (B, V): integers (B,).

    A logit of infinity is always chosen. `rng` is by default the generator of `manual_seed`.

    Raises:
        RuntimeError: a logit is NaN, or all are -inf.

    Source: A. Holtzman et al., "The Curious Case of Neural Text Degeneration" (2019), for top_p.
    """
    largest = logits.max(axis=-1, keepdims=True)  # (B, 1), NaN if any is
    if not math.isfinite(largest.sum()):
        if not (largest > -np.inf).all():
            raise RuntimeError(DIVERGED)
        logits = np.where(largest < np.inf, logits, np.where(logits == largest, 0.0, -np.inf))
        largest = np.where(largest < np.inf, largest, 0.0)
    if temperature == 0:
        likeliest: NumpyArray = np.argmax(logits, axis=-1)
        return likeliest
    scaled = logits.astype(np.float64)
    scaled -= largest
    scaled /= max(temperature, SMALLEST_TEMPERATURE)  # at most 0
    if top_k is not None and top_k < scaled.shape[-1]:
        kth = np.partition(scaled, -top_k, axis=-1)[:, -top_k, None]
        scaled[scaled < kth] = -np.inf
    weights = np.exp(scaled)
    if top_p is not None and top_p < 1:
        weights = _nucleus(weights, top_p)
    total = np.cumsum(weights, axis=-1)  # (B, V)
    u = (rng or random.generator()).random((len(logits), 1)) * total[:, -1:]  # (B, 1)
    # The first token whose cumulative weight exceeds u; a token of weight 0 is never the first.
    chosen: NumpyArray = np.argmax(total > u, axis=-1)
    return chosen


def _nucleus(weights: NumpyArray, top_p: float) -> NumpyArray:
    """Set all weights (B, V) to 0 except the largest, whose fraction of the sum reaches top_p."""
    order = np.argsort(-weights, axis=-1, kind="stable")
    ranked = np.take_along_axis(weights, order, axis=-1)
    before = np.cumsum(ranked, axis=-1) - ranked  # weight of all likelier tokens
    ranked = np.where(before < top_p * ranked.sum(axis=-1, keepdims=True), ranked, 0.0)
    kept = np.empty_like(weights)
    np.put_along_axis(kept, order, ranked, axis=-1)
    return kept


def _vocab_size(model: Any) -> float:
    """The number of tokens of a model; infinite if its config does not tell it."""
    return getattr(model.config, "vocab_size", math.inf)


def _prompt(ids: Any, vocab_size: float) -> NumpyArray:
    """The prompt as an integer array (B, T)."""
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
    wrong = array[(array < 0) | (array >= vocab_size)]
    if wrong.size:
        raise IndexError(
            f"the prompt has token id {wrong[0]}, outside of the vocabulary [0, {vocab_size})"
        )
    return np.atleast_2d(array).astype(np.int64)


def _stop_tokens(given: Any, vocab_size: float) -> NumpyArray | None:
    """The stop tokens as an integer array (n,), or None."""
    if given is None:
        return None
    is_collection = isinstance(given, Collection) and getattr(given, "shape", None) != ()
    tokens = [_integer("stop_token", token, 0) for token in (given if is_collection else [given])]
    for token in tokens:
        if token >= vocab_size:
            raise ValueError(
                f"stop_token must be below the vocabulary size {vocab_size}, got {token}"
            )
    return np.array(tokens, np.int64)


def _integer(name: str, value: Any, least: int) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return number


def _check_distribution(temperature: Any, top_p: Any) -> None:
    if not isinstance(temperature, Real) or not 0 <= float(temperature) < math.inf:
        raise ValueError(f"temperature must be at least 0 and finite, got {temperature!r}")
    if top_p is not None and not (isinstance(top_p, Real) and 0 < float(top_p) <= 1):
        raise ValueError(f"top_p must be in (0, 1], got {top_p!r}")
