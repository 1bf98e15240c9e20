"""The names of `torch.cuda`: the GPU of the backend cupy."""

from typing import Any

from . import amp
from .backends import device, get, status
from .backends import device as _device
from .missing import missing_name
from .ops.random import manual_seed

__all__ = [
    "amp",
    "current_device",
    "device",
    "device_count",
    "empty_cache",
    "get_device_name",
    "is_available",
    "is_bf16_supported",
    "manual_seed",
    "manual_seed_all",
    "memory_allocated",
    "memory_reserved",
    "set_device",
    "synchronize",
]


def is_available() -> bool:
    """Whether CuPy is installed and a GPU can be used."""
    return status("cupy") is None


def device_count() -> int:
    """The number of GPUs; a process uses one of them, see `set_device`."""
    return get("cupy").device_count() if is_available() else 0


def set_device(device: Any) -> None:
    """Choose the GPU that this process computes on, before its first tensor on a GPU.

    Args:
        device: its number, or a device such as "cuda:1".

    Raises:
        BackendError: there is no such GPU, or tensors are on another one.
    """
    get(_device(device))


def current_device() -> int:
    """The number of the GPU that is used."""
    return get("cupy").device_index or 0


def get_device_name(device: Any = None) -> str:
    """The name of the GPU that is used."""
    return str(get("cupy")).removeprefix("cupy on ").partition(", products in")[0]


def is_bf16_supported() -> bool:
    """False: no backend has bfloat16."""
    return False


def manual_seed_all(seed: int) -> None:
    """The same as `manual_seed`: numbers are drawn on the host, and are equal on every backend."""
    manual_seed(seed)


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has finished all queued work."""
    get("cupy").synchronize()


def memory_allocated(device: Any = None) -> int:
    """Bytes of the GPU's memory in use by tensors; 0 without a GPU."""
    return get("cupy").memory()["used"] if is_available() else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes of the GPU's memory that are reserved; 0 without a GPU."""
    return get("cupy").memory()["reserved"] if is_available() else 0


def empty_cache() -> None:
    """Without effect: CuPy's pool reuses the memory that it keeps."""


def __getattr__(name: str) -> Any:
    raise missing_name("torch.cuda", name, globals())
