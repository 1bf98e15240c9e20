"""Trace which code ran: for each op, whether a kernel or its reference, how often and how long.

``TT_DEBUG=1`` prints the table for a whole program to stderr when it ends; `Trace` collects one for
part of it. Times are measured on the host: on a GPU, they are the time to launch the work. Work in
other processes or in a replayed CUDA graph is not counted.
"""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Self

from .base import Kernel

Key = tuple[str, str, str]  # op, composite or fast path; backend; what ran

active: list["Trace"] = []  # the open traces; while there are none, tracing costs nothing
_lock = threading.Lock()


@dataclass
class Timing:
    """Number of calls, and their total time in seconds."""

    calls: int = 0
    forward: float = 0.0
    gradient: float = 0.0


class Trace:
    """Counts and times everything that runs while it is open, in all threads.

    Gradients are counted with the forward call that they belong to, if the trace is open for both.

    Attributes:
        rows: (op, backend, what ran) -> `Timing`. What ran is "kernel", "reference", "fused",
            "captured" and "replayed" for CUDA graphs, or "fallback: " and the reason.

    >>> from tinytorch import Tensor, gelu
    >>> from tinytorch.backends import Trace
    >>> with Trace() as trace:
    ...     y = gelu(Tensor([1.0, 2.0])) * 3.0
    >>> trace.ran("gelu"), trace.ran("multiply")
    ({'kernel': 1}, {'reference': 1})
    """

    def __init__(self) -> None:
        self.rows: dict[Key, Timing] = {}

    def __enter__(self) -> Self:
        active.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        active.remove(self)

    def ran(self, what: str) -> dict[str, int]:
        """What ran for an op, a composite or a fast path -> number of calls."""
        found: dict[str, int] = {}
        for (name, _, ran), row in self.rows.items():
            if name == what:
                found[ran] = found.get(ran, 0) + row.calls
        return found

    def __str__(self) -> str:
        """The table, sorted by time, longest first."""
        if not self.rows:
            return "no op has run"
        rows = sorted(self.rows.items(), key=lambda item: -(item[1].forward + item[1].gradient))
        head = ("calls", "forward ms", "gradient ms", "op", "backend", "ran")
        table = [head] + [
            (str(row.calls), _milliseconds(row.forward), _milliseconds(row.gradient), *key)
            for key, row in rows
        ]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = (
            "  ".join(
                cell.rjust(width) if place < 3 else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in table
        )
        return "\n".join(line.rstrip() for line in lines)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}" if seconds else "-"


def count(what: str, backend: str, ran: str, seconds: float = 0.0) -> None:
    """Count one call in all open traces."""
    _add((what, backend, ran), calls=1, forward=seconds)


def fallback(what: str, why: str, backend: str = "") -> None:
    """Record in all open traces that a fast path was not taken, and why."""
    count(what, backend, f"fallback: {why}")


def timed(function: Callable[..., Any], what: str, backend: str, ran: str) -> Callable[..., Any]:
    """Wrap `function` so that its calls are counted and timed while a trace is open."""

    def call(*arguments: Any, **settings: Any) -> Any:
        if not active:
            return function(*arguments, **settings)
        begin = perf_counter()
        result = function(*arguments, **settings)
        count(what, backend, ran, perf_counter() - begin)
        return result

    return call


def timed_kernel(kernel: Kernel, what: str, backend: str, ran: str) -> Kernel:
    """Wrap `kernel` so that its calls and gradients are counted and timed.

    A call that returns NotImplemented, as a composite's kernel may, is counted as a fallback.
    """

    def forward(*arguments: Any, **settings: Any) -> Any:
        begin = perf_counter()
        result = kernel.forward(*arguments, **settings)
        if result is NotImplemented:
            fallback(what, "its kernel returned NotImplemented", backend)
        else:
            count(what, backend, ran, perf_counter() - begin)
        return result

    def timed_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            begin = perf_counter()
            result = function(*arguments)
            _add((what, backend, ran), gradient=perf_counter() - begin)
            return result

        return call

    def timed_entry(entry: Any) -> Any:
        """One entry of a gradient: an array, None, or a function that computes it on demand."""
        if not callable(entry):
            return entry
        if hasattr(entry, "function"):  # keep an entry that is marked as `Concurrent` marked
            entry.function = timed_gradient(entry.function)
            return entry
        return timed_gradient(entry)

    def gradient(*arguments: Any) -> Any:
        assert kernel.gradient is not None
        entries = timed_gradient(kernel.gradient)(*arguments)
        return tuple(map(timed_entry, entries)) if type(entries) is tuple else timed_entry(entries)

    return kernel._replace(forward=forward, gradient=kernel.gradient and gradient)


def _add(key: Key, calls: int = 0, forward: float = 0.0, gradient: float = 0.0) -> None:
    with _lock:
        for trace in set(active):  # one that is open twice counts once
            row = trace.rows.setdefault(key, Timing())
            row.calls += calls
            row.forward += forward
            row.gradient += gradient


def debugging() -> bool:
    """Whether the environment variable TT_DEBUG is set, to anything but 0, false, no or off."""
    value = os.environ.get("TT_DEBUG", "").strip().lower()
    return value not in ("", "0", "false", "no", "off")


def _print_at_exit() -> None:
    trace = Trace().__enter__()
    title = "TT_DEBUG: which code ran in this process"
    atexit.register(lambda: print(f"{title}\n{trace}", file=sys.stderr))


if debugging():
    _print_at_exit()
