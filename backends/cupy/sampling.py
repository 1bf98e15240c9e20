"""Sampling of tokens from logits on CUDA; the kernel is in sampling.cu."""

from typing import Any

import cupy

from ..base import NativeArray as Array
from .launch import launch
from .layout import contiguous, is_supported

MAX_WARPS = 16  # in a block, as the kernel declares by __launch_bounds__


def sample(
    logits: Array,
    temperature: float,
    uniforms: Array | None,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Array:
    """Sample a token from softmax(logits / temperature) for each row: int64 (B,).

    -1 marks a row in which a logit is NaN or all are -inf: the host checks the tokens once they
    have been copied, so it does not wait a second time.

    Args:
        logits: (B, V).
        temperature: positive.
        uniforms: (B,) float64, uniform in [0, 1); None selects the most likely token.
        top_k: sample from the k most likely tokens only.
        top_p: sample from the smallest set of most likely tokens with at least this probability.
    """
    tokens = cupy.empty(len(logits), cupy.int64)
    launch_sampling(logits, uniforms, None, tokens, None, temperature, top_k, top_p)
    return tokens


def launch_sampling(
    logits: Array,
    uniforms: Array | None,
    state: Array | None,
    tokens: Array,
    ids: Array | None,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> None:
    """Launch the kernel `sample_rows`, which describes the arrays."""
    rows = contiguous(logits if is_supported(logits) else logits.astype(cupy.float32))
    B, V = rows.shape
    weights = cupy.empty((B, V), cupy.float64)
    heat = 0.0 if uniforms is None else temperature
    choice: tuple[Any, ...] = (heat, top_k or 0, 1.0 if top_p is None else top_p)
    warps = max(1, min(MAX_WARPS, -(-V // 32)))
    launch(
        "sample_rows", rows.dtype, (B,), (32, warps),
        rows, uniforms, state, weights, tokens, ids, B, V, *choice,
    )  # fmt: skip
