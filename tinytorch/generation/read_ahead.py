"""Generation by a backend's decoder, which computes several tokens before the host reads them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backends import trace
from ..backends.base import NumpyArray, is_own
from ..backends.decode_step import Choice, Decoder
from .checks import check_tokens
from .decode_step import FusedModel, Kept

READ_AHEAD = 32  # tokens that `generate` reads at once

# `_last_logits` and `choose_token` of generate.py, which imports this file.
Functions = tuple[Callable[..., Any], Callable[..., NumpyArray]]


def has_decoder(model: Any, *replaced: Callable[..., Any]) -> bool:
    """Whether the backend's decoder can generate a model's text in place of the functions
    `replaced`, which it can if they are this package's own."""
    if not isinstance(model, FusedModel) or model.backend.decoder is None:
        return False
    for function in replaced:
        if not is_own(function):
            why = f"{function.__name__} is defined in {function.__module__}"
            trace.fallback("decoder", why, model.backend.name)
            return False
    return True


def stream_ahead(
    model: FusedModel,
    window: NumpyArray,
    max_new_tokens: int,
    choice: Choice,
    stop_tokens: NumpyArray | None,
    rng: np.random.Generator,
    ahead: int,
    functions: Functions,
) -> Iterator[NumpyArray]:
    """As `generate._stream`, with up to `ahead` tokens computed before the first is yielded."""
    writer = _Writer(model, window, choice, rng, functions)
    last, done = window[:, -1], np.zeros(len(window), dtype=bool)
    left = max_new_tokens
    while left and not done.all():
        tokens = writer.write(min(left, ahead))  # (n, B)
        left -= len(tokens)
        for number, token in enumerate(tokens, 1):
            check_tokens(token)
            if stop_tokens is not None:
                token = np.where(done, last, token)
                done = np.isin(token, stop_tokens)
                if done.all():
                    writer.return_draws(number)
            try:
                yield token
            except GeneratorExit:  # the reader needs no more
                writer.return_draws(number)
                writer.keep()
                raise
            if done.all():
                break
            last = token
    writer.keep()


class _Writer:
    """The texts of a batch, and the caches of their tokens.

    The first tokens are computed by the model, until its fused step is verified; from then on, and
    in later texts, by the backend's decoder. When the context is full, the model reads its newer
    half, into the same caches.
    """

    def __init__(
        self,
        model: FusedModel,
        window: NumpyArray,
        choice: Choice,
        rng: np.random.Generator,
        functions: Functions,
    ) -> None:
        self._model, self._choice, self._rng = model, choice, rng
        self._last_logits, self._choose_token = functions
        self._limit = model.config.max_seq_len
        self._window = self._unread = window[:, -self._limit :]  # (B, T)
        kept = model.take_kept(len(window), choice)
        self._caches = model.new_caches() if kept is None else kept.caches
        self._step = None if kept is None else kept.step  # that the decoder repeats
        self._decoder = None if kept is None else kept.decoder
        self._state_before: Any = None  # the generator's, before the draws of the last write

    def write(self, count: int) -> NumpyArray:
        """The next tokens (n, B): at least one, at most `count`, and no more than the context has
        room for."""
        self._state_before = None
        decoder = self._current_decoder()
        if self._window.shape[1] > self._limit:
            self._drop_older_half(keep_caches=decoder is not None)
        if decoder is None or self._unread.shape[1] > 1:
            tokens = self._read()[None]  # (1, B)
        else:
            position = self._window.shape[1] - 1  # of the unread token
            count = min(count, decoder.capacity, self._limit - position)
            uniforms = self._draw(count)
            tokens = decoder.write(self._unread[:, 0], position, count, uniforms)
            for _ in range(count):
                trace.count("decode step", self._model.backend.name, "fused")
            for cache in self._caches:
                cache.length = position + count
        self._unread = tokens[-1][:, None]
        self._window = np.concatenate([self._window, tokens.T], axis=1)
        return tokens

    def _read(self) -> NumpyArray:
        """The next tokens (B,), after the model has read the unread ones."""
        backend = self._model.backend
        logits = self._last_logits(self._model, backend, self._unread, self._caches)
        return self._choose_token(logits, *self._choice, rng=self._rng)

    def _drop_older_half(self, keep_caches: bool) -> None:
        """Keep half a context and the new token, all unread, and empty the caches or new ones."""
        self._window = self._unread = self._window[:, -(self._limit // 2) - 1 :]
        if not keep_caches:
            self._caches = self._model.new_caches()
        for cache in self._caches:  # the decoder belongs to these
            cache.length = 0

    def _current_decoder(self) -> Decoder | None:
        """The decoder of the model's fused step; None before the step is verified."""
        step = self._model.current_step()
        if step is not self._step:
            self._step = step
            self._decoder = None if step is None else step.decoder(self._caches, self._choice)
        return self._decoder

    def _draw(self, count: int) -> NumpyArray | None:
        """The numbers (count, B) that as many calls of `generate.sample` draw."""
        if self._choice.temperature == 0:
            return None
        self._state_before = self._rng.bit_generator.state
        return self._rng.random((count, len(self._window)))

    def keep(self) -> None:
        """Leave the decoder for the model's next text."""
        if self._step is not None and self._decoder is not None:
            self._model.keep(Kept(self._step, self._caches, self._choice, self._decoder))

    def return_draws(self, used: int) -> None:
        """Set the generator to its state after the first `used` tokens of the last `write`."""
        if self._state_before is not None:
            self._rng.bit_generator.state = self._state_before
            self._rng.random((used, len(self._window)))
