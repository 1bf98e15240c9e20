"""The state of an optimizer: check a `state_dict` before anything of it is used."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arguments import check_like, check_type, shown
from ..backends.base import NumpyArray


class OptimizerState(NamedTuple):
    """A `state_dict` of an optimizer that has been checked.

    Attributes:
        steps: number of steps taken.
        missed: see `Optimizer`.
        groups: settings of each group.
        arrays: index of a parameter -> its state by name.
    """

    steps: int
    missed: dict[int, int]
    groups: list[dict[str, Any]]
    arrays: dict[int, dict[str, NumpyArray]]


def read_state(
    state: Any,
    groups: Sequence[Mapping[str, Any]],
    shapes: Sequence[tuple[int, ...]],
    names: Sequence[str],
) -> OptimizerState:
    """Convert and check a `state_dict`.

    Args:
        state: the value to check.
        groups: the present settings of each group; those of the state must be like these.
        shapes: the shape of each parameter.
        names: names of the arrays that are kept for a parameter.

    Raises:
        TypeError, ValueError: `state` is damaged or another optimizer's.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"expected a dict, got {type(state).__name__}")
    absent = [key for key in ("steps", "lr", "arrays") if key not in state]
    if absent:
        raise ValueError(f"{' and '.join(absent)} missing, which state_dict writes")
    count = len(shapes)
    missed = state.get("missed", {})
    check_type("missed", missed, Mapping, "a dict")
    steps = _count("steps", state["steps"])
    return OptimizerState(
        steps,
        {_index(key, count): _count(f"missed {key}", n, steps) for key, n in missed.items()},
        _read_groups(state, groups),
        _read_arrays(state["arrays"], shapes, names),
    )


def _read_groups(
    state: Mapping[str, Any], own_groups: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The settings of each group; only their rates if the state is an older one."""
    rates = state["lr"]
    check_type("lr", rates, list | tuple, "a list of numbers")
    saved = state.get("groups", [{} for _ in rates])
    check_type("groups", saved, list | tuple, "a list of dicts")
    for found in (len(rates), len(saved)):
        if found != len(own_groups):
            raise ValueError(f"it has {found} groups, not {len(own_groups)}")
    groups = []
    for own, group, rate in zip(own_groups, saved, rates, strict=True):
        check_type("groups", group, Mapping, "a list of dicts")
        differing = sorted(set(group) ^ set(own), key=str) if group else []
        if differing:
            raise ValueError(f"it is another optimizer's: the settings differ in {differing}")
        settings = {**group, "lr": rate}
        groups.append({key: check_like(key, value, own[key]) for key, value in settings.items()})
    return groups


def _read_arrays(
    arrays: Any, shapes: Sequence[tuple[int, ...]], names: Sequence[str]
) -> dict[int, dict[str, NumpyArray]]:
    """The state of each parameter by name."""
    check_type("arrays", arrays, Mapping, "a dict")
    read: dict[int, dict[str, NumpyArray]] = {}
    for key, value in arrays.items():
        place, _, name = str(key).partition(".")
        index, array = _index(place, len(shapes), key), np.asarray(value)
        if shapes[index] != array.shape or array.dtype.kind not in "fiub":
            raise ValueError(
                f"{key} of shape {array.shape} and dtype {array.dtype} fits no parameter: number"
                f" {index} has shape {shapes[index]}"
            )
        read.setdefault(index, {})[name] = array
    for index, state in read.items():
        if set(state) != set(names):
            raise ValueError(
                f"it is another optimizer's: it has {sorted(state)} for parameter {index} instead"
                f" of {[*names]}"
            )
    return read


def _count(name: str, value: Any, most: int = 2**53) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{name} must be a count of steps, not {shown(value)}")
    return value


def _index(text: Any, count: int, key: Any = None) -> int:
    """The index of a parameter that a key names."""
    if isinstance(text, str) and text.isdecimal() and text.isascii() and len(text) < 10:
        index = int(text)
        if index < count:
            return index
    raise ValueError(f"{shown(key or text)} fits no parameter of the {count}")
