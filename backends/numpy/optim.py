"""Optimizer steps in NumPy: those of all parameters together, divided among the threads.

A small parameter takes no longer to update than a thread takes to wake, and threads that make
many short calls wait for each other's turn at the interpreter. So updates asked for within
`together()` wait; then each thread takes its part of all arrays, in long calls.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from ..together import ask
from .threads import MIN_PARALLEL_BYTES, num_threads, parallel_ranges

KERNELS = KernelTable()

_CHUNK = 2**17  # elements; shorter ones stay in the cache, but make threads take turns more often


@KERNELS.forward
def adam_update(
    xp: Namespace,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> Any:
    p, m, v = (np.asarray(a, order="C") for a in (p, m, v))  # else reshape would copy
    keep = 1 - lr * weight_decay if decoupled else 1.0
    coupled = 0.0 if decoupled else weight_decay
    # sqrt(v) / root + eps = (sqrt(v) + eps root) / root: one pass less
    root = math.sqrt(1 - betas[1] ** step)
    rate, floor = root * lr / (1 - betas[0] ** step), eps * root
    ask(_adam, (p, g, m, v), betas, keep, coupled, rate, floor)
    return (p, m, v), ()


def _adam(groups: list[tuple[Array, ...]], *settings: Any) -> None:
    def work(part: list[Any]) -> None:
        for chunk in part:
            _adam_chunk(*chunk, *settings)

    large = sum(p.nbytes for p, *_ in groups) >= MIN_PARALLEL_BYTES
    _divide(work, _chunks(groups), num_threads() if large else 1)


def _divide(work: Callable[[Any], None], groups: list[tuple[Array, ...]], threads: int) -> None:
    """Call `work` in each thread, with groups of arrays that take each about as long."""
    groups = sorted(groups, key=lambda arrays: -arrays[0].size)
    threads = min(threads, len(groups))
    parts = [groups[i::threads] for i in range(threads)]

    def take(start: int, stop: int) -> None:
        for part in parts[start:stop]:
            work(part)

    parallel_ranges(take, threads)


def _adam_chunk(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    betas: tuple[float, float],
    keep: float,
    coupled: float,
    rate: float,
    floor: float,
) -> None:
    if keep != 1:
        p *= keep
    if coupled:
        g = g + coupled * p
    m *= betas[0]
    m += (1 - betas[0]) * g
    square = g * g
    square *= 1 - betas[1]
    v *= betas[1]
    v += square
    np.sqrt(v, out=square)
    square += floor
    np.divide(m, square, out=square)
    square *= rate
    p -= square


def _chunks(groups: list[tuple[Array, ...]]) -> list[tuple[Array, ...]]:
    """The same arrays, flat, in pieces."""
    return [
        tuple(a.reshape(-1)[start : start + _CHUNK] for a in group)
        for group in groups
        for start in range(0, group[0].size, _CHUNK)
    ]


@KERNELS.forward
def clip_gradients(xp: Namespace, *gradients: Array, max_norm: float) -> Any:
    norm = np.sqrt(sum(np.vdot(g, g) for g in gradients))
    scale = max_norm / (norm + 1e-6)
    if scale < 1:
        for g in gradients:
            g *= g.dtype.type(scale)
    return (norm, *gradients), ()


@KERNELS.forward
def muon_update(
    xp: Namespace,
    p: Array,
    g: Array,
    m: Array,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> Any:
    ask(_muon, (p, g, m), min(p.shape), p.dtype, lr, momentum, nesterov, 1 - lr * weight_decay)
    return (p, m), ()


def _muon(groups: list[tuple[Array, ...]], *settings: Any) -> None:
    """Matrices whose smaller sides are equal."""
    _divide(lambda part: _muon_stack(part, *settings), groups, num_threads())


def _muon_stack(
    groups: Sequence[tuple[Array, ...]],
    side: int,
    dtype: Any,
    lr: float,
    momentum: float,
    nesterov: bool,
    keep: float,
) -> None:
    wide = []  # the directions, each (side, n) with side <= n
    for p, g, m in groups:
        m *= momentum
        m += (1 - momentum) * g
        direction = (1 - momentum) * g + momentum * m if nesterov else m
        wide.append(direction.T if p.shape[0] > p.shape[1] else direction)
    for (p, _, _), X in zip(groups, orthogonalise(wide, side, dtype), strict=True):
        tall = p.shape[0] > p.shape[1]
        X *= lr * math.sqrt(max(1.0, p.shape[0] / p.shape[1]))
        p *= keep
        p -= X.T if tall else X


def orthogonalise(wide: list[Array], side: int, dtype: Any, steps: int = 5) -> list[Array]:
    """The Newton-Schulz iteration of `optimizers.orthogonalise`, for matrices (side, n), side <= n.

    Each step multiplies X from the left with a polynomial of A = X X^T, so the small matrices
    (side, side) suffice, whatever n: the polynomials of all of them are multiplied up in a stack,
    and X is met only first and last.
    """
    wide = [G / (np.sqrt(np.vdot(G, G)) + 1e-7) for G in wide]
    A = np.empty((len(wide), side, side), dtype)
    for X, square in zip(wide, A, strict=True):
        np.matmul(X, X.T, out=square)
    diagonal = np.arange(side)
    total: Any = None
    for step in range(steps):
        P = A @ A
        P *= 2.0315
        P -= 4.7750 * A
        P[:, diagonal, diagonal] += 3.4445
        total = P if total is None else P @ total
        if step < steps - 1:
            A = P @ A @ P
    return [T @ X for T, X in zip(total, wide, strict=True)]
