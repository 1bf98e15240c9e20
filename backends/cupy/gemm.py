"""Matrix products (GEMM) by cuBLAS, without copies of transposed operands.

`cupy.matmul` copies those, and multiplies stacks in full float32 only. Here a transpose is a flag,
a stack of matrices is one batched call, and ``TT_MATMUL`` sets the precision of float32 products:

- ``tf32`` (the default): operands rounded to 10 bits of mantissa, sums in float32;
- ``bf16``: operands rounded to 7 bits, sums in float32;
- ``fp16``: operands converted to float16 (10 bits, up to 65,504), sums in float32; training scales
  the loss, see `loss_scaler`;
- ``fp32``: no rounding.

Text is generated in `full_precision`, so that it is the same as on a CPU. float64 products are
always computed in float64. The tensor cores for tf32 and bf16 need compute capability 8.0, those
for fp16 7.0.
"""

import contextlib
import functools
import math
import os
import threading
from collections.abc import Iterator
from typing import Any

import cupy
import numpy as np
from cupy.cuda import device

from ..base import BackendError
from ..base import NativeArray as Array
from . import cublas
from .graph import keep_alive

# cuBLAS's enums cublasComputeType_t, cudaDataType_t, cublasOperation_t and cublasGemmAlgo_t.
COMPUTE_TYPES = {"fp32": 68, "tf32": 77, "bf16": 75, "fp16": 74}
COMPUTE_FLOAT64 = 70
DATA_TYPES = {np.dtype("float32"): 0, np.dtype("float64"): 1}
BFLOAT16 = np.dtype("uint16")  # of arrays that hold the bits of bfloat16 numbers
_ALL_DATA_TYPES = {**DATA_TYPES, BFLOAT16: 14}
NO_TRANSPOSE, TRANSPOSE = 0, 1
DEFAULT_ALGORITHM = -1

CAPABILITIES = {"fp32": 0, "tf32": 80, "bf16": 80, "fp16": 70}  # that the modes need, times 10

COPY_LIMIT = 2**22  # bytes: a smaller operand is copied where that saves launches
MAX_PARTS = 16  # products that one product is divided into

calls = 0  # cuBLAS products so far, for tests


def matmul_mode() -> str:
    """Precision of float32 products on the current device: the value of ``TT_MATMUL``, tf32 by
    default, if the device supports it.

    Raises:
        BackendError: ``TT_MATMUL`` has another value.
    """
    return supported_mode(_chosen_mode())


@functools.cache
def _chosen_mode() -> str:
    mode = os.environ.get("TT_MATMUL") or "tf32"
    if mode not in COMPUTE_TYPES:
        raise BackendError(f"TT_MATMUL must be one of {', '.join(COMPUTE_TYPES)}, not {mode!r}")
    return mode


def supported_mode(mode: str) -> str:
    """`mode` itself, or fp32 if the current device has no tensor cores for it."""
    return mode if int(device.get_compute_capability()) >= CAPABILITIES[mode] else "fp32"


class _Rounding(threading.local):
    """Whether float32 products of this thread are rounded as ``TT_MATMUL`` says."""

    on = True


_rounding = _Rounding()


def precision() -> str:
    """Precision of the current thread's products, one of `COMPUTE_TYPES`."""
    return matmul_mode() if _rounding.on else "fp32"


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """A context in which float32 products are not rounded, whatever ``TT_MATMUL`` is."""
    before, _rounding.on = _rounding.on, False
    try:
        yield
    finally:
        _rounding.on = before


def gemm(
    x: Array,
    y: Array,
    alpha: float = 1.0,
    out: Array | None = None,
    beta: float = 0.0,
) -> Array:
    """Return alpha * x @ y + beta * out for matrices or stacks of them. Transposed views are not
    copied.

    Args:
        x: (..., M, K).
        y: (..., K, N); the leading axes of x and y broadcast.
        alpha: factor of the product.
        out: (..., M, N), overwritten with the result; by default a new array. Its rows are
            contiguous, and its leading axes are contiguous or one.
        beta: factor of the previous contents of `out`.
    """
    lead = x.shape[:-2]
    if lead != y.shape[:-2]:
        lead = np.broadcast_shapes(lead, y.shape[:-2])
    M, K, N = x.shape[-2], x.shape[-1], y.shape[-1]
    if x.dtype != y.dtype or x.dtype not in DATA_TYPES or 0 in (M, K, N, *lead):
        return _by_cupy(x, y, alpha, out, beta)
    if out is None:
        out = cupy.empty((*lead, M, N), x.dtype)
    left, right = _operand(x, lead), _operand(y, lead)
    if left is None or right is None:
        axis = _axis_to_split(x, y, lead)
        if axis is not None:
            for i in range(lead[axis]):
                at = (*[slice(None)] * axis, i)
                gemm(x[at], y[at], alpha, out[at], beta)
            return out
        left, right = left or _copied(x, lead), right or _copied(y, lead)
    _multiply(left, right, out, alpha, beta)
    return out


def gemm_bf16(x: Array, y: Array, dtype: Any = BFLOAT16) -> Array:
    """x (M, K) @ y (K, N) for bfloat16 matrices, summed in float32; transposed ones are not copied.

    Args:
        dtype: of the result, `BFLOAT16` or float32.
    """
    out = cupy.empty((x.shape[0], y.shape[1]), dtype)
    left, right = _operand(x, ()), _operand(y, ())
    assert left is not None
    assert right is not None
    _multiply(left, right, out, 1.0, 0.0, exact=True)
    return out


