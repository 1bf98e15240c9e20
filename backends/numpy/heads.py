"""Splitting of attention heads in NumPy: a view forward, one copy backward."""

from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array

KERNELS = KernelTable()


@KERNELS.forward
def split_heads(xp: Namespace, qkv: Array, *, num_heads: int) -> Any:
    """(B, T, 3 C) -> queries, keys and values, each a view (B, nh, T, hs)."""
    B, T, width = qkv.shape
    heads = qkv.reshape(B, T, 3, num_heads, width // (3 * num_heads)).transpose(2, 0, 3, 1, 4)
    return (heads[0], heads[1], heads[2]), (qkv.shape,)  # heads: (3, B, nh, T, hs)


@KERNELS.gradient(split_heads)
def split_heads_gradient(xp: Namespace, gs: Any, shape: tuple[int, int, int]) -> Any:
    """Three gradients (B, nh, T, hs), or None for zeros -> (B, T, 3 C)."""
    B, nh, T, hs = next(g for g in gs if g is not None).shape
    dqkv = np.empty((B, T, 3, nh, hs), next(g for g in gs if g is not None).dtype)
    for i, g in enumerate(gs):
        dqkv[:, :, i] = 0 if g is None else g.transpose(0, 2, 1, 3)
    return dqkv.reshape(shape)
