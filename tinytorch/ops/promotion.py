"""Lesson 01: type promotion, the dtype in which an op computes, by PyTorch's rules.

Each dtype belongs to a category: booleans, integers or floats, in this order. Tensors with axes
determine the dtype; a tensor without axes, or after it a Python number, counts only if its category
is higher. So float32 times a 0-d float64 is float32, int32 plus 2 is int32, and an integer tensor
times 0.5 is float32. Within a category the larger dtype wins; uint8 with int8 is int16.

An op declares its mode, and `Op.__call__` casts its arrays before the kernel sees them:

- "common": to the dtype that the rules give;
- "number": the same, and booleans are computed as int64 and the result cast back to booleans;
- "sum": the same, but booleans and integers become int64;
- "float": the same, but booleans and integers become float32.

In the last two, float16 is computed in float32 and the result is rounded, as in PyTorch.
"""

import functools
from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from ..backends.arrays import DType, Namespace
from ..backends.float_errors import ignore, restore

MODES = ("common", "number", "sum", "float")
_CATEGORIES = {"b": 0, "u": 1, "i": 1, "f": 2}
_NUMBERS = {bool: np.dtype(bool), int: np.dtype(np.int64), float: np.dtype(np.float32)}


def promote_arrays(
    xp: Namespace, arrays: Sequence[Any], mode: str, keep: Container[int] = ()
) -> tuple[list[Any], DType, DType | None]:
    """Cast arrays to the dtype in which an op of this mode computes.

    Args:
        xp: the namespace of the arrays.
        arrays: arrays, Python numbers and None.
        mode: one of `MODES`.
        keep: positions of arrays that do not count, such as a mask or ids. Integers and booleans
            among them do not change; floats are cast, as an additive mask.

    Returns:
        The new list, the dtype to compute in, and the dtype to cast the result to, or None.

    >>> import numpy as np
    >>> from tinytorch.backends import get
    >>> from tinytorch.ops.promotion import promote_arrays
    >>> promote_arrays(get("numpy").xp, [np.array([1, 2]), 0.5], "common")[0]
    [array([1., 2.], dtype=float32), 0.5]
    """
    operands = tuple([_operand(a) for i, a in enumerate(arrays) if i not in keep and a is not None])
    name, computed = result_dtype(operands, mode)
    dtype = getattr(xp, computed)
    small = computed not in ("int64", "float16", "float32", "float64")
    promoted = list(arrays)
    for i, a in enumerate(arrays):
        if a is None or (i in keep and not (hasattr(a, "dtype") and is_floating(a.dtype))):
            continue
        if isinstance(a, int):
            promoted[i] = _fit(a, computed) if small or isinstance(a, bool) else a
        elif not isinstance(a, float) and a.dtype != dtype:
            warnings = ignore()  # what is too large for the dtype becomes infinite
            try:
                promoted[i] = xp.astype(a, dtype)
            finally:
                restore(warnings)
    return promoted, dtype, None if name == computed else getattr(xp, name)


def is_floating(dtype: DType) -> bool:
    """True for a floating dtype of any backend."""
    return _numpy_dtype(dtype).kind == "f"


@functools.lru_cache(maxsize=1024)
def result_dtype(operands: tuple[tuple[Any, int], ...], mode: str) -> tuple[str, str]:
    """Names of the result's dtype and of the dtype to compute in.

    Args:
        operands: (NumPy dtype or type of a Python number, rank); the rank is 2 for a tensor with
            axes, 1 for one without, and 0 for a number.
        mode: one of `MODES`.

    Raises:
        TypeError: no integer dtype can hold both uint64 and a signed dtype.
    """
    by_rank: list[Any] = [None, None, None]
    for kind, rank in operands:
        dtype = _NUMBERS.get(kind, kind) if rank == 0 else kind
        by_rank[rank] = dtype if by_rank[rank] is None else _larger(by_rank[rank], dtype)
    result = None
    for dtype in reversed(by_rank):
        if dtype is not None and (result is None or _category(dtype) > _category(result)):
            result = dtype
    assert result is not None
    if result.kind != "f" and mode == "sum":
        result = np.dtype(np.int64)
    if result.kind != "f" and mode == "float":
        result = np.dtype(np.float32)
    computed = result.name
    if result.kind == "b" and mode == "number":
        computed = "int64"
    if computed == "float16" and mode in ("sum", "float"):
        computed = "float32"
    return result.name, computed


def _operand(value: Any) -> tuple[Any, int]:
    if isinstance(value, bool | int | float):
        return type(value), 0
    return _numpy_dtype(value.dtype), 2 if value.ndim else 1


def _category(dtype: "np.dtype[Any]") -> int:
    return _CATEGORIES.get(dtype.kind, 2)


def _larger(x: "np.dtype[Any]", y: "np.dtype[Any]") -> "np.dtype[Any]":
    if _category(x) != _category(y):
        return x if _category(x) > _category(y) else y
    result = np.promote_types(x, y)
    if _category(result) != _category(x):
        raise TypeError(f"{x} and {y} have no common integer dtype; cast one of them with to()")
    return result


def _fit(number: int, dtype: str) -> int | bool:
    """A Python integer or boolean as an element of `dtype`; integers wrap around."""
    value: int | bool = np.array(number).astype(dtype).item()
    return value


@functools.lru_cache(maxsize=256, typed=True)  # dtypes of two libraries must not be compared
def _numpy_dtype(dtype: DType) -> "np.dtype[Any]":
    """NumPy's dtype with the name of a backend's."""
    name = getattr(dtype, "__name__", str(dtype))  # a class such as np.float32 has a name
    return np.dtype(name.rsplit(".", 1)[-1])