def _axis_to_split(x: Array, y: Array, lead: tuple[int, ...]) -> int | None:
    """The leading axis along which a product of large strided operands is divided into a few that
    need no copies, such as that of the heads (B, nh, T, hs) of one projection; None for others."""
    if len(lead) != 2 or not x.shape[:-2] == y.shape[:-2] == lead:
        return None
    if not any(a.nbytes >= COPY_LIMIT and _operand(a, lead) is None for a in (x, y)):
        return None
    axis = 0 if lead[0] < lead[1] else 1
    if lead[axis] > MAX_PARTS:
        return None
    first = (0,) if axis == 0 else (slice(None), 0)
    is_copied = any(_operand(a[first], (lead[1 - axis],)) is None for a in (x, y))
    return None if is_copied else axis


def _by_cupy(x: Array, y: Array, alpha: float, out: Array | None, beta: float) -> Array:
    """The product for dtypes and empty shapes that cuBLAS does not support."""
    y = cupy.matmul(x, y)
    y = y if alpha == 1 else y * alpha
    if out is None:
        return y
    out[...] = y + (out * beta if beta else 0)
    return out


class _Operand:
    """A matrix or a stack of them as arguments of cuBLAS.

    Attributes:
        transpose: NO_TRANSPOSE or TRANSPOSE.
        leading: the leading dimension: elements between rows, or between columns if transposed.
        stride: elements between the matrices of a stack; 0 repeats one matrix.
    """

    __slots__ = ("array", "leading", "stride", "transpose")

    def __init__(self, array: Array, transpose: int, leading: int, stride: int) -> None:
        self.array, self.transpose = array, transpose
        self.leading, self.stride = leading, stride


def _copied(x: Array, lead: tuple[int, ...]) -> _Operand:
    """A copy of x as an operand."""
    shape = (*lead, *x.shape[-2:])
    contiguous = cupy.ascontiguousarray(x if x.shape == shape else cupy.broadcast_to(x, shape))
    operand = _operand(contiguous, lead)
    assert operand is not None
    return operand


def _operand(x: Array, lead: tuple[int, ...]) -> _Operand | None:
    """x (..., rows, columns) as an operand with the leading axes `lead`, without a copy; None if
    cuBLAS does not support its strides."""
    size = x.itemsize
    rows, columns = x.shape[-2:]
    down, right = x.strides[-2] // size, x.strides[-1] // size
    if (right == 1 or columns == 1) and (down >= columns or rows == 1):
        transpose, leading = NO_TRANSPOSE, max(down, columns) if rows > 1 else columns
    elif (down == 1 or rows == 1) and (right >= rows or columns == 1):
        transpose, leading = TRANSPOSE, max(right, rows) if columns > 1 else rows
    else:
        return None
    stride = _stack_stride(x, lead)
    return None if stride is None else _Operand(x, transpose, leading, stride)


def _stack_stride(x: Array, lead: tuple[int, ...]) -> int | None:
    """The stride between consecutive matrices, in elements; None if it is not constant."""
    if math.prod(x.shape[:-2]) == 1:
        return 0  # one matrix, repeated
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
    return None if stride < 0 else int(stride) // int(x.itemsize)


@functools.lru_cache(maxsize=256)
def _host_scalar(value: float, dtype: Any) -> tuple[int, Any]:
    """The host address of a scalar, and the array that owns the memory; cached to keep it alive."""
    array = np.array([value], dtype)
    return array.ctypes.data, array


def _multiply(
    x: _Operand, y: _Operand, out: Array, alpha: float, beta: float, exact: bool = False
) -> None:
    """Call cuBLAS. It is column-major: x @ y in row-major order is y.T @ x.T in column-major."""
    global calls
    calls += 1
    dtype = out.dtype
    M, N = out.shape[-2:]
    leading, stride = N, M * N
    if not out.flags.c_contiguous:  # a part of a larger array
        part = _operand(out, out.shape[:-2])
        assert part is not None
        assert part.transpose == NO_TRANSPOSE
        leading, stride = part.leading, part.stride
    K = x.array.shape[-1]
    x_type, y_type, type_ = (_ALL_DATA_TYPES[a.dtype] for a in (x.array, y.array, out))
    mode = "fp32" if exact else precision()
    compute = COMPUTE_FLOAT64 if dtype == np.float64 else COMPUTE_TYPES[mode]
    scalar = np.float64 if dtype == np.float64 else np.float32
    alpha_at, beta_at = _host_scalar(alpha, scalar)[0], _host_scalar(beta, scalar)[0]
    handle = cublas.handle()
    keep_alive((x.array, y.array, out))
    count = math.prod(out.shape[:-2])
    if count == 1:
        cublas.gemmEx(
            handle, y.transpose, x.transpose, N, M, K, alpha_at, y.array.data.ptr, y_type,
            y.leading, x.array.data.ptr, x_type, x.leading, beta_at, out.data.ptr, type_, leading,
            compute,
            DEFAULT_ALGORITHM,
        )  # fmt: skip
    else:
        cublas.gemmStridedBatchedEx(
            handle, y.transpose, x.transpose, N, M, K, alpha_at, y.array.data.ptr, y_type,
            y.leading, y.stride, x.array.data.ptr, x_type, x.leading, x.stride, beta_at,
            out.data.ptr, type_, leading, stride, count, compute, DEFAULT_ALGORITHM,
        )  # fmt: skip
