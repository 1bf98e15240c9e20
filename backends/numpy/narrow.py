"""Results in int64 where NumPy's default integer has 32 bits: in a browser, which is 32-bit.

Tensors of integers are int64 on every platform, as in PyTorch.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

IS_NARROW = np.dtype(np.intp).itemsize < 8

_POSITIONS = ("argmax", "argmin", "argsort", "count_nonzero", "nonzero", "searchsorted")
_SUMS = ("cumulative_prod", "cumulative_sum", "prod", "sum")


def overrides(standard: Any) -> dict[str, Callable[..., Any]]:
    """The functions of the namespace `standard` that return integers of the default size, wider."""
    names = [name for name in (*_POSITIONS, *_SUMS) if hasattr(standard, name)]
    wider = {n: _widened(getattr(standard, n), sums=n in _SUMS) for n in names}
    return wider | {"arange": _arange(standard.arange)}


def _widened(function: Callable[..., Any], sums: bool) -> Callable[..., Any]:
    @wraps(function)
    def wide(x: Any, *args: Any, **settings: Any) -> Any:
        if sums and settings.get("dtype") is None and x.dtype.kind in "biu":
            settings["dtype"] = np.uint64 if x.dtype.kind == "u" else np.int64
        result = function(x, *args, **settings)
        if sums:
            return result
        if isinstance(result, tuple):
            return tuple(part.astype(np.int64) for part in result)
        return np.asarray(result, np.int64)

    return wide


def _arange(arange: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(arange)
    def wide(*args: Any, **settings: Any) -> Any:
        result = arange(*args, **settings)
        return result if settings.get("dtype") or result.dtype.kind == "f" else result.astype("i8")

    return wide
