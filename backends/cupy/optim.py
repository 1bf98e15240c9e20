"""Multi-tensor optimizer updates on CUDA: all parameters in a few launches.

A launch costs the host as much time as a small update costs the device. Adam updates chunks of all
arrays in one launch; Muon stacks matrices of one shape.
"""

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import cupy
import numpy as np

from ..base import KernelTable, Namespace, Row, grouped
from ..base import NativeArray as Array
from .errors import error_flag
from .gemm import gemm
from .graph import keep_alive, to_device
from .launch import WARPS, launch, launch_elementwise
from .layout import contiguous, is_supported

KERNELS = KernelTable()

CHUNK = 2**12  # elements that one block updates
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of optimizers.orthogonalise


def adam_update(
    rows: Sequence[Row],
    *,
    lr: Any,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: Any,
    scale: Array | None = None,
) -> list[Row]:
    """Rows of parameter, gradient and both moments; see `base.Backend.updates`."""
    rows = [tuple(map(contiguous, row)) for row in rows]
    settings = (device_scalar(lr), device_scalar(step), *betas, eps, weight_decay, decoupled)
    for dtype, same in grouped(rows, lambda row: row[0].dtype):
        for_chunks("adam_update", same, dtype, *settings, scale, error_flag())
    return [(p, m, v) for p, _, m, v in rows]


def write_update(array: Array, update: Array) -> Array:
    """Write what a rule computed to a parameter or its state, unless an id was out of range."""
    flag = error_flag()
    if is_supported(array) and array.dtype == update.dtype and array.flags.c_contiguous:
        launch_elementwise("write_update", array, array, contiguous(update), array.size, flag)
    else:
        array[...] = cupy.where(flag[2] != 0, array, update)
    return array


def device_scalar(number: Any) -> Array:
    """A number that may change from step to step, as a 0-d array float64 for a kernel."""
    if isinstance(number, cupy.ndarray):
        return number.astype(cupy.float64, copy=False)
    return cupy.full((), number, cupy.float64)


def for_chunks(name: str, rows: Sequence[Row], dtype: Any, *arguments: Any) -> None:
    """Launch a kernel with one block for each chunk of the rows' arrays."""
    chunks = chunk_table(rows)
    if len(chunks):
        launch(name, dtype, (len(chunks),), (512,), chunks, *arguments)


def chunk_table(rows: Sequence[Row]) -> Array:
    """The chunks of all rows, int64 (n, 5): up to four addresses, 0 if unused, and a count.

    The arrays of a row have the same number of elements.
    """
    for row in rows:
        keep_alive(row)
    row_index, start, count = _chunks(tuple(row[0].size for row in rows))
    addresses = np.array([[array.data.ptr for array in row] for row in rows], np.int64)
    table = np.zeros((len(row_index), 5), np.int64)
    table[:, : len(rows[0])] = addresses[row_index] + start[:, None] * rows[0][0].itemsize
    table[:, 4] = count
    return to_device(table)


