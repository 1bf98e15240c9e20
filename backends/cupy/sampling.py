"""Sampling of tokens from logits on CUDA, see sampling.cu."""

import cupy

from ..base import NativeArray as Array
from .launch import launch_rows
from .layout import contiguous


def sample(logits: Array, temperature: float, dice: Array) -> Array:
    """A token for each row of logits (B, V), by dice (B,) in [0, 1): integers (B,)."""
    rows = contiguous(logits)
    tokens = cupy.empty(len(rows), cupy.int64)
    launch_rows("sample_rows", rows, len(rows), rows, dice, tokens, *rows.shape, temperature)
    return tokens
