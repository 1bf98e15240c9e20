"""How a batch is divided among processes."""

import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import Tensor
from ..training import count_targets, weights_of


def rows_of(x: Tensor, y: Tensor) -> int:
    """Number of rows into which a batch can be divided."""
    if x.requires_grad or y.requires_grad:  # gradients of the inputs stay in the processes
        return 1
    return len(y) if y.ndim and x.ndim and len(x) == len(y) else 1


def divided(loss_fn: Callable[..., Tensor], y: Tensor, count: int) -> list[tuple[slice, Any]]:
    """The rows of each of `count` processes, at most one process a row, and the weight of its loss.

    Args:
        loss_fn: the mean over the targets, see `training.count_targets`.
        y: the targets, one row or more for each process.
        count: number of processes.

    >>> from tinytorch import MSELoss, Tensor
    >>> divided(MSELoss(), Tensor([1.0, 2.0, 3.0, 4.0]), 2)
    [(slice(0, 2, None), 0.5), (slice(2, 4, None), 0.5)]
    """
    bounds = [len(y) * i // count for i in range(count + 1)]
    parts = [slice(*pair) for pair in itertools.pairwise(bounds)]
    counts = [count_targets(loss_fn, y[p]) for p in parts]
    if isinstance(y._array, np.ndarray):  # the host need not wait for it
        counts = [c.item() if isinstance(c, Tensor) else c for c in counts]
    return list(zip(parts, weights_of(counts), strict=True))


def picklable(error: BaseException) -> BaseException:
    """The exception, or one with its message if it cannot be sent to a process.

    That is a MemoryError if it is one, after which a step is tried again without a CUDA graph, and
    else a RuntimeError.
    """
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        kind = MemoryError if isinstance(error, MemoryError) else RuntimeError
        return kind(f"{type(error).__name__}: {error}")
    return error
