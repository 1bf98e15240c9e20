"""Text generation from a language model, one token at a time."""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from ..arguments import check_integer
from ..autograd import no_grad, wrap_array
from ..backends import Backend
from ..backends.base import NumpyArray
from ..modules.module import evaluating
from ..ops import random
from ..tensor import Tensor
from .checks import (
    SMALLEST_TEMPERATURE,
    check_tokens,
    finite_logits,
    parse_choice,
    parse_prompt,
    parse_stop_tokens,
)
from .decode_step import with_fused_step
from .read_ahead import READ_AHEAD, has_decoder, stream_ahead


def generate(model: Any, ids: Any, max_new_tokens: int, **settings: Any) -> Tensor:
    """Return the prompt followed by up to `max_new_tokens` new tokens.

    Args:
        model: a GPT, or a callable object with its `config.max_seq_len`, `new_caches()` and
            `backend`.
        ids: the prompt, integers (T,) or (B, T) with T at least 1; a list, array or tensor. The
            prompts of a batch have one length.
        max_new_tokens: the maximum number of tokens to add.
        settings: as for `stream`.

    Returns:
        integer ids (T + n,) or (B, T + n). After its stop token, a row is padded with it.

    Raises:
        RuntimeError: a logit is NaN, or all are -inf: the model has diverged.

    >>> from tinytorch import GPT
    >>> model = GPT(vocab_size=10, embed_dim=8, num_layers=1, num_heads=2, max_seq_len=16)
    >>> model.generate([1, 2], 30, temperature=0.8, top_k=5, seed=1).shape
    (32,)
    """
    prompt = parse_prompt(ids, model)
    new = list(stream(model, prompt, max_new_tokens, **{"ahead": READ_AHEAD, **settings}))
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
    ahead: int = 1,
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
        ahead: on a GPU, up to this number of tokens is computed before the first is yielded, so
            that the host waits less often; changes of the model take effect after these.

    Raises:
        ValueError: the prompt is empty, or a setting is out of range.
        IndexError: the prompt has a token outside of the vocabulary.
        RuntimeError: a logit is NaN, or all are -inf: the model has diverged.

    Each token is computed in evaluation mode (`modules.module.evaluating`), in the calling
    thread only. Between two tokens, and in other threads at any time, the model may be trained.

    Example:

        for token in stream(model, tokenizer.encode("ROMEO:"), 500, temperature=0.8):
            print(tokenizer.decode(token), end="", flush=True)
    """
    window, stop_tokens = parse_prompt(ids, model), parse_stop_tokens(stop_token, model)
    count = check_integer("max_new_tokens", max_new_tokens)
    choice = parse_choice(temperature, top_k, top_p)
    ahead = check_integer("ahead", ahead, 1)
    rng = random.generator() if seed is None else random.new_generator(seed)
    model = with_fused_step(model)
    functions = _last_logits, choose_token
    if use_cache and has_decoder(model, _stream, sample, *functions):  # which runs the loop below
        return stream_ahead(model, window, count, choice, stop_tokens, rng, ahead, functions)
    return _stream(model, window, count, choice, stop_tokens, rng, use_cache)


def _stream(
    model: Any,
    window: NumpyArray,
    max_new_tokens: int,
    choice: tuple[float, int | None, float | None],
    stop_tokens: NumpyArray | None,
    rng: np.random.Generator,
    use_cache: bool,
) -> Iterator[NumpyArray]:
    limit = model.config.max_seq_len
    window = window[:, -limit:]  # (B, T)
    caches = model.new_caches() if use_cache else None
    unread = window
    done = np.zeros(len(window), dtype=bool)
    backend = model.backend
    for _ in range(max_new_tokens):
        logits = _last_logits(model, backend, unread, caches)  # (B, V)
        token = choose_token(logits, *choice, rng=rng)  # (B,)
        if stop_tokens is not None:
            token = np.where(done, window[:, -1], token)
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
@evaluating()
def _last_logits(model: Any, backend: Backend, ids: NumpyArray, caches: Any) -> Tensor:
    """The logits (B, V) at the last position of ids (B, T), in evaluation mode."""
    logits = model(wrap_array(Tensor, backend.asarray(ids), backend), caches)  # (B, T, V)
    # An op would take 3% of the time of a step.
    return wrap_array(Tensor, logits._array[:, -1, :], logits.backend)


def choose_token(
    logits: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    *,
    rng: np.random.Generator,
) -> NumpyArray:
    """As `sample`, but on the device if the backend can, so that only tokens are copied.

    Args:
        logits: (B, V).

    Returns:
        integers (B,).
    """
    on_device = logits.backend.sample
    if on_device is None:
        return sample(logits.numpy(), temperature, top_k, top_p, rng=rng)
    uniforms = None if temperature < SMALLEST_TEMPERATURE else rng.random(len(logits))
    return check_tokens(on_device(logits._array, temperature, uniforms, top_k, top_p))


def sample(
    logits: NumpyArray,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    *,
    rng: np.random.Generator,
) -> NumpyArray:
    """Sample one token for each row of logits (B, V): integers (B,).

    Raises:
        RuntimeError: a logit is NaN, or all are -inf.

    Source: A. Holtzman et al., "The Curious Case of Neural Text Degeneration" (2019), for top_p.
    """
    logits, largest = finite_logits(logits)  # (B, V), (B, 1)
    if temperature < SMALLEST_TEMPERATURE:
        likeliest: NumpyArray = np.argmax(logits, axis=-1)
        return likeliest
    scaled = (logits.astype(np.float64) - largest) / temperature  # at most 0
    if top_k is not None and top_k < scaled.shape[-1]:
        kth = np.partition(scaled, -top_k, axis=-1)[:, -top_k, None]
        scaled = np.where(scaled < kth, -np.inf, scaled)
    weights = np.exp(scaled)
    if top_p is not None and top_p < 1:
        weights = _nucleus(weights, top_p)
    total = np.cumsum(weights, axis=-1)  # (B, V)
    u = rng.random((len(logits), 1)) * total[:, -1:]  # (B, 1)
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
