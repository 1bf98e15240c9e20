"""Text generation from a language model, one token at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..backends import Backend
from ..backends.base import NumpyArray
from ..tensor import Tensor
from .decode_step import with_fused_step


def generate(model: Any, ids: Any, max_new_tokens: int, **settings: Any) -> Tensor:
    """Return the prompt followed by up to `max_new_tokens` new tokens.

    Args:
        model: a GPT, or a callable object with its `config.max_seq_len`, `new_caches()`,
            `train()`, `eval()`, `training` and `backend`.
        ids: the prompt, integers (T,) or (B, T) with T at least 1; a list, array or tensor.
        max_new_tokens: the maximum number of tokens to add.
        settings: as for `stream`.

    Returns:
        integer ids (T + n,) or (B, T + n). After its stop token, a row is padded with it.

    >>> from tinytorch import GPT
    >>> model = GPT(vocab_size=10, embed_dim=8, num_layers=1, num_heads=2, max_seq_len=16)
    >>> model.generate([1, 2], 30, temperature=0.8, top_k=5, seed=1).shape
    (32,)
    """
    prompt = _prompt(ids)
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
    stop_token: int | None = None,
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
        stop_token: stop when every row has sampled it.
        seed: a seed or a NumPy generator; the same seed gives the same text.
        use_cache: cache keys and values, so that each step processes one token; the result does
            not change.

    Raises:
        ValueError: the prompt is empty, or a setting is out of range.

    Example:

        for token in stream(model, tokenizer.encode("ROMEO:"), 500, temperature=0.8):
            print(tokenizer.decode(token), end="", flush=True)
    """
    window = _prompt(ids)
    _check(temperature, top_k, top_p, max_new_tokens)
    return _stream(
        with_fused_step(model), window, max_new_tokens, (temperature, top_k, top_p), stop_token,
        np.random.default_rng(seed), use_cache,
    )  # fmt: skip


def _stream(
    model: Any,
    window: NumpyArray,
    max_new_tokens: int,
    choice: tuple[float, int | None, float | None],
    stop_token: int | None,
    rng: np.random.Generator,
    use_cache: bool,
) -> Iterator[NumpyArray]:
    limit = model.config.max_seq_len
    window = window[:, -limit:]  # (B, T)
    caches = model.new_caches() if use_cache else None
    unread = window
    done = np.zeros(len(window), dtype=bool)
    training, backend = model.training, model.backend
    try:
        for _ in range(max_new_tokens):
            logits = _last_logits(model, backend, unread, caches)  # (B, V)
            token = choose_token(logits, *choice, rng=rng)  # (B,)
            if stop_token is not None:
                token = np.where(done, stop_token, token)
                done = token == stop_token
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
    finally:  # at the end, or when the caller stops early
        if model.training != training:
            model.train(training)


@no_grad()
def _last_logits(model: Any, backend: Backend, ids: NumpyArray, caches: Any) -> Tensor:
    """The logits (B, V) at the last position of ids (B, T)."""
    if model.training:  # at first, and if the model is trained between two tokens
        model.eval()
    last: Tensor = model(Tensor(ids, backend=backend), caches)[:, -1, :]  # of (B, T, V)
    return last


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
    if on_device is None or temperature == 0 or top_k is not None or top_p is not None:
        return sample(logits.numpy(), temperature, top_k, top_p, rng=rng)
    return on_device(logits.data, temperature, rng.random(len(logits)))


def sample(
    logits: NumpyArray,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    *,
    rng: np.random.Generator,
) -> NumpyArray:
    """Sample one token for each row of logits (B, V): integers (B,).

    Source: A. Holtzman et al., "The Curious Case of Neural Text Degeneration" (2019), for top_p.
    """
    if temperature == 0:
        likeliest: NumpyArray = np.argmax(logits, axis=-1)
        return likeliest
    scaled = logits.astype(np.float64) / temperature
    if top_k is not None and top_k < scaled.shape[-1]:
        kth = np.partition(scaled, -top_k, axis=-1)[:, -top_k, None]
        scaled = np.where(scaled < kth, -np.inf, scaled)
    weights = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
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


def _prompt(ids: Any) -> NumpyArray:
    """The prompt as an integer array (B, T)."""
    array = ids.numpy() if isinstance(ids, Tensor) else np.asarray(ids)
    if array.size == 0:
        raise ValueError("the prompt is empty: pass at least one token")
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2):
        raise ValueError(
            f"a prompt must hold integers (T,) or (B, T), got {array.dtype} {array.shape}"
        )
    return np.atleast_2d(array).astype(np.int64)


def _check(temperature: float, top_k: int | None, top_p: float | None, max_new_tokens: int) -> None:
    if not temperature >= 0:
        raise ValueError(f"temperature must be at least 0, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be at least 0, got {max_new_tokens}")
