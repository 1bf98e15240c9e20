"""The state of an optimizer: its form in a file, and checks of a `state_dict` before it is used."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arguments import check_like, check_type, python_number, shown
from ..backends.base import NumpyArray
from ..tensor import Tensor

Settings = Mapping[str, Any]
Shapes = Sequence[tuple[int, ...]]

# Settings that a saved state may lack: older ones and those of other versions of PyTorch do.
OPTIONAL = frozenset(
    ("amsgrad", "capturable", "dampening", "decoupled_weight_decay", "differentiable", "foreach",
     "fused", "initial_lr", "maximize", "param_names")
)  # fmt: skip
# Names of the state arrays before they were those of PyTorch, by update rule.
OLD_NAMES = {"adam_update": ("m", "v"), "muon_update": ("m",), "sgd_update": ("v",)}


class OptimizerState(NamedTuple):
    """A `state_dict` of an optimizer that has been checked.

    Attributes:
        steps: number of steps taken.
        missed: see `Optimizer`.
        groups: settings of each group.
        values: index of a parameter -> its state by name: arrays and, for optimizers without an
            update rule, other values.
    """

    steps: int
    missed: dict[int, int]
    groups: list[dict[str, Any]]
    values: dict[int, dict[str, Any]]


def split_state(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, NumpyArray]]:
    """A `state_dict` as values that JSON can represent, and arrays by names such as "0.exp_avg".

    Settings that JSON cannot represent, such as functions, are left out.
    """
    plain: dict[str, dict[str, Any]] = {}
    arrays: dict[str, NumpyArray] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            number = _count_of(value) if name == "step" else value
            if isinstance(number, Tensor | np.ndarray):
                arrays[f"{index}.{name}"] = _host(value)
            elif _is_plain(number):
                plain.setdefault(str(index), {})[name] = number
    groups = [
        {name: python_number(value) for name, value in group.items() if _is_plain(value)}
        for group in state["param_groups"]
    ]
    return {"state": plain, "param_groups": groups}, arrays


def join_state(plain: Mapping[str, Any], arrays: Mapping[str, NumpyArray]) -> dict[str, Any]:
    """The state whose parts `split_state` returned; parts that older versions saved too."""
    if "param_groups" not in plain or not isinstance(plain.get("state"), Mapping):
        return {**plain, "arrays": arrays}
    values = {k: dict(v) if isinstance(v, Mapping) else v for k, v in plain["state"].items()}
    for key, array in arrays.items():
        index, _, name = key.partition(".")
        own = values.setdefault(index, {})
        if isinstance(own, dict):
            own[name] = array
    return {**plain, "state": values}


def read_state(
    state: Any,
    groups: Sequence[Settings],
    defaults: Collection[str],
    shapes: Sequence[Shapes],
    names_of: Callable[[Settings], Sequence[str]] | None,
    rule: str,
) -> OptimizerState:
    """Convert and check a `state_dict`, of this version, an older one, or PyTorch.

    Args:
        state: the value to check.
        groups: the present settings of each group; those of the state must be like these.
        defaults: the names of the settings that the optimizer has itself.
        shapes: the shapes of the parameters of each group.
        names_of: returns the names of the arrays that are kept for the parameters of a group with
            these settings; None allows any values.
        rule: name of the update rule.

    Raises:
        TypeError, ValueError: `state` is damaged or another optimizer's.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"expected a dict, got {type(state).__name__}")
    if "param_groups" in state:
        return _read(state, groups, defaults, shapes, names_of)
    old = ("steps", "lr", "arrays")
    absent = [key for key in old if key not in state]
    if absent:
        absent = absent if len(absent) < len(old) else ["param_groups"]
        raise ValueError(f"{' and '.join(absent)} missing, which state_dict writes")
    return _read_old(state, groups, defaults, shapes, names_of, OLD_NAMES.get(rule))


def _read(
    state: Mapping[str, Any],
    own_groups: Sequence[Settings],
    defaults: Collection[str],
    shapes: Sequence[Shapes],
    names_of: Callable[[Settings], Sequence[str]] | None,
) -> OptimizerState:
    """Read PyTorch's layout: {"state": {0: {...}}, "param_groups": [{"params": [0], ...}]}."""
    saved, values = state["param_groups"], state.get("state")
    check_type("param_groups", saved, list | tuple, "a list of dicts")
    check_type("state", values, Mapping, "a dict")
    groups = _read_groups(saved, own_groups, defaults)
    place: dict[str, int] = {}  # a parameter's number in the state -> its index here
    for number, (group, own) in enumerate(zip(saved, shapes, strict=True)):
        keys = group.get("params")
        check_type("params", keys, list | tuple, "a list of numbers")
        if len(keys) != len(own):
            raise ValueError(f"group {number} has {len(keys)} parameters, not {len(own)}")
        place.update({str(key): len(place) + i for i, key in enumerate(keys)})
    by_index: dict[int, dict[str, Any]] = {}
    counts = [0] * sum(map(len, shapes))
    for key, kept in dict(values).items():  # type: ignore[arg-type]
        if str(key) not in place or place[str(key)] >= len(counts):
            raise ValueError(f"{shown(key)} fits no parameter of the {len(counts)}")
        check_type(f"state {shown(key)}", kept, Mapping, "a dict")
        index = place[str(key)]
        own_state = {name: value for name, value in kept.items() if value is not None}
        if names_of is not None:
            # Without a count, as for SGD, there has been one update at least.
            counts[index] = _count("step", _count_of(kept.get("step", 1)))
            own_state.pop("step", None)
        by_index[index] = own_state
    steps = max(counts, default=0)
    missed = {i: steps - count for i, count in enumerate(counts) if count < steps}
    return OptimizerState(
        steps,
        missed if names_of is not None else {},
        groups,
        _read_values(by_index, own_groups, groups, shapes, names_of),
    )


