"""Array backends: the ground floor. Arrays and kernels live here, tensors and gradients do not.

>>> from tinytorch import backends
>>> backends.get("numpy").asarray([1.0, 2.0])
array([1., 2.], dtype=float32)
>>> backends.default().name          # the environment variable TT_BACKEND, or numpy
'numpy'
"""

from .base import Backend, BackendError, Kernel
from .registry import default, get, names, of, register, status

__all__ = [
    "Backend",
    "BackendError",
    "Kernel",
    "default",
    "get",
    "names",
    "of",
    "register",
    "status",
]
