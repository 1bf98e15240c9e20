"""Updates that wait for each other, so that a backend can do those of all parameters together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .base import Array

Update = Callable[..., None]
# (update, its settings) -> the arrays of each parameter; None outside of `together`.
_waiting: dict[tuple[Update, tuple[Any, ...]], list[tuple[Array, ...]]] | None = None


@contextmanager
def together() -> Iterator[None]:
    """Within it updates wait; at its end they are done."""
    global _waiting
    _waiting = {}
    try:
        yield
        for (update, settings), arrays in _waiting.items():
            update(arrays, *settings)
    finally:
        _waiting = None


def ask(update: Update, arrays: tuple[Array, ...], *settings: Any) -> None:
    """Call ``update([arrays], *settings)``, or wait and call it with all arrays of its kind."""
    if _waiting is None:
        update([arrays], *settings)
    else:
        _waiting.setdefault((update, settings), []).append(arrays)
