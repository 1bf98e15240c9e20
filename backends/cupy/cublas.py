"""cuBLAS products during stream capture, through ctypes: only CuPy's wrappers prohibit them.

The functions have the signatures of those in `cupy_backends.cuda.libs.cublas`, and use the library
and the handle that CuPy has loaded.
"""

import ctypes
import functools
import os
from typing import Any

import cupy
from cupy.cuda import device

from ..base import BackendError
from ..base import NativeArray as Array

WORKSPACE = 2**25  # bytes, as cuBLAS recommends for Hopper; older GPUs need less

_INT, _LONG, _ADDRESS = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p
_HEAD = [_ADDRESS, _INT, _INT, _INT, _INT, _INT, _ADDRESS]  # handle, flags, sizes, alpha
_MATRIX = [_ADDRESS, _INT, _INT]  # address, data type, leading dimension
_TAIL = [_INT, _INT]  # compute type, algorithm
SIGNATURES = {
    "cublasSetStream_v2": [_ADDRESS, _ADDRESS],
    "cublasSetWorkspace_v2": [_ADDRESS, _ADDRESS, ctypes.c_size_t],
    "cublasGemmEx": [*_HEAD, *_MATRIX, *_MATRIX, _ADDRESS, *_MATRIX, *_TAIL],
    "cublasGemmStridedBatchedEx": [
        *_HEAD, *_MATRIX, _LONG, *_MATRIX, _LONG, _ADDRESS, *_MATRIX, _LONG, _INT, *_TAIL,
    ],
}  # fmt: skip


@functools.cache
def _library() -> Any:
    """The cuBLAS library that CuPy has loaded."""
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    name = f"cublas64_{major}.dll" if os.name == "nt" else f"libcublas.so.{major}"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise BackendError(f"cannot load the library {name} with ctypes: {error}") from None


@functools.cache
def _function(name: str) -> Any:
    function = getattr(_library(), name)
    function.argtypes, function.restype = SIGNATURES[name], _INT
    return function


def _call(name: str, *arguments: Any) -> None:
    status = _function(name)(*arguments)
    if status:
        raise BackendError(f"{name} failed with status {status}")


def use(stream: Any, workspace: Array) -> None:
    """Bind cuBLAS to `stream` and `workspace`, until CuPy's next own cuBLAS call resets them."""
    handle = device.get_cublas_handle()
    _call("cublasSetStream_v2", handle, stream.ptr)
    _call("cublasSetWorkspace_v2", handle, workspace.data.ptr, workspace.nbytes)


def gemmEx(*arguments: Any) -> None:  # noqa: N802  cuBLAS's name
    """alpha a @ b + beta c for one pair of matrices."""
    _call("cublasGemmEx", *arguments)


def gemmStridedBatchedEx(*arguments: Any) -> None:  # noqa: N802  cuBLAS's name
    """alpha a @ b + beta c for each pair of two stacks of matrices."""
    _call("cublasGemmStridedBatchedEx", *arguments)
