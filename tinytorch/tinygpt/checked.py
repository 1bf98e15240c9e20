"""Type and range checks for settings that come from a user or from a file."""

import math
from collections.abc import Sequence
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


def check_types(settings: Any) -> None:
    """Check that every field of a dataclass instance has its declared type.

    An int is accepted as a float; a bool is not accepted as a number; floats must be finite.

    Raises:
        ValueError: a field has another type.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value = getattr(settings, field.name)
        if not _matches(value, hints[field.name]):
            raise ValueError(f"{field.name} cannot be {value!r:.60}")


def _matches(value: Any, kind: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_matches(value, option) for option in get_args(kind))
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        return (
            isinstance(value, tuple)
            and len(value) == len(kinds)
            and all(map(_matches, value, kinds))
        )
    if kind is float:
        return is_finite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def is_finite(value: Any) -> bool:
    """Whether a value is an int or float, finite, and not a bool."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 if isinstance(value, int) else math.isfinite(value)


def check_range(settings: Any, low: float, high: float, names: Sequence[str]) -> None:
    """Check that the named fields, where they are not None, are in [low, high].

    Raises:
        ValueError: a field is outside of the range.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} must be from {low:g} to {high:g}, not {value!r:.40}")
