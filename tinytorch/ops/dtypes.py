"""Dtypes by name, and the arguments of ``to(...)``."""

from typing import Any

import numpy as np

from ..backends import Backend

# PyTorch's names, and those of Python's types.
_TORCH_NAMES = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "int": "int32",
    "long": "int64",
    "short": "int16",
}


def resolve_dtype(dtype: Any, backend: Backend) -> Any:
    """The backend's dtype for a name, a NumPy dtype or another backend's dtype; None for None.

    PyTorch's names "float", "double", "half", "int" (int32), "long" and "short" are known; Python's
    types float, int and bool are the dtypes that their numbers get: float32, int64 and bool.

    Raises:
        TypeError: it is not a dtype that the backend has.
    """
    if dtype is None:
        return None
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", str(dtype))
    name = name.rsplit(".", 1)[-1]
    name = "int64" if dtype is int else _TORCH_NAMES.get(name, name)
    resolved = getattr(backend.xp, name, None)
    if resolved is None or not _is_dtype(name):
        raise TypeError(f"unknown dtype {dtype!r}")
    return resolved


def parse_target(target: Any, dtype: Any, backend: Any) -> tuple[Any, Any]:
    """(dtype, backend) from the arguments of ``to(target, dtype=..., backend=...)``.

    >>> from tinytorch.ops.dtypes import parse_target
    >>> parse_target("float64", None, None), parse_target("numpy", None, None)
    (('float64', None), (None, 'numpy'))
    """
    if target is None:
        return dtype, backend
    if isinstance(target, Backend) or (isinstance(target, str) and not _is_dtype(target)):
        return dtype, target
    return target, backend


def _is_dtype(name: str) -> bool:
    try:
        return np.dtype(name).kind in "biuf" and np.dtype(name).char != "g"  # long double
    except TypeError:
        return False
