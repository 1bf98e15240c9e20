"""Dtypes by name, and where ``to(...)`` leads."""

from typing import Any

import numpy as np

from ..backends import Backend


def resolve_dtype(dtype: Any, backend: Backend) -> Any:
    """`dtype` as the backend has it; a name, a NumPy dtype or another backend's will do."""
    if dtype is None:
        return None
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", str(dtype))
    found = getattr(backend.xp, name.rsplit(".", 1)[-1], None)
    if found is None or not _is_dtype(name.rsplit(".", 1)[-1]):
        raise TypeError(f"unknown dtype {dtype!r}")
    return found


def destination(target: Any, dtype: Any, backend: Any) -> tuple[Any, Any]:
    """The dtype and the backend that ``to(target, dtype=..., backend=...)`` names."""
    if target is None:
        return dtype, backend
    if isinstance(target, Backend) or (isinstance(target, str) and not _is_dtype(target)):
        return dtype, target
    return target, backend


def _is_dtype(name: str) -> bool:
    try:
        np.dtype(name)
    except TypeError:
        return False
    return True
