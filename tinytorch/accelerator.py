"""The names of `torch.accelerator`: the GPU of the backend cupy."""

from typing import Any

from . import cuda
from .backends import device
from .cuda import device_count, is_available, synchronize
from .missing import missing_name

__all__ = ["current_accelerator", "device_count", "is_available", "synchronize"]


def current_accelerator(check_available: bool = False) -> Any:
    """The device "cuda", or None if there is no GPU."""
    return device("cuda") if cuda.is_available() else None


def __getattr__(name: str) -> Any:
    raise missing_name("torch.accelerator", name, globals())