def _read_old(
    state: Mapping[str, Any],
    own_groups: Sequence[Settings],
    defaults: Collection[str],
    shapes: Sequence[Shapes],
    names_of: Callable[[Settings], Sequence[str]] | None,
    old_names: Sequence[str] | None,
) -> OptimizerState:
    """Read the layout before PyTorch's: counts, settings, and arrays by names such as "0.m"."""
    count = sum(map(len, shapes))
    missed = state.get("missed", {})
    check_type("missed", missed, Mapping, "a dict")
    steps = _count("steps", state["steps"])
    rates = state["lr"]
    check_type("lr", rates, list | tuple, "a list of numbers")
    saved = state.get("groups", [{} for _ in rates])
    check_type("groups", saved, list | tuple, "a list of dicts")
    for found in (len(rates), len(saved)):
        if found != len(own_groups):
            raise ValueError(f"it has {found} groups, not {len(own_groups)}")
    for group in saved:
        check_type("groups", group, Mapping, "a list of dicts")
    renamed = [
        {"initial_lr" if key == "base_lr" else key: value for key, value in group.items()}
        or {"initial_lr": own.get("initial_lr", own.get("lr"))}
        for group, own in zip(saved, own_groups, strict=True)
    ]
    groups = _read_groups(
        [{**group, "lr": rate} for group, rate in zip(renamed, rates, strict=True)],
        own_groups,
        defaults,
        partial=not any(saved),
    )
    check_type("arrays", state["arrays"], Mapping, "a dict")
    values: dict[int, dict[str, Any]] = {}
    for key, value in state["arrays"].items():
        place, _, name = str(key).partition(".")
        values.setdefault(_index(place, count, key), {})[name] = value
    return OptimizerState(
        steps,
        {_index(key, count): _count(f"missed {key}", n, steps) for key, n in missed.items()},
        groups,
        _read_values(values, own_groups, groups, shapes, names_of, old_names),
    )


def _read_groups(
    saved: Sequence[Any],
    own_groups: Sequence[Settings],
    defaults: Collection[str],
    partial: bool = False,
) -> list[dict[str, Any]]:
    """The settings of each group. Those that this optimizer does not have are kept, as in PyTorch.

    Args:
        saved: the groups of the state.
        own_groups: the present settings.
        defaults: the names of those that the optimizer has itself.
        partial: allow any of them to be absent.
    """
    if len(saved) != len(own_groups):
        raise ValueError(f"it has {len(saved)} groups, not {len(own_groups)}")
    groups = []
    for own, group in zip(own_groups, saved, strict=True):
        check_type("param_groups", group, Mapping, "a list of dicts")
        needed = {name for name, value in own.items() if name in defaults and _is_plain(value)}
        absent = sorted(needed - OPTIONAL - set(group))
        if absent and not partial:
            raise ValueError(f"it is another optimizer's: it lacks the settings {absent}")
        # Adam and AdamW, which load each other's state, decouple the decay or do not.
        names = [name for name in group if name not in ("params", "decoupled_weight_decay")]
        like = {"initial_lr": own.get("lr"), **own}
        like = {name: value for name, value in like.items() if not isinstance(value, list)}
        groups.append(
            {
                name: check_like(str(name), group[name], like[name])
                if name in like
                else group[name]
                for name in names
            }
        )
    return groups


def _read_values(
    values: Mapping[int, Mapping[str, Any]],
    own_groups: Sequence[Settings],
    groups: Sequence[Settings],
    shapes: Sequence[Shapes],
    names_of: Callable[[Settings], Sequence[str]] | None,
    old_names: Sequence[str] | None = None,
) -> dict[int, dict[str, Any]]:
    """The state of each parameter by name, checked if the names are known."""
    if names_of is None:
        return {index: dict(own) for index, own in values.items()}
    expected = [
        (shape, tuple(names_of({**own, **group})))
        for own, group, each in zip(own_groups, groups, shapes, strict=True)
        for shape in each
    ]
    read: dict[int, dict[str, Any]] = {}
    for index, own in values.items():
        shape, names = expected[index]
        saved_names = names if old_names is None else tuple(old_names)[: len(names)]
        arrays = {name: _checked(f"{index}.{name}", value, shape) for name, value in own.items()}
        if set(arrays) != set(saved_names):
            raise ValueError(
                f"it is another optimizer's: it has {sorted(arrays)} for parameter {index} instead"
                f" of {[*saved_names]}"
            )
        read[index] = {new: arrays[old] for new, old in zip(names, saved_names, strict=True)}
    return read


def _checked(key: str, value: Any, shape: tuple[int, ...]) -> NumpyArray:
    """A state array of a parameter of this shape."""
    array = _host(value)
    if array.shape != shape or array.dtype.kind not in "fiub":
        raise ValueError(
            f"{key} of shape {array.shape} and dtype {array.dtype} fits no parameter: its shape is"
            f" {shape}"
        )
    return array


def _host(value: Any) -> NumpyArray:
    """A tensor or an array in host memory."""
    return np.asarray(value.numpy() if isinstance(value, Tensor) else value)


def _is_plain(value: Any) -> bool:
    """Whether JSON can represent a setting."""
    value = python_number(value)
    items = value if isinstance(value, tuple) else (value,)
    return all(isinstance(item, int | float | str | bool | None) for item in items)


def _count_of(value: Any) -> Any:
    """A whole number, also of a 0-d tensor or a float, as a Python integer."""
    number = python_number(value)
    return int(number) if isinstance(number, float) and number.is_integer() else number


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
