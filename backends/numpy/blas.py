"""Products of float32 matrices in C, divided among threads there.

They are our own (c/sgemm.c) on processors with AVX-512, else those of NumPy's OpenBLAS, which is
needed in any case. Python's threads wait for each other's lock, and OpenBLAS's own wait in a busy
loop. The threads of the compiled library do neither, so products of 100 microseconds gain from a
second thread.
"""

import ctypes
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..base import NumpyArray as Array
from . import compiled, wasm
from .threads import limit_blas_threads, threads_to_use

MIN_MULTIPLICATIONS = 2**20  # for a part of a product: 20 to 40 microseconds
MIN_TOGETHER = 2**19  # for one of several products at once
# Rows or columns of a part: sgemm.c leaves narrow ones to OpenBLAS, which rounds differently.
MIN_LENGTH = 16

Shape = tuple[int, ...]


MOST = 2  # products at once: the gradients of one product

# Of one product: the shapes and strides of x and y
Sizes = tuple[Shape, Shape, Shape, Shape]


class Plan(NamedTuple):
    """How products of certain shapes are divided.

    Attributes:
        parts: of all products, as in gemm.c: (n, 16).
        address: of the parts.
        shapes: of the outputs.
    """

    parts: Array
    address: int
    shapes: list[Shape]


# sgemm, x, y and the output of each product, the parts and their number
_STEPS = compiled.pack_steps([0] * (1 + 3 * MOST) + [16 * 8, compiled.COUNT])


def multiply(x: Array, y: Array) -> Array | None:
    """Multiply x (M, K) by y (K, N) -> (M, N), or stacks x (S, M, K) and y (S, K, N) -> (S, M, N).

    Returns:
        None if NumPy is to multiply: small matrices, another dtype or layout, no compiled library.
    """
    outputs = multiply_all([(x, y)])
    return None if outputs is None else outputs[0]


def multiply_all(products: Sequence[tuple[Array, Array]]) -> list[Array] | None:
    """Multiply up to `MOST` pairs as `multiply` does, all at once.

    Whole products for each thread are faster than parts of their rows, since each thread copies y.
    """
    threads, sizes = threads_to_use(), []
    if wasm.IS_WASM or len(products) > MOST:  # there is no compiler
        return None
    for x, y in products:
        if x.dtype is not compiled.FLOAT32 or y.dtype is not compiled.FLOAT32:
            return None
        sizes.append((x.shape, x.strides, y.shape, y.strides))
    plan = _plan(tuple(sizes), threads)
    if plan is None or (library := compiled.load()) is None or (sgemm := _sgemm()) is None:
        return None
    addresses: list[int] = []
    outputs: list[Array] = []
    for (x, y), shape in zip(products, plan.shapes, strict=True):
        out = np.empty(shape, np.float32)
        given = compiled.address(x), compiled.address(y), compiled.address(out)
        if (given[0] | given[1]) % 4:  # a view into a file
            return None
        addresses += given
        outputs.append(out)
    addresses += [0] * (3 * (MOST - len(products)))
    values = sgemm, *addresses, plan.address, len(plan.parts)
    compiled.divide(library, library.functions["multiply"], values, _STEPS, len(plan.parts), 1)
    return outputs


@functools.lru_cache(maxsize=1024)
def _plan(products: tuple[Sizes, ...], threads: int) -> Plan | None:
    """Divide products among threads; None if NumPy is to multiply."""
    rows: list[tuple[int, ...]] = []
    for i, sizes in enumerate(products):
        parts = _parts(*sizes, threads, len(products))
        if not parts:
            return None
        rows += [(i, *part) for part in parts]
    table = np.array(rows, np.int64)
    shapes = [(*x[:-1], y[-1]) for x, _, y, _ in products]
    return Plan(table, compiled.address(table), shapes)


