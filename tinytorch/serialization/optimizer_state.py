"""The state of an optimizer: check a `state_dict` before anything of it is used."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..nn.arguments import python_number
from ..tensor import Tensor

if TYPE_CHECKING:
    from ..optimizers import Optimizer


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
    arrays: dict[int, dict[str, Tensor]]


def read_state(optimizer: "Optimizer", state: Any) -> OptimizerState:
    """Convert and check a `state_dict`; the ValueError that it raises has the reason only."""
    if not isinstance(state, Mapping):
        raise ValueError(f"expected a dict, got {type(state).__name__}")
    absent = [key for key in ("steps", "lr", "arrays") if key not in state]
    if absent:
        raise ValueError(f"{' and '.join(absent)} missing, which state_dict writes")
    count = len(optimizer.parameters())
    missed = state.get("missed", {})
    if not isinstance(missed, Mapping):
        raise ValueError(f"missed must be a dict, not {missed!r:.60}")
    steps = _count("steps", state["steps"])
    return OptimizerState(
        steps,
        {_index(key, count): _count(f"missed {key}", n, steps) for key, n in missed.items()},
        _read_groups(optimizer, state),
        _read_arrays(optimizer, state["arrays"]),
    )


def _read_groups(optimizer: "Optimizer", state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of each group; only their rates if the state is an older one."""
    rates = state["lr"]
    if not isinstance(rates, list | tuple):
        raise ValueError(f"lr must be a list of numbers, not {rates!r:.60}")
    saved = state.get("groups", [{} for _ in rates])
    if not isinstance(saved, list | tuple) or not all(isinstance(g, Mapping) for g in saved):
        raise ValueError(f"groups must be a list of dicts, not {saved!r:.60}")
    for found in (len(rates), len(saved)):
        if found != len(optimizer.groups):
            raise ValueError(f"it has {found} groups, not {len(optimizer.groups)}")
    groups = []
    for own, group, rate in zip(optimizer.groups, saved, rates, strict=True):
        differing = sorted(set(group) ^ saved_settings(own), key=str) if group else []
        if differing:
            raise ValueError(f"it is another optimizer's: the settings differ in {differing}")
        settings = {**group, "lr": rate}
        for key, value in settings.items():
            if isinstance(own[key], int | float) and not isinstance(value, int | float):
                raise ValueError(f"{key} must be a number, not {value!r:.60}")
        try:
            groups.append(optimizer.check_settings(settings))
        except TypeError as error:
            raise ValueError(str(error)) from None
    return groups


def saved_settings(group: dict[str, Any]) -> set[str]:
    """Names of the settings that JSON can represent; others, such as functions, are not saved."""
    plain = (int, float, str, bool, type(None))
    values = {name: python_number(value) for name, value in group.items() if name != "params"}
    return {
        name
        for name, value in values.items()
        if all(isinstance(v, plain) for v in (value if isinstance(value, tuple) else (value,)))
    }


def _read_arrays(optimizer: "Optimizer", arrays: Any) -> dict[int, dict[str, Tensor]]:
    """The state of each parameter, with the parameter's dtype and backend."""
    if not isinstance(arrays, Mapping):
        raise ValueError(f"arrays must be a dict, not {type(arrays).__name__}")
    parameters = optimizer.parameters()
    read: dict[int, dict[str, Tensor]] = {}
    for key, value in arrays.items():
        place, _, name = str(key).partition(".")
        index, array = _index(place, len(parameters), key), np.asarray(value)
        p = parameters[index]
        if p.shape != array.shape or array.dtype.kind not in "fiub":
            raise ValueError(
                f"{key} of shape {array.shape} and dtype {array.dtype} fits no parameter: number"
                f" {index} has shape {p.shape}"
            )
        read.setdefault(index, {})[name] = Tensor(array, dtype=p.dtype, backend=p.backend)
    for index, state in read.items():
        if set(state) != set(optimizer.state_names):
            raise ValueError(
                f"it is another optimizer's: it has {sorted(state)} for parameter {index} instead"
                f" of {[*optimizer.state_names]}"
            )
    return read


def _count(name: str, value: Any, most: int = 2**53) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{name} must be a count of steps, not {value!s:.60}")
    return value


def _index(text: Any, count: int, key: Any = None) -> int:
    """The index of a parameter that a key names."""
    if isinstance(text, str) and text.isdecimal() and text.isascii() and len(text) < 10:
        index = int(text)
        if index < count:
            return index
    raise ValueError(f"{key or text!r} fits no parameter of the {count}")
