"""Array backends: arrays and kernels, without tensors and gradients.

>>> from tinytorch import backends
>>> backends.get("numpy").asarray([1.0, 2.0])
array([1., 2.], dtype=float32)

``backends.default()`` is the backend named by the environment variable TT_BACKEND, or else NumPy.
"""

from typing import Any

from .base import Backend, BackendError, Kernel
from .device import device, device_of
from .registry import default, get, names, of, register, status
from .trace import Trace

__all__ = [
    "Backend",
    "BackendError",
    "Kernel",
    "Trace",
    "default",
    "device",
    "device_of",
    "get",
    "names",
    "of",
    "register",
    "status",
]


def __getattr__(name: str) -> Any:
    """The switches of `torch.backends`, such as ``cudnn.benchmark``."""
    from .flags import FLAGS

    if name in FLAGS:
        return FLAGS[name]
    raise AttributeError(f"tinytorch.backends has no attribute {name!r}", name=name)
