"""Matrix products divided among threads; OpenBLAS itself is limited to one (see `threads`)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..base import NumpyArray as Array
from .rows import SMALL_SIZE
from .threads import Concurrent, limit_blas_threads, parallel_blocks, parallel_ranges

MIN_PARALLEL_MULTIPLICATIONS = 2**23  # smaller products finish before a second thread has woken up


def gemm(x: Array, y: Array) -> Array:
    """Multiply x (M, K) by y (K, N) -> (M, N), divided among the threads.

    Each thread copies all of the factor that is not divided into OpenBLAS's layout, so the larger
    one is divided: the rows of x or the columns of y.
    """
    multiplications = x.shape[0] * x.shape[1] * y.shape[1]
    if multiplications < MIN_PARALLEL_MULTIPLICATIONS or not limit_blas_threads():
        return x @ y
    out = np.empty((x.shape[0], y.shape[1]), np.result_type(x, y))

    def rows(i: int, j: int) -> None:
        np.matmul(x[i:j], y, out=out[i:j])

    def columns(i: int, j: int) -> None:
        np.matmul(x, y[:, i:j], out=out[:, i:j])

    parallel_ranges(*((rows, x.shape[0]) if x.shape[0] >= y.shape[1] else (columns, y.shape[1])))
    return out


def batched_gemm(x: Array, y: Array) -> Array:
    """Multiply stacks x (S, ..., M, K) and y (S, ..., K, N), with S divided among the threads."""
    if x.ndim < 3 or x.shape[:-2] != y.shape[:-2] or x.size <= SMALL_SIZE:
        return x @ y
    out = np.empty((*x.shape[:-1], y.shape[-1]), np.result_type(x, y))

    def work(i: int, j: int) -> None:
        np.matmul(x[i:j], y[i:j], out=out[i:j])

    parallel_blocks(work, len(x), x[:1].nbytes)
    return out


def concurrent_if_large(multiplications: int, product: Callable[[], Array]) -> Any:
    """Mark a product as `Concurrent` if it takes longer than a thread takes to wake up."""
    return Concurrent(product) if multiplications >= MIN_PARALLEL_MULTIPLICATIONS else product
