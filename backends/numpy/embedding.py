"""Embedding lookup in NumPy."""

from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array

KERNELS = KernelTable()


@KERNELS.forward
def embedding(xp: Namespace, weight: Array, ids: Array) -> Any:
    """weight (V, C), ids (...) -> (..., C)."""
    if ids.size and not (ids.min() >= 0 and ids.max() < len(weight)):
        wrong = ids[(ids < 0) | (ids >= len(weight))].flat[0]
        raise IndexError(f"token id {wrong} is outside of the vocabulary [0, {len(weight)})")
    return np.take(weight, ids, axis=0), (ids, weight.shape)


@KERNELS.gradient(embedding)
def embedding_gradient(xp: Namespace, g: Array, ids: Array, shape: tuple[int, int]) -> Any:
    """g (..., C) -> (V, C): for each id the sum of its rows."""
    return xp.segment_sum(g.reshape(-1, shape[1]), ids.reshape(-1), shape[0]), None
