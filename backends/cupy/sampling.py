"""Sampling of tokens from logits on CUDA; the kernel is in sampling.cu."""

import cupy

from ..base import NativeArray as Array
from .launch import launch_rows
from .layout import contiguous, is_supported


def sample(logits: Array, temperature: float, uniforms: Array) -> Array:
    """Sample a token from softmax(logits / temperature) for each row: int64 (B,).

    -1 marks a row in which a logit is NaN or all are -inf: the host checks the tokens once they
    have been copied, so it does not wait a second time.

    Args:
        logits: (B, V).
        temperature: positive.
        uniforms: (B,) float64, uniform in [0, 1).
    """
    rows = contiguous(logits if is_supported(logits) else logits.astype(cupy.float32))
    tokens = cupy.empty(len(rows), cupy.int64)
    launch_rows("sample_rows", rows, len(rows), rows, uniforms, tokens, *rows.shape, temperature)
    return tokens
