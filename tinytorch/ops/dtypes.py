"""Dtypes by name, and the arguments of ``to(...)``."""

import functools
from typing import Any

import numpy as np

from ..autograd import Variable
from ..backends import Backend, device, get
from ..backends.base import DefaultFloat

# PyTorch's names, and those of Python's types.
_TORCH_NAMES = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "int": "int32",
    "long": "int64",
    "short": "int16",
}


# PyTorch's dtypes that no array library here has.
_LACKING = ("bfloat16", "complex64", "complex128")


def resolve_dtype(dtype: Any, backend: Backend) -> Any:
    """The backend's dtype for a name, a NumPy dtype or another backend's dtype; None for None.

    PyTorch's names "float", "double", "half", "int" (int32), "long" and "short" are known; Python's
    types float, int and bool are the dtypes that their numbers get: float32, int64 and bool.

    Raises:
        TypeError: it is not a dtype that the backend has.
    """
    if dtype is None:
        return None
    resolve = _resolve_cached if isinstance(dtype, np.dtype | str) else _resolve
    return resolve(dtype, backend)


def _resolve(dtype: Any, backend: Backend) -> Any:
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", str(dtype))
    name = name.rsplit(".", 1)[-1]
    name = "int64" if dtype is int else _TORCH_NAMES.get(name, name)
    if name in _LACKING:
        raise TypeError(f"no backend has the dtype {name}; use float32, float64 or float16")
    resolved = getattr(backend.xp, name, None)
    if resolved is None or not _is_dtype(name):
        raise TypeError(f"unknown dtype {dtype!r}")
    return resolved


_resolve_cached = functools.cache(_resolve)


def host_dtype(dtype: Any) -> np.dtype[Any]:
    """NumPy's dtype for a dtype of any backend, or its name."""
    resolved: np.dtype[Any] = np.dtype(resolve_dtype(dtype, get("numpy")))
    return resolved


def parse_target(
    targets: tuple[Any, ...], dtype: Any = None, backend: Any = None
) -> tuple[Any, Any]:
    """(dtype, backend) from the arguments of ``to(*targets, dtype=..., backend=...)``.

    Args:
        targets: dtypes, devices, backends, or names of them, or a tensor, whose dtype and backend
            are meant. PyTorch's flags `non_blocking` and `copy`, which may follow, are skipped.

    >>> from tinytorch.ops.dtypes import parse_target
    >>> parse_target(("float64",)), parse_target(("cpu", "float64"))
    (('float64', None), ('float64', 'cpu'))
    """
    for target in targets:
        if target is None or isinstance(target, bool):
            continue
        if isinstance(target, Variable):
            dtype, backend = target._array.dtype, target._backend
        elif isinstance(target, Backend | device):
            backend = target
        elif isinstance(target, int) or (isinstance(target, str) and not _is_dtype(target)):
            backend = device(target) if isinstance(target, int) else target
        else:
            dtype = target
    return dtype, backend


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype of new tensors of Python floats, of factories such as `zeros`, and of weights.

    Raises:
        TypeError: it is not a floating dtype.

    >>> from tinytorch import Tensor, set_default_dtype
    >>> set_default_dtype("float64")
    >>> Tensor([0.5]).dtype
    dtype('float64')
    >>> set_default_dtype("float32")
    """
    resolved = host_dtype(dtype)
    if resolved.kind != "f":
        raise TypeError(f"the default dtype must be a floating one, not {resolved}")
    DefaultFloat.dtype = resolved


def get_default_dtype() -> Any:
    """The dtype of new tensors of Python floats."""
    return DefaultFloat.dtype


def _is_dtype(name: str) -> bool:
    name = _TORCH_NAMES.get(name.rsplit(".", 1)[-1], name.rsplit(".", 1)[-1])
    try:
        return np.dtype(name).kind in "biuf" and np.dtype(name).char != "g"  # long double
    except TypeError:
        return name in _LACKING
