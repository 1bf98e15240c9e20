"""Multi-tensor optimizer updates in NumPy: all parameters in one call, divided among threads.

Without the loops in C, updating a small parameter takes no longer than waking a thread, and threads
that make many short calls contend for the GIL. So each thread updates a part of all arrays, in few
long calls.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace, Row, grouped
from ..base import NumpyArray as Array
from . import compiled
from .threads import MIN_PARALLEL_BYTES, num_threads, parallel_ranges

KERNELS = KernelTable()

_PART = 2**14  # elements that C updates at a time
# Strides of adam's arguments: rows of five int64, their number, and eight numbers for all rows
_STEPS = compiled.pack_steps([5 * 8, compiled.COUNT] + [0] * 8)
_CHUNK = 2**17  # elements; smaller chunks fit into the cache, but threads contend more often


def sgd_update(
    rows: Sequence[Row],
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
    dampening: float,
    step: int,
) -> list[Row]:
    """Rows of parameter, gradient and, with momentum, velocity; see `base.Backend.updates`."""
    part = 1 - dampening * (step > 1)
    for p, g, *velocities in rows:
        direction = g + weight_decay * p if weight_decay else g
        for v in velocities:
            v *= momentum
            v += direction if part == 1 else part * direction
            direction = direction + momentum * v if nesterov else v
        p -= lr * direction
    return [(p, *velocities) for p, _, *velocities in rows]


def adam_update(
    rows: Sequence[Row],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> list[Row]:
    """Rows of parameter, gradient and both moments; see `base.Backend.updates`."""
    rows = [tuple(np.asarray(a, order="C") for a in row) for row in rows]  # else reshape copies
    decay = 1 - lr * weight_decay if decoupled else 1.0
    l2 = 0.0 if decoupled else weight_decay
    # sqrt(v) / root + eps = (sqrt(v) + eps root) / root saves one pass over the array.
    root = math.sqrt(1 - betas[1] ** step)
    step_size, eps_hat = root * lr / (1 - betas[0] ** step), eps * root

    rests = 1 - betas[0], 1 - betas[1]
    rest = _adam_in_c(rows, (*betas, *rests, decay, l2, step_size, eps_hat))

    def work(part: list[Row]) -> None:
        for p, g, m, v in part:
            _adam_chunk(p, g, m, v, betas, decay, l2, step_size, eps_hat)

    large = sum(p.nbytes for p, *_ in rest) >= MIN_PARALLEL_BYTES
    _divide(work, _chunks(rest), num_threads() if large else 1)
    return [(p, m, v) for p, _, m, v in rows]


def _adam_in_c(rows: Sequence[Row], settings: Sequence[float]) -> Sequence[Row]:
    """Update all rows in one call; return those that C does not support."""
    library = compiled.load()
    if library is None:
        return rows
    parts: list[tuple[int, ...]] = []
    rest: list[Row] = []
    for row in rows:
        size = row[0].size
        if any(a.size != size or not compiled.is_supported(a, i != 1) for i, a in enumerate(row)):
            rest.append(row)
            continue
        addresses = [compiled.address(a) for a in row]
        parts += [
            (*(address + 4 * first for address in addresses), min(_PART, size - first))
            for first in range(0, size, _PART)
        ]
    table = np.array(parts, np.int64).reshape(-1, 5)
    values = compiled.address(table), len(table), *settings
    compiled.divide(library, library.functions["adam"], values, _STEPS, len(table), 1)
    return rest


def _divide(work: Callable[[list[Row]], None], rows: Sequence[Row], threads: int) -> None:
    """Call `work` once per thread, with rows of about the same total size for each."""
    rows = sorted(rows, key=lambda row: -row[0].size)
    threads = min(threads, len(rows))
    parts = [rows[i::threads] for i in range(threads)]

    def work_on_parts(start: int, stop: int) -> None:
        for part in parts[start:stop]:
            work(part)

    parallel_ranges(work_on_parts, threads)


def _adam_chunk(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    betas: tuple[float, float],
    decay: float,
    l2: float,
    step_size: float,
    eps_hat: float,
) -> None:
    if decay != 1:
        p *= decay
    if l2:
        g = g + l2 * p
    m *= betas[0]
    m += (1 - betas[0]) * g
    square = g * g
    square *= 1 - betas[1]
    v *= betas[1]
    v += square
    np.sqrt(v, out=square)
    square += eps_hat
    np.divide(m, square, out=square)
    square *= step_size
    p -= square


def _chunks(rows: Sequence[Row]) -> list[Row]:
    """Split the flattened arrays of each row into chunks."""
    return [
        tuple(a.reshape(-1)[start : start + _CHUNK] for a in row)
        for row in rows
        for start in range(0, row[0].size, _CHUNK)
    ]


@KERNELS.forward
def clip_gradients(xp: Namespace, *gradients: Array, max_norm: float) -> Any:
    norm = np.sqrt(sum(np.vdot(g, g) for g in gradients))
    scale = max_norm / (norm + 1e-6)
    if not scale >= 1:  # NaN stays NaN
        for g in gradients:
            g *= g.dtype.type(scale)
    return (norm, *gradients), ()


def muon_update(
    rows: Sequence[Row],
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> list[Row]:
    """Rows of parameter, gradient and momentum; see `base.Backend.updates`."""
    decay = 1 - lr * weight_decay
    for (side, dtype), same in grouped(rows, _kind):
        work = partial(_muon_stack, side=side, dtype=dtype, lr=lr, momentum=momentum,
                       nesterov=nesterov, decay=decay)  # fmt: skip
        _divide(work, same, num_threads())
    return [(p, m) for p, _, m in rows]


def _kind(row: Row) -> tuple[int, Any]:
    """(smaller side, dtype): matrices with equal ones are orthogonalised in one stack."""
    return min(row[0].shape), row[0].dtype


def _muon_stack(
    rows: Sequence[Row],
    side: int,
    dtype: Any,
    lr: float,
    momentum: float,
    nesterov: bool,
    decay: float,
) -> None:
    wide = []  # the directions, transposed if needed: (side, n) with side <= n
    for p, g, m in rows:
        m *= momentum
        m += (1 - momentum) * g
        direction = (1 - momentum) * g + momentum * m if nesterov else m
        wide.append(direction.T if p.shape[0] > p.shape[1] else direction)
    for (p, _, _), X in zip(rows, orthogonalise(wide, side, dtype), strict=True):
        tall = p.shape[0] > p.shape[1]
        X *= lr * math.sqrt(max(1.0, p.shape[0] / max(1, p.shape[1])))
        p *= decay
        p -= X.T if tall else X


def orthogonalise(wide: list[Array], side: int, dtype: Any, steps: int = 5) -> list[Array]:
    """The Newton-Schulz iteration of `optimizers.orthogonalise`, for matrices (side, n), side <= n.

    Each step multiplies X from the left by a polynomial of A = X X^T, so it is enough to iterate on
    a stack of the small matrices (side, side); X itself is read only at the start and the end.
    """
    wide = [G / (np.sqrt(np.vdot(G, G)) + 1e-7) for G in wide]
    A = np.empty((len(wide), side, side), dtype)
    for X, square in zip(wide, A, strict=True):
        np.matmul(X, X.T, out=square)
    diagonal = np.arange(side)
    total: Array | None = None
    for step in range(steps):
        P = A @ A
        P *= 2.0315
        P -= 4.7750 * A
        P[:, diagonal, diagonal] += 3.4445
        total = P if total is None else P @ total
        if step < steps - 1:
            A = P @ A @ P
    assert total is not None
    return [T @ X for T, X in zip(total, wide, strict=True)]


UPDATES: dict[str, Callable[..., list[Row]]] = {
    "adam_update": adam_update,
    "muon_update": muon_update,
    "sgd_update": sgd_update,
}
