"""cuBLAS products through ctypes, eager or during stream capture.

CuPy's wrappers prohibit products during capture, and reset the workspace in each call. cuBLAS
chooses its algorithm by the size of the workspace: with one workspace for both, an eager step and a
captured one give the same bits. Therefore these functions use the library that CuPy has loaded, but
a handle of their own. Their arguments are those of `cupy_backends.cuda.libs.cublas`.
"""

import ctypes
import functools
import os
import threading
import weakref
from typing import Any

import cupy
from cupy.cuda import device, runtime

from ..base import BackendError
from ..base import NativeArray as Array

WORKSPACE, WORKSPACE_HOPPER = 2**22, 2**25  # bytes, as cuBLAS recommends

_INT, _LONG, _ADDRESS = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p
_HEAD = [_ADDRESS, _INT, _INT, _INT, _INT, _INT, _ADDRESS]  # handle, flags, sizes, alpha
_MATRIX = [_ADDRESS, _INT, _INT]  # address, data type, leading dimension
_TAIL = [_INT, _INT]  # compute type, algorithm
SIGNATURES = {
    "cublasCreate_v2": [_ADDRESS],
    "cublasDestroy_v2": [_ADDRESS],
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


class _Handle:
    """A handle of cuBLAS with a workspace, for one thread and device."""

    def __init__(self) -> None:
        place = _ADDRESS()
        _call("cublasCreate_v2", ctypes.addressof(place))
        self.address = place.value
        self._stream: int | None = None
        weakref.finalize(self, _function("cublasDestroy_v2"), self.address).atexit = False
        is_hopper = int(device.get_compute_capability()) >= 90
        with cupy.cuda.using_allocator(None), cupy.cuda.Stream.null:  # it outlives all graphs
            self.workspace = cupy.empty(WORKSPACE_HOPPER if is_hopper else WORKSPACE, cupy.uint8)

    def bind(self, stream: int) -> None:
        """Let products run on a stream, with the workspace, which cuBLAS resets then."""
        if stream != self._stream:
            self._stream = None  # if a call fails
            _call("cublasSetStream_v2", self.address, stream)
            memory = self.workspace.data.ptr, self.workspace.nbytes
            _call("cublasSetWorkspace_v2", self.address, *memory)
            self._stream = stream


class _Handles(threading.local):
    def __init__(self) -> None:  # runs once in each thread
        self.by_device: dict[int, _Handle] = {}


_handles = _Handles()


def _own_handle() -> _Handle:
    number = runtime.getDevice()
    own = _handles.by_device.get(number)
    if own is None:
        own = _handles.by_device[number] = _Handle()
    return own


def handle() -> Any:
    """The handle of this thread for products on the current device and stream."""
    own = _own_handle()
    own.bind(cupy.cuda.get_current_stream().ptr)
    return own.address


def workspace() -> Array:
    """The workspace of this thread's products; creates it, which a capture cannot."""
    return _own_handle().workspace


def gemmEx(*arguments: Any) -> None:  # noqa: N802  cuBLAS's name
    """alpha a @ b + beta c for one pair of matrices."""
    _call("cublasGemmEx", *arguments)


def gemmStridedBatchedEx(*arguments: Any) -> None:  # noqa: N802  cuBLAS's name
    """alpha a @ b + beta c for each pair of two stacks of matrices."""
    _call("cublasGemmStridedBatchedEx", *arguments)
