"""Cross-entropy in NumPy."""

from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from .rows import as_matrix, common_maximum, constant_column

KERNELS = KernelTable()


@KERNELS.forward
def cross_entropy(xp: Namespace, logits: Array, targets: Array, *, ignore_index: int = -100) -> Any:
    """logits (..., V), targets (...) -> the mean negative log-likelihood, a scalar.

    Saves the probabilities (N, V), the indices of the rows that are not ignored, their targets, and
    the shape of the logits.
    """
    p = as_matrix(np.array(logits, order="C"))  # (N, V), a copy to work in
    classes = targets.reshape(-1)
    kept = np.flatnonzero(classes != ignore_index)
    chosen = classes[kept]
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < p.shape[1]):
        wrong = chosen[(chosen < 0) | (chosen >= p.shape[1])][0]
        raise IndexError(f"target {wrong} is outside of the {p.shape[1]} classes")
    high = common_maximum(p)
    p -= p.max(axis=1, keepdims=True, initial=-np.inf) if high is None else high
    picked = p[kept, chosen]
    np.exp(p, out=p)
    total = p @ constant_column(p.shape[1], 1.0, p.dtype)  # (N, 1)
    p *= 1 / total
    count = p.dtype.type(len(kept))
    # If all targets are ignored, 0 / 0 = NaN, as in PyTorch.
    loss = np.sum(np.log(total[kept, 0]) - picked) / count
    return loss, (p, kept, chosen, logits.shape)


@KERNELS.gradient(cross_entropy)
def cross_entropy_gradient(
    xp: Namespace, g: Array, p: Array, kept: Array, chosen: Array, shape: tuple[int, ...]
) -> Any:
    """g (p - one-hot targets) / count for the rows that are kept, zeros for ignored ones."""
    scale = g / p.dtype.type(max(1, len(kept)))
    d = p * scale
    d[kept, chosen] -= scale
    if len(kept) < len(d):
        ignored = np.ones(len(d), dtype=bool)
        ignored[kept] = False
        d[ignored] = 0
    return d.reshape(shape), None
