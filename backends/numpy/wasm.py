"""Products of float32 matrices in a browser: by SciPy's OpenBLAS, if Pyodide has loaded it.

NumPy has no BLAS there and multiplies in a plain loop.
"""

import ctypes
import functools
import sys
from typing import Any

import numpy as np

from ..base import NumpyArray as Array

IS_WASM = sys.platform == "emscripten"
LIBRARY = "libopenblas.so"  # in Pyodide's package openblas, which SciPy depends on
MIN_MULTIPLICATIONS = 2**15  # a call through ctypes takes as long as NumPy's loop for these

_ROWS, _PLAIN, _TRANSPOSED = 101, 111, 112  # from cblas.h


def multiply(x: Array, y: Array) -> Array | None:
    """Multiply x (M, K) by y (K, N) -> (M, N); None if NumPy is to multiply."""
    out = np.empty((x.shape[0], y.shape[1]), np.float32)
    if x.size * y.shape[1] < MIN_MULTIPLICATIONS or not _multiply_into(x, y, out):
        return None
    return out


def multiply_stack(x: Array, y: Array, out: Array) -> bool:
    """Multiply x (S, M, K) by y (S, K, N) into out (S, M, N); False if NumPy is to multiply."""
    if x[0].size * y.shape[-1] < MIN_MULTIPLICATIONS:
        return False
    return all(_multiply_into(*matrices) for matrices in zip(x, y, out, strict=True))


def _multiply_into(x: Array, y: Array, out: Array) -> bool:
    (M, K), N = x.shape, y.shape[1]
    first, second, sgemm = _layout(x), _layout(y), _sgemm()
    if first is None or second is None or sgemm is None or out.dtype != np.float32:
        return False
    a, b, c = (v.__array_interface__["data"][0] for v in (x, y, out))
    sgemm(_ROWS, first[1], second[1], M, N, K, 1.0, a, first[0], b, second[0], 0.0, c, N)
    return True


def _layout(x: Array) -> tuple[int, int] | None:
    """The distance of stored rows in elements, and how they are stored.

    None if BLAS cannot read the matrix.
    """
    if x.dtype != np.float32 or not x.flags.aligned:
        return None
    for matrix, kind in ((x, _PLAIN), (x.T, _TRANSPOSED)):
        stride, step = matrix.strides
        if step == 4 and stride >= 4 * matrix.shape[1] and not stride % 4:
            return stride // 4, kind
    return None


@functools.cache
def _sgemm() -> Any:
    """cblas_sgemm, whose integers have 32 bits; None if Pyodide has not loaded it before."""
    try:
        sgemm: Any = ctypes.CDLL(LIBRARY).cblas_sgemm
    except (OSError, AttributeError):
        return None
    number, address, real = ctypes.c_int, ctypes.c_void_p, ctypes.c_float
    matrix: list[Any] = [address, number]
    sgemm.argtypes = [*[number] * 6, real, *matrix, *matrix, real, *matrix]
    sgemm.restype = None
    return sgemm
