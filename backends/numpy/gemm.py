"""Matrix products divided among threads; OpenBLAS itself is limited to one (see `threads`).

The threads are those of the compiled library (see `blas`), or else Python's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base import NumpyArray as Array
from . import blas, wasm
from .rows import SMALL_SIZE
from .threads import Joint, limit_blas_threads, parallel_blocks, parallel_for_each, parallel_ranges

MIN_PARALLEL_MULTIPLICATIONS = 2**23  # smaller products finish before a second thread has woken up


def gemm(x: Array, y: Array) -> Array:
    """Multiply x (M, K) by y (K, N) -> (M, N), divided among the threads.

    Each thread reads all of the factor that is not divided, and may copy it, so the larger one is
    divided: the rows of x or the columns of y.
    """
    if (product := blas.multiply(x, y)) is not None:
        return product
    multiplications = x.shape[0] * x.shape[1] * y.shape[1]
    if wasm.IS_WASM and (product := wasm.multiply(x, y)) is not None:
        return product
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
    if x.ndim == 2 == y.ndim:
        return gemm(x, y)
    if x.ndim < 3 or x.shape[:-2] != y.shape[:-2] or x.size <= SMALL_SIZE:
        return x @ y
    if x.ndim == 3 and (product := blas.multiply(x, y)) is not None:
        return product
    out = np.empty((*x.shape[:-1], y.shape[-1]), np.result_type(x, y))
    if wasm.IS_WASM and x.ndim == 3 and wasm.multiply_stack(x, y, out):
        return out

    def work(i: int, j: int) -> None:
        np.matmul(x[i:j], y[i:j], out=out[i:j])

    parallel_blocks(work, len(x), x[:1].nbytes)
    return out


class Product(Joint):
    """A product of matrices, to be computed alone or with others.

    Args:
        x: (M, K) or (S, ..., M, K).
        y: (K, N) or (S, ..., K, N).
        shape: of the result.
    """

    __slots__ = ("shape", "x", "y")

    def __init__(self, x: Array, y: Array, shape: tuple[int, ...] | None = None) -> None:
        self.x, self.y, self.shape = x, y, shape

    def __call__(self) -> Array:
        return self.reshaped(batched_gemm(self.x, self.y))

    def reshaped(self, result: Array) -> Array:
        return result if self.shape is None else result.reshape(self.shape)

    @property
    def is_large(self) -> bool:
        """Whether it takes longer than a thread of Python takes to wake up."""
        return bool(self.x.size * self.y.shape[-1] >= MIN_PARALLEL_MULTIPLICATIONS)

    @staticmethod
    def compute_all(products: Sequence["Product"]) -> list[Array]:
        """Several products, in as many threads."""
        results: list[Array] | None = None
        if all(p.x.ndim <= 3 and p.x.shape[:-2] == p.y.shape[:-2] for p in products):
            results = blas.multiply_all([(p.x, p.y) for p in products])
        if results is not None:
            return [p.reshaped(r) for p, r in zip(products, results, strict=True)]
        found: list[Any] = [None] * len(products)

        def work(i: int) -> None:
            found[i] = products[i]()

        if sum(p.is_large for p in products) > 1 and not blas.is_available():
            parallel_for_each(work, range(len(products)))
        else:
            found = [p() for p in products]
        return found
