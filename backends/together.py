"""Updates that wait for each other, so that a backend can do those of all parameters together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .base import Array

Update = Callable[..., None]
# What is to be done: an update, its settings, and the arrays of each parameter.
Job = tuple[Update, tuple[Any, ...], list[tuple[Array, ...]]]
_waiting: dict[Any, Job] | None = None  # by update and settings; None outside of `together`


@contextmanager
def together() -> Iterator[None]:
    """Within it updates wait; at its end they are done."""
    global _waiting
    _waiting = {}
    try:
        yield
        for update, settings, arrays in _waiting.values():
            update(arrays, *settings)
    finally:
        _waiting = None


def ask(update: Update, arrays: tuple[Array, ...], *settings: Any) -> None:
    """Call ``update([arrays], *settings)``, or wait and call it with all arrays of its kind."""
    if _waiting is None:
        update([arrays], *settings)
    else:
        # Settings that are arrays, as live numbers are, are equal if they are the same.
        key = (update, *(s if s.__hash__ else id(s) for s in settings))
        _waiting.setdefault(key, (update, settings, []))[2].append(arrays)