def _parts(
    x: Shape, x_strides: Shape, y: Shape, y_strides: Shape, threads: int, products: int
) -> list[tuple[int, ...]]:
    """The parts that a product is divided into: by its stack, the rows of x or the columns of y.

    The larger factor is divided. An empty list if NumPy is to multiply.

    Args:
        threads: their number.
        products: how many are computed at once.
    """
    *stack, M, K = x
    N = y[-1]
    first, second = _layout((M, K), x_strides), _layout((K, N), y_strides)
    size = math.prod(x) * N
    if (
        first is None
        or second is None
        or size < (MIN_TOGETHER if products > 1 else 2 * MIN_MULTIPLICATIONS)
    ):
        return []
    count = stack[0] if stack else max(M, N)
    most = count if stack else count // MIN_LENGTH
    number = max(1, min(-(-threads // products), size // MIN_MULTIPLICATIONS, most))
    out_strides = (4 * M * N, 4 * N, 4)
    distances = [s[0] // 4 if stack else 0 for s in (x_strides, y_strides, out_strides)]
    parts, layouts = [], (first[0], second[0], N, first[1], second[1])
    bounds = [count * i // number for i in range(number + 1)]
    for i, n in zip(bounds, np.diff(bounds).tolist(), strict=False):
        if stack:
            steps, sizes = (x_strides[0], y_strides[0], out_strides[0]), (n, *distances, M, N, K)
        elif M >= N:
            steps, sizes = (x_strides[0], 0, out_strides[1]), (1, *distances, n, N, K)
        else:
            steps, sizes = (0, y_strides[1], out_strides[2]), (1, *distances, M, n, K)
        parts.append((*(i * step for step in steps), *sizes, *layouts))
    return parts


def _layout(shape: Shape, strides: Shape) -> tuple[int, int] | None:
    """The distance of stored rows in elements, and whether the rows are stored as columns.

    None if BLAS cannot read a matrix of this shape and these strides.
    """
    *stack, rows, columns = strides
    M, N = shape
    for stride, step, length, is_transposed in ((rows, columns, N, 0), (columns, rows, M, 1)):
        if step == 4 and stride >= 4 * length and not any(s % 4 for s in (stride, *stack)):
            return stride // 4, is_transposed
    return None


def run(name: str, *args: Array | float | None, block: int) -> bool:
    """Call a C function that multiplies: `compiled.run` with sgemm and a flag before `args`.

    Args:
        block: the rows, such as images, that each call computes.

    Raises:
        MemoryError: a part had no memory for what it computes in between.
    """
    sgemm, failed = _sgemm(), np.zeros(1, np.int64)
    flag = compiled.address(failed)
    done = sgemm is not None and compiled.run(name, sgemm, flag, *args, block=block)
    if failed[0]:
        raise MemoryError(
            f"{name} has no memory for its buffers; use smaller batches, texts or images"
        )
    return done


class Totals:
    """Sums over the rows of each part of a loop: every part adds to its own, in any thread.

    Attributes:
        array: (rows, n), with the total of a part at its first row.
    """

    def __init__(self, rows: int, block: int, size: int) -> None:
        self.size, self.starts = size, range(0, rows, block)
        shortest = rows - self.starts[-1]  # the rows of the last part have to hold a total too
        self.array = np.empty((rows, -(-size // shortest)), np.float32)

    def sum(self) -> Array:
        """The sum of all totals, always in the same order: (size,)."""
        totals = [self.array[start:].reshape(-1)[: self.size] for start in self.starts]
        result: Array = functools.reduce(np.add, totals)
        return result


def is_available() -> bool:
    """Whether products are divided here, and not by Python's threads."""
    return compiled.load() is not None and _sgemm() is not None


@functools.cache
def _sgemm() -> int | None:
    """The address of cblas_sgemm with 64-bit integers, as in the OpenBLAS of NumPy's wheels."""
    if not limit_blas_threads():
        return None
    from threadpoolctl import ThreadpoolController

    for found in ThreadpoolController().select(internal_api="openblas").lib_controllers:
        library = ctypes.CDLL(found.filepath)
        for name in ("scipy_cblas_sgemm64_", "cblas_sgemm64_"):
            if hasattr(library, name):
                return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    return None
