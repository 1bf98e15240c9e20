"""Matrix products by cuBLAS, without copies of transposed operands.

`cupy.matmul` copies those, and multiplies stacks in float32 only. Here a transpose is a flag, a
stack of matrices one call, and ``TT_MATMUL`` says how float32 is multiplied:

- ``tf32`` (the default): factors rounded to 10 bits of mantissa, sums in float32;
- ``bf16``: factors rounded to 7 bits, sums in float32;
- ``fp32``: nothing rounded.

float64 is always multiplied in float64. The tensor cores that round need compute capability 8.0.
"""

import functools
import math
import os
from typing import Any

import cupy
import numpy as np
from cupy.cuda import device
from cupy_backends.cuda.libs import cublas

from ..base import BackendError
from ..base import NativeArray as Array
from . import cublas as graph_cublas
from .graph import is_capturing, keep_alive

# From cuBLAS's headers: cublasComputeType_t, cudaDataType_t, cublasOperation_t, cublasGemmAlgo_t.
COMPUTE_TYPES = {"fp32": 68, "tf32": 77, "bf16": 75}
COMPUTE_FLOAT64 = 70
DATA_TYPES = {np.dtype("float32"): 0, np.dtype("float64"): 1}
PLAIN, TRANSPOSED = 0, 1
ANY_ALGORITHM = -1

calls = 0  # how many products there were, for whoever counts launches


@functools.cache
def matmul_mode() -> str:
    """How float32 is multiplied: what ``TT_MATMUL`` says, or tf32; fp32 on old GPUs.

    Raises:
        BackendError: the variable has another value.
    """
    mode = os.environ.get("TT_MATMUL") or "tf32"
    if mode not in COMPUTE_TYPES:
        raise BackendError(f"TT_MATMUL is one of {', '.join(COMPUTE_TYPES)}, not {mode!r}")
    return mode if int(device.get_compute_capability()) >= 80 else "fp32"


def gemm(
    x: Array,
    y: Array,
    alpha: float = 1.0,
    out: Array | None = None,
    beta: float = 0.0,
    exact: bool = False,
) -> Array:
    """alpha * x @ y + beta * out, for matrices or stacks of them; transposed views cost nothing.

    Args:
        x: (..., M, K).
        y: (..., K, N); the leading axes of both broadcast.
        alpha: of the product.
        out: contiguous (..., M, N) to write to; new without it.
        beta: how much of what `out` holds is added.
        exact: do not round, whatever ``TT_MATMUL`` says.
    """
    lead = x.shape[:-2]
    if lead != y.shape[:-2]:
        lead = np.broadcast_shapes(lead, y.shape[:-2])
    M, K, N = x.shape[-2], x.shape[-1], y.shape[-1]
    if x.dtype != y.dtype or x.dtype not in DATA_TYPES or 0 in (M, K, N, *lead):
        return _by_cupy(x, y, alpha, out, beta)
    if out is None:
        out = cupy.empty((*lead, M, N), x.dtype)
    _multiply(_operand(x, lead), _operand(y, lead), out, alpha, beta, exact)
    return out


def _by_cupy(x: Array, y: Array, alpha: float, out: Array | None, beta: float) -> Array:
    """The product for the dtypes and the empty shapes that cuBLAS does not take."""
    y = cupy.matmul(x, y)
    y = y if alpha == 1 else y * alpha
    if out is None:
        return y
    out[...] = y + (out * beta if beta else 0)
    return out


class _Operand:
    """Matrices as cuBLAS reads them: whether transposed, and the strides between rows and matrices,
    counted in elements."""

    __slots__ = ("array", "flag", "row", "stack")

    def __init__(self, array: Array, flag: int, row: int, stack: int) -> None:
        self.array, self.flag, self.row, self.stack = array, flag, row, stack


def _operand(x: Array, lead: tuple[int, ...]) -> _Operand:
    """x as an operand; copied only where its strides are those of no matrix."""
    found = _as_it_is(x, lead)
    if found is None:
        shape = (*lead, *x.shape[-2:])
        contiguous = cupy.ascontiguousarray(x if x.shape == shape else cupy.broadcast_to(x, shape))
        found = _as_it_is(contiguous, lead)
        assert found is not None
    return found


def _as_it_is(x: Array, lead: tuple[int, ...]) -> _Operand | None:
    size = x.itemsize
    rows, columns = x.shape[-2:]
    down, right = x.strides[-2] // size, x.strides[-1] // size
    if (right == 1 or columns == 1) and (down >= columns or rows == 1):
        flag, row = PLAIN, max(down, columns) if rows > 1 else columns
    elif (down == 1 or rows == 1) and (right >= rows or columns == 1):
        flag, row = TRANSPOSED, max(right, rows) if columns > 1 else rows
    else:
        return None
    stack = _stack_stride(x, lead)
    return None if stack is None else _Operand(x, flag, row, stack)


def _stack_stride(x: Array, lead: tuple[int, ...]) -> int | None:
    """The one stride that leads from matrix to matrix, in elements; None if there is none."""
    if math.prod(x.shape[:-2]) == 1:
        return 0  # one matrix for all
    if x.shape[:-2] != lead:
        return None
    stride: int | None = None
    expected = 0
    for axis in range(len(lead) - 1, -1, -1):
        if lead[axis] == 1:
            continue
        if stride is None:
            stride = expected = x.strides[axis]
        elif x.strides[axis] != expected:
            return None
        expected *= lead[axis]
    assert stride is not None
    return int(stride) // int(x.itemsize)


@functools.lru_cache(maxsize=256)
def _number(value: float, dtype: Any) -> tuple[int, Any]:
    """The host address of a factor, and the array that keeps it there."""
    array = np.array([value], dtype)
    return array.ctypes.data, array


def _multiply(x: _Operand, y: _Operand, out: Array, alpha: float, beta: float, exact: bool) -> None:
    """cuBLAS counts columns first, so to it our row-major x @ y is y.T @ x.T in its own order."""
    global calls
    calls += 1
    dtype = out.dtype
    M, N = out.shape[-2:]
    K = x.array.shape[-1]
    data = DATA_TYPES[dtype]
    mode = "fp32" if exact else matmul_mode()
    compute = COMPUTE_FLOAT64 if dtype == np.float64 else COMPUTE_TYPES[mode]
    alpha_at, beta_at = _number(alpha, dtype)[0], _number(beta, dtype)[0]
    handle = device.get_cublas_handle()
    keep_alive((x.array, y.array, out))
    library = graph_cublas if is_capturing() else cublas
    stack = math.prod(out.shape[:-2])
    if stack == 1:
        library.gemmEx(
            handle, y.flag, x.flag, N, M, K, alpha_at, y.array.data.ptr, data, y.row,
            x.array.data.ptr, data, x.row, beta_at, out.data.ptr, data, N, compute, ANY_ALGORITHM,
        )  # fmt: skip
    else:
        library.gemmStridedBatchedEx(
            handle, y.flag, x.flag, N, M, K, alpha_at, y.array.data.ptr, data, y.row, y.stack,
            x.array.data.ptr, data, x.row, x.stack, beta_at, out.data.ptr, data, N, M * N, stack,
            compute, ANY_ALGORITHM,
        )  # fmt: skip
