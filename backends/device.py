"""PyTorch's names of devices: "cpu" is a backend on the host, "cuda" is the cupy backend."""

import threading
from typing import Any, ClassVar

from .base import Backend, BackendError

KINDS = ("cpu", "cuda", "mps", "xpu")  # the host; GPUs of NVIDIA, Apple and Intel
KNOWN = '"cpu" for the host, "cuda" for an NVIDIA GPU'


class device:  # noqa: N801  PyTorch's name
    """The place of a tensor's memory, by PyTorch's names.

    As a context manager, it makes new tensors be created there.

    Args:
        type: "cpu", "cuda", or one of them with an index, "cuda:0"; or another device. "mps" and
            "xpu" need a backend of another package with such arrays.
        index: number of the device.

    >>> from tinytorch import device, zeros
    >>> zeros(3).device, device("cuda:0").type
    (device(type='cpu'), 'cuda')
    """

    __slots__ = ("backend", "index", "type")
    current: ClassVar["_Current"]

    type: str
    index: int | None
    backend: Backend | None  # of the tensor that it is the device of

    def __init__(self, type: Any, index: int | None = None) -> None:
        if isinstance(type, device):
            self.type, self.index, self.backend = type.type, type.index, type.backend
            return
        if isinstance(type, int) and not isinstance(type, bool):  # PyTorch: the GPU of this number
            type, index = "cuda", type
        if not isinstance(type, str):
            raise TypeError(f"a device is {KNOWN}, not {type!r}")
        kind, colon, number = type.partition(":")
        if kind not in KINDS or (colon and (index is not None or not number.isdecimal())):
            raise BackendError(f"unknown device {type!r}: a device is {KNOWN}")
        self.type, self.index, self.backend = kind, int(number) if colon else index, None

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, device):
            return NotImplemented
        return (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> Any:
        return device, (self.type, self.index)

    def __enter__(self) -> "device":
        self.current.outer.append(self.current.chosen)
        self.current.chosen = self
        return self

    def __exit__(self, *exception: object) -> None:
        self.current.chosen = self.current.outer.pop()


class _Current(threading.local):
    """The device of new tensors in this thread; None for the default backend's."""

    chosen: device | None = None

    def __init__(self) -> None:  # runs once in each thread
        self.outer: list[device | None] = []


device.current = _Current()


def device_of(backend: Backend) -> device:
    """The device of a backend's arrays."""
    result = device(backend.device_type, backend.device_index)
    result.backend = backend
    return result
