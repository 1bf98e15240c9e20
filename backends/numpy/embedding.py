"""Embeddings in NumPy: the gradient adds rows in C instead of sorting or multiplying them."""

import math
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from . import compiled
from .rows import as_rows

KERNELS = KernelTable()


@KERNELS.forward
def embedding(xp: Namespace, weight: Array, ids: Array) -> Any:
    """weight (V, C), ids (...) -> (..., C)."""
    return xp.take_rows(weight, ids), (ids, weight.shape)


@KERNELS.gradient(embedding)
def embedding_gradient(xp: Namespace, g: Array, ids: Array, shape: tuple[int, int]) -> Any:
    rows = as_rows(g.reshape(math.prod(ids.shape), shape[1]))  # (N, C)
    numbers, total = np.ascontiguousarray(ids, np.int64), np.zeros(shape, g.dtype)
    if compiled.run("add_rows", rows, compiled.address(numbers), total, *rows.shape, shape[0]):
        return total, None
    return xp.segment_sum(rows, ids.reshape(-1), shape[0]), None
