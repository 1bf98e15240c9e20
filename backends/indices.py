"""Checks of ids and keys with the same errors for every array library.

Libraries differ where an index is out of range: NumPy raises an IndexError, JAX reads another
element and PyTorch on a GPU ends the process.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .arrays import NumpyArray, Shape


def is_basic(key: Any) -> bool:
    """True if `key` has only slices, integers, None and ellipsis: no element is indexed twice."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(p is None or p is ... or isinstance(p, slice | int | np.integer) for p in parts)


def as_index(ids: NumpyArray) -> NumpyArray:
    """Checked ids in NumPy's type of an index; without a copy, except on a 32-bit platform.

    There `np.take`, for example, refuses int64.
    """
    return ids.astype(np.intp, copy=False)


def check_ids(ids: NumpyArray, rows: int) -> None:
    """Check the ids of `take_rows`, on the host.

    Raises:
        IndexError: an id is outside of [0, rows).
    """
    if ids.size and not (ids.min() >= 0 and ids.max() < rows):
        wrong = ids[(ids < 0) | (ids >= rows)].flat[0]
        raise IndexError(f"token id {wrong} is outside of the vocabulary [0, {rows})")


def check_key(shape: Shape, key: Any, to_numpy: Callable[[Any], NumpyArray]) -> None:
    """Check the integers of a key, and those in its arrays: for x[key] with x of this shape.

    Args:
        to_numpy: copies an array of the key to the host.

    Raises:
        IndexError: an index is out of range, or there are more indices than axes.
    """
    for part, axis in selections(shape, key):
        on_host = isinstance(part, np.generic) or not hasattr(part, "dtype")
        indices = np.asarray(part) if on_host else to_numpy(part)
        _check_axis(indices, shape[axis], axis)


def selections(shape: Shape, key: Any) -> Iterator[tuple[Any, int]]:
    """Each integer and array of integers of a key, with the axis that it selects from."""
    parts = key if isinstance(key, tuple) else (key,)
    axes = [_axes(part) for part in parts]
    if sum(axes) > len(shape):
        raise IndexError(f"too many indices: {sum(axes)} for an array with {len(shape)} axes")
    axis = 0
    for i, (part, count) in enumerate(zip(parts, axes, strict=True)):
        if part is ...:
            axis = len(shape) - sum(axes[i:])
        elif count and not isinstance(part, slice) and not _is_mask(part):
            yield part, axis
        axis += count


def _check_axis(indices: NumpyArray, size: int, axis: int) -> None:
    if indices.size and not (indices.min() >= -size and indices.max() < size):
        wrong = indices[(indices < -size) | (indices >= size)].flat[0]
        raise IndexError(f"index {wrong} is out of bounds for axis {axis} with size {size}")


def _axes(part: Any) -> int:
    """The number of axes that a part of a key selects from."""
    if part is None or part is ... or isinstance(part, bool | np.bool_):
        return 0
    return int(part.ndim) if _is_mask(part) else 1


def _is_mask(part: Any) -> bool:
    return hasattr(part, "dtype") and str(part.dtype).endswith("bool")
