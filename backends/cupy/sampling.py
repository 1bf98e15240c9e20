"""Sampling of tokens from logits on CUDA; the kernel is in sampling.cu."""

import cupy

from ..base import NativeArray as Array
from .launch import launch_rows
from .layout import contiguous


def sample(logits: Array, temperature: float, uniforms: Array) -> Array:
    """Sample a token from softmax(logits / temperature) for each row: int64 (B,).

    Args:
        logits: (B, V).
        temperature: positive.
        uniforms: (B,) float64, uniform in [0, 1).
    """
    rows = contiguous(logits)
    tokens = cupy.empty(len(rows), cupy.int64)
    launch_rows("sample_rows", rows, len(rows), rows, uniforms, tokens, *rows.shape, temperature)
    return tokens
