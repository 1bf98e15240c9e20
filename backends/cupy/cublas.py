"""Products of cuBLAS while a stream is recorded: CuPy refuses them, the library does not.

The functions take what those of `cupy_backends.cuda.libs.cublas` take. The library is the one
that CuPy has loaded, and so is the handle.
"""

import ctypes
import functools
import os
from typing import Any

import cupy
from cupy.cuda import device

from ..base import BackendError
from ..base import NativeArray as Array

WORKSPACE = 2**25  # bytes that cuBLAS recommends on Hopper; elsewhere it takes less

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
    """cuBLAS, as CuPy has loaded it."""
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    name = f"cublas64_{major}.dll" if os.name == "nt" else f"libcublas.so.{major}"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise BackendError(f"the library {name} cannot be called directly: {error}") from None


@functools.cache
def _function(name: str) -> Any:
    function = getattr(_library(), name)
    function.argtypes, function.restype = SIGNATURES[name], _INT
    return function


def _call(name: str, *arguments: Any) -> None:
    status = _function(name)(*arguments)
    if status:
        raise BackendError(f"{name} failed with status {status}")


def use(stream: Any, room: Array) -> None:
    """From here on products go to `stream` and have `room`; CuPy's next own one takes that back."""
    handle = device.get_cublas_handle()
    _call("cublasSetStream_v2", handle, stream.ptr)
    _call("cublasSetWorkspace_v2", handle, room.data.ptr, room.nbytes)


def gemmEx(*arguments: Any) -> None:  # noqa: N802  cuBLAS's name
    """One product."""
    _call("cublasGemmEx", *arguments)


def gemmStridedBatchedEx(*arguments: Any) -> None:  # noqa: N802  cuBLAS's name
    """A product for each pair of two stacks."""
    _call("cublasGemmStridedBatchedEx", *arguments)
