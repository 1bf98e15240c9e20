"""The GPU that this process computes on: by default CuPy's current device.

CuPy has a current device for each thread, 0 in a new one. Tensors of one process are on one GPU, so
the choice of the first thread that computes holds for all later ones.
"""

import threading

import cupy
from cupy.cuda import runtime

from ..base import BackendError

_chosen: int | None = None  # until a GPU is chosen, or the first tensor made


class _Thread(threading.local):
    """Whether the process's GPU has been made current in this thread."""

    ready = False


_thread = _Thread()


def prepare_thread() -> None:
    """Make the process's GPU current in this thread, once."""
    if not _thread.ready:
        _prepare()


def _prepare() -> None:
    global _chosen
    current = runtime.getDevice()
    if _chosen is None:
        _chosen = current
    elif current == 0:  # else the thread has chosen another one itself
        cupy.cuda.Device(_chosen).use()
    _thread.ready = True


def count() -> int:
    """The number of GPUs."""
    return int(runtime.getDeviceCount())


def choose(index: int) -> None:
    """Compute on the GPU with this number.

    Raises:
        BackendError: there is no such GPU, or tensors are on another one.
    """
    global _chosen
    if _chosen is not None:
        prepare_thread()
    if index == runtime.getDevice():
        return
    if index >= count():
        raise BackendError(f"cuda:{index}: the last GPU is cuda:{count() - 1}")
    if _chosen is not None:
        raise BackendError(
            f"cuda:{index}: this process computes on cuda:{runtime.getDevice()}, and a process uses"
            " one GPU;"
            f" call tinytorch.cuda.set_device({index}) before the first tensor on a GPU, or set"
            f" CUDA_VISIBLE_DEVICES={index}"
        )
    cupy.cuda.Device(index).use()
    _chosen = index
