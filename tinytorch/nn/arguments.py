"""Conversion and checks of arguments: numbers, groups of parameters, batches."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..tensor import Tensor


def python_number(value: Any) -> Any:
    """NumPy scalars as Python numbers, which keep the dtype of the arrays that they meet."""
    if isinstance(value, tuple | list):
        return tuple(map(_python_scalar, value))
    return _python_scalar(value)


def _python_scalar(value: Any) -> Any:
    if isinstance(value, np.generic) or (isinstance(value, Tensor | np.ndarray) and not value.ndim):
        return value.item()
    return value


def check_number(name: str, value: Any) -> Any:
    """A number of any kind, 0 or more, as a Python number; a 0-d tensor is read on the host.

    Raises:
        TypeError: `value` is not a number.
        ValueError: it is negative or NaN.
    """
    value = python_number(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {describe(value)}")
    if not value >= 0:
        raise ValueError(f"{name} must be 0 or more, not {value}")
    if isinstance(value, int) and value > 2**53:
        raise ValueError(f"{name} is too large: it has {value.bit_length()} bits")
    return value


def check_integer(name: str, value: Any) -> int:
    """An integer of any kind as a Python integer; raises TypeError for anything else."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, not {value!r:.60}")
    return int(value)


def parameter_groups(name: str, params: Any) -> list[dict[str, Any]]:
    """Parameter groups, each with a list of parameters.

    Raises:
        TypeError: `params` is not an iterable of tensors or of groups.
    """
    given = [params] if isinstance(params, Mapping) else _list_of(name, params)
    grouped = [isinstance(item, Mapping) for item in given]
    if any(grouped) and not all(grouped):
        raise TypeError(f"{name} takes either parameters or groups (dicts), not both")
    groups = given if any(grouped) else [{"params": given}]
    for group in groups:
        if "params" not in group:
            raise ValueError(f'{name}: a group needs the key "params", got {sorted(group)}')
    one = (g["params"] for g in groups)
    lists = [[p] if isinstance(p, Tensor) else _list_of(name, p) for p in one]
    return [{**g, "params": own} for g, own in zip(groups, lists, strict=True)]


def _list_of(name: str, params: Any) -> list[Any]:
    if isinstance(params, Tensor):
        raise TypeError(f"{name} takes a list of parameters, not one Tensor: put it in a list")
    if isinstance(params, set | frozenset):
        raise TypeError(f"{name} needs parameters in order, not in a set: its state is by index")
    try:
        if isinstance(params, str):
            raise TypeError
        return list(params)
    except TypeError:
        raise TypeError(
            f"{name} takes a list of parameters, as of model.parameters(), not"
            f" {type(params).__name__}"
        ) from None


def checked_batches(batches: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over the batches and check each of them.

    Raises:
        TypeError: `batches` is not iterable, or one of them is not a pair of tensors.
    """
    try:
        return map(_checked_batch, batches)
    except TypeError:
        raise TypeError(
            f"expected a list of batches, [(x, y), ...], not {describe(batches)}"
        ) from None


def _checked_batch(batch: Any) -> tuple[Tensor, Tensor]:
    """The batch, if it is a pair of tensors.

    Raises:
        TypeError: it is not.
    """
    if isinstance(batch, Tensor):
        raise TypeError(
            "expected batches (x, y), got a tensor: put a single batch in a list, [(x, y)]"
        )
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(f"a batch must be a pair (x, y) of tensors, not {describe(batch)}")
    x, y = batch
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        raise TypeError(
            f"a batch must be a pair (x, y) of tensors, not ({describe(x)}, {describe(y)}):"
            " convert arrays and lists with Tensor(...)"
        )
    return x, y


def type_name(value: Any) -> str:
    """Name of the type of a value; with its module for tensors of other libraries."""
    name = type(value).__name__
    other = name == "Tensor" and not isinstance(value, Tensor)
    return f"{type(value).__module__}.{name}" if other else name


def describe(value: Any) -> str:
    """A value of an unexpected type, for an error message: itself if it is short, else its type."""
    name = type_name(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, Tensor | np.ndarray):
        return f"{name} of shape {value.shape}"
    if isinstance(value, tuple | list):
        return f"{name} of length {len(value)}"
    return f"{value!r:.60}" if isinstance(value, int | float | str | None) else name