@functools.lru_cache(maxsize=64)
def _chunks(sizes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """For each chunk of arrays of these sizes: index of the array, first element, and count."""
    parts = [(i, start) for i, size in enumerate(sizes) for start in range(0, size, CHUNK)]
    index, start = np.array(parts, np.int64).reshape(-1, 2).T
    return index, start, np.minimum(CHUNK, np.array(sizes, np.int64)[index] - start)


@KERNELS.forward
def clip_gradients(xp: Namespace, *gradients: Array, max_norm: float) -> Any:
    flat = [contiguous(g) for g in gradients]
    chunks = chunk_table([(g, g) for g in flat])
    norm, factor = _norm_and_factor(chunks, flat[0].dtype, max_norm)
    if len(chunks):
        launch("scale_chunks", flat[0].dtype, (len(chunks),), (512,), chunks, factor)
    return (norm, *flat), ()


def clip_factor(gradients: Sequence[Array], max_norm: float) -> Array | None:
    """The factor with which `clip_gradients` would scale them; see `base.Backend.clip_factor`."""
    dtype = gradients[0].dtype
    if not is_supported(gradients[0]) or any(g.dtype != dtype for g in gradients):
        return None
    chunks = chunk_table([(contiguous(g), contiguous(g)) for g in gradients])
    return _norm_and_factor(chunks, dtype, max_norm)[1]


def _norm_and_factor(chunks: Array, dtype: Any, max_norm: float) -> tuple[Array, Array]:
    """The norm of all gradients together, and the factor that scales it to at most `max_norm`."""
    partial_sums, result = cupy.empty(len(chunks), dtype), cupy.empty(2, dtype)
    if len(chunks):
        launch("square_sums", dtype, (len(chunks),), (32, 16), chunks, partial_sums)
    launch("clip_factor", dtype, (1,), (32, 32), partial_sums, result, len(chunks), max_norm)
    return result[0], result[1]


def muon_update(
    rows: Sequence[Row],
    *,
    lr: Any,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    scale: Array | None = None,
) -> list[Row]:
    """Rows of parameter, gradient and momentum; see `base.Backend.updates`."""
    rows = [tuple(map(contiguous, row)) for row in rows]
    rate = device_scalar(lr)
    for _, same in grouped(rows, _kind):
        _muon(same, (momentum, 1 - momentum, nesterov, scale), rate, weight_decay)
    return [(p, m) for p, _, m in rows]


def _kind(row: Row) -> Hashable:
    return row[0].dtype, row[0].shape


def _muon(rows: Sequence[Row], settings: tuple[Any, ...], rate: Array, weight_decay: float) -> None:
    """Update matrices of one shape and dtype as a stack (K, M, N), with batched products.

    Args:
        rows: of parameter, gradient and momentum.
        settings: of the kernel muon_direction.
        rate: the learning rate, a 0-d array.
        weight_decay: multiplied by the rate.
    """
    dtype, (M, N) = rows[0][0].dtype, rows[0][0].shape
    stack = cupy.empty((len(rows), M, N), dtype)
    if not stack.size:
        return
    directions = [(g, m, place) for (_, g, m), place in zip(rows, stack, strict=True)]
    for_chunks("muon_direction", directions, dtype, *settings, error_flag())
    _normalize(stack)
    stack = _orthogonal(stack)
    steps = [(p, direction) for (p, _, _), direction in zip(rows, stack, strict=True)]
    widening = math.sqrt(max(1.0, M / N))
    for_chunks("muon_step", steps, dtype, rate, widening, weight_decay, error_flag())


def _normalize(stack: Array) -> None:
    """Divide each matrix of the stack by its Frobenius norm, in place."""
    count, size = len(stack), stack[0].size
    parts = max(1, min(64, size // 4096))
    partial_sums = cupy.empty((count, parts), stack.dtype)
    for name in ("matrix_squares", "divide_by_norm"):
        launch(name, stack.dtype, (parts, count), (32, WARPS), stack, partial_sums, size)


def _orthogonal(X: Array, steps: int = 5) -> Array:
    """Each matrix of a stack X (K, M, N) made nearly orthogonal by Newton-Schulz iteration.

    As `optimizers.orthogonalise`: each step multiplies X by a polynomial of A = X X^T, or for tall
    matrices of X^T X, from the right. A is computed again from each X, so products may be rounded:
    errors do not grow. (The NumPy backend multiplies powers of the first A, which takes fewer
    operations, but squares its rounding errors in each step: with TF32, training made no progress.)
    """
    is_tall = X.shape[1] > X.shape[2]
    for _ in range(steps):
        transposed = X.swapaxes(1, 2)
        A = gemm(transposed, X) if is_tall else gemm(X, transposed)  # (K, n, n), n = min(M, N)
        P = gemm(A, A)
        launch_elementwise("muon_polynomial", P, A, P, P.size, P.shape[-1], *NEWTON_SCHULZ)
        X = gemm(X, P) if is_tall else gemm(P, X)
    return X


UPDATES: dict[str, Callable[..., list[Row]]] = {
    "adam_update": adam_update,
    "muon_update": muon_update,
}
