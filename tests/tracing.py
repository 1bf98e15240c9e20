"""Coverage traces only what adds to its figure: on Python 3.11 all that runs meanwhile takes twice
as long, pytest's own code too.

What is not traced cannot raise the figure, so that it stays a lower bound.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tinytorch import backends

UNTRACED = pytest.StashKey[bool]()


def choose(items: list[pytest.Item]) -> None:
    """Note which tests are not traced: they run hardly a line of the package that others do not.

    - Slow tests. Only they run some modules of tito: there the first test of a function is traced.
    - Of a test on several backends, the one on the strict backend: it runs what the other ones run,
      but for the references of ops that have a kernel in each of these.
    """
    seen = set()
    for item in items:
        function = item.nodeid.split("[")[0]
        is_first, is_slow = function not in seen, item.get_closest_marker("slow") is not None
        seen.add(function)
        repeats = is_slow and not (is_first and item.path.parent.name == "tito")
        callspec = getattr(item, "callspec", None)
        is_strict = callspec is not None and callspec.params.get("backend") == "strict"
        item.stash[UNTRACED] = repeats or is_strict


class Tracing:
    """Plugin for pytest: trace the fixtures and the calls of the tests that `choose` leaves."""

    def __init__(self) -> None:
        self._tracers: tuple[Any, Any] = (None, None)
        self._traces = False  # whether coverage would trace the current test

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Iterator[None]:
        backends.status("strict")  # its module, traced: only tests that are not would import it
        self._tracers = sys.gettrace(), threading.gettrace()
        with _tracing_by(None, None):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._traces = not item.stash.get(UNTRACED, False)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self) -> Iterator[None]:
        with self._traced():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self) -> Iterator[None]:
        with self._traced():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        with self._traced():
            return (yield)

    def _traced(self) -> contextlib.AbstractContextManager[None]:
        return _tracing_by(*(self._tracers if self._traces else (None, None)))


@contextlib.contextmanager
def _tracing_by(tracer: Any, of_threads: Any) -> Iterator[None]:
    """A context with these trace functions of the current thread and of new threads."""
    before = sys.gettrace(), threading.gettrace()
    sys.settrace(tracer)
    threading.settrace(of_threads)
    try:
        yield
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])
