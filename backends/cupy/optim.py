"""Optimizer steps on CUDA: all parameters of a step in a few launches.

A launch costs the host as long as a small update costs the device. So updates that are asked for
within `together()` wait, and are then done side by side: Adam's in one launch over chunks of all
arrays, Muon's in stacks of matrices of one shape.
"""

import functools
import math
from functools import partial
from typing import Any

import cupy
import numpy as np

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from ..together import ask
from .gemm import gemm
from .graph import keep, to_device
from .launch import WARPS, launch, launch_elementwise
from .layout import contiguous

KERNELS = KernelTable()

CHUNK = 2**12  # elements that one block updates
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of optimizers.orthogonalise


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
    p, g, m, v = map(contiguous, (p, g, m, v))
    ask(_adam, (p, g, m, v), p.dtype, lr, step, *betas, eps, weight_decay, decoupled)
    return (p, m, v), ()


def _adam(groups: list[tuple[Array, ...]], dtype: Any, lr: Any, step: Any, *settings: Any) -> None:
    numbers = (*device_scalar(lr, dtype), *device_scalar(step, cupy.int64))
    for_chunks("adam_update", groups, dtype, *numbers, *settings)


def device_scalar(number: Any, dtype: Any) -> tuple[Any, Array | None]:
    """A number for a kernel, and None; for a live one, see `Backend.live`, the array that holds
    it in the second place."""
    if isinstance(number, cupy.ndarray):
        return 0, number.astype(dtype, copy=False)
    return number, None


def for_chunks(name: str, groups: list[tuple[Array, ...]], dtype: Any, *arguments: Any) -> None:
    """A kernel with a block for each chunk of the arrays of each group."""
    chunks = chunk_table(groups)
    if len(chunks):
        launch(name, dtype, (len(chunks),), (512,), chunks, *arguments)


def chunk_table(groups: list[tuple[Array, ...]]) -> Array:
    """Where blocks work: (n, 5), four addresses and a count, for arrays of equal size in a group.

    Groups of fewer than four arrays leave the other addresses at 0.
    """
    for group in groups:
        keep(group)
    arrays = len(groups[0])
    owner, start, count = _chunks(tuple(group[0].size for group in groups))
    addresses = np.array([[array.data.ptr for array in group] for group in groups], np.int64)
    table = np.zeros((len(owner), 5), np.int64)
    table[:, :arrays] = addresses[owner] + start[:, None] * groups[0][0].itemsize
    table[:, 4] = count
    return to_device(table)


@functools.lru_cache(maxsize=64)
def _chunks(sizes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """For each chunk: whose it is, where it starts, and how many elements it has."""
    parts = [(i, start) for i, size in enumerate(sizes) for start in range(0, size, CHUNK)]
    owner, start = np.array(parts, np.int64).reshape(-1, 2).T
    return owner, start, np.minimum(CHUNK, np.array(sizes, np.int64)[owner] - start)


@KERNELS.forward
def clip_gradients(xp: Namespace, *gradients: Array, max_norm: float) -> Any:
    flat = [contiguous(g) for g in gradients]
    dtype = flat[0].dtype
    if any(g.dtype != dtype for g in flat):
        raise TypeError("gradients of several dtypes cannot be clipped together")
    chunks = chunk_table([(g, g) for g in flat])
    partial, result = cupy.empty(len(chunks), dtype), cupy.empty(2, dtype)
    if len(chunks):
        launch("square_sums", dtype, (len(chunks),), (32, 16), chunks, partial)
    launch("clip_factor", dtype, (1,), (32, 32), partial, result, len(chunks), max_norm)
    if len(chunks):
        launch("scale_chunks", dtype, (len(chunks),), (512,), chunks, result)
    return (result[0], *flat), ()


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
    p, g, m = map(contiguous, (p, g, m))
    ask(_muon, (p, g, m), p.dtype, p.shape, momentum, nesterov, lr, weight_decay)
    return (p, m), ()


def _muon(
    groups: list[tuple[Array, ...]],
    dtype: Any,
    shape: tuple[int, int],
    momentum: float,
    nesterov: bool,
    lr: Any,
    weight_decay: float,
) -> None:
    """Matrices of one shape: products are done for the whole stack of them, (K, M, N)."""
    stack = cupy.empty((len(groups), *shape), dtype)
    if not stack.size:
        return
    directions = [(g, m, place) for (_, g, m), place in zip(groups, stack, strict=True)]
    for_chunks("muon_direction", directions, dtype, momentum, 1 - momentum, nesterov)
    _normalise(stack)
    tall = shape[0] > shape[1]
    factor = _polynomials(stack, tall)  # (K, n, n), n the smaller side
    stack = gemm(stack, factor) if tall else gemm(factor, stack)
    steps = [(p, direction) for (p, _, _), direction in zip(groups, stack, strict=True)]
    rate = device_scalar(lr, dtype)
    widen = math.sqrt(max(1.0, shape[0] / shape[1]))
    for_chunks("muon_step", steps, dtype, *rate, widen, weight_decay)


def _normalise(stack: Array) -> None:
    """Each matrix of the stack divided by its norm, in place."""
    count, size = len(stack), stack[0].size
    parts = max(1, min(64, size // 4096))
    partial = cupy.empty((count, parts), stack.dtype)
    for name in ("matrix_squares", "divide_by_norm"):
        launch(name, stack.dtype, (parts, count), (32, WARPS), stack, partial, size)


def _polynomials(stack: Array, tall: bool, steps: int = 5) -> Array:
    """The product of the Newton-Schulz polynomials, by which each matrix becomes orthogonal.

    As in numpy_kernels: every step multiplies X with a polynomial of A = X X^T, so the small
    matrices suffice. For tall X it is X^T X, from the right; all of them are symmetric. They are
    multiplied exactly: rounded factors, squared again and again, run away (training with tf32
    stood still).
    """
    exact = partial(gemm, exact=True)
    flipped = stack.swapaxes(1, 2)
    A = exact(flipped, stack) if tall else exact(stack, flipped)
    total = None
    for step in range(steps):
        P = exact(A, A)
        launch_elementwise("muon_polynomial", P, A, P, P.size, P.shape[-1], *NEWTON_SCHULZ)
        total = P if total is None else exact(P, total)
        if step < steps - 1:
            A = exact(exact(P, A), P)
    return total
