"""The tests that coverage traces, and when it does."""

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tracing


def item(name: str, backend: str | None = None, slow: bool = False, folder: str = "ops") -> Any:
    callspec = {"callspec": SimpleNamespace(params={"backend": backend})} if backend else {}
    return SimpleNamespace(
        nodeid=name, path=Path(folder, "test_x.py"), stash=pytest.Stash(),
        get_closest_marker=lambda _: "slow" if slow else None, **callspec,
    )  # fmt: skip


def test_repetitions_and_slow_tests_are_not_traced() -> None:
    items = [
        item("f[numpy]", "numpy"), item("f[strict]", "strict"), item("f[cupy]", "cupy"), item("g"),
        item("h", slow=True), item("t[1]", slow=True, folder="tito"),
        item("t[2]", slow=True, folder="tito"), item("u[1]", folder="tito"),
        item("u[2]", folder="tito"),
    ]  # fmt: skip
    tracing.choose(items)
    untraced = [i.nodeid for i in items if i.stash[tracing.UNTRACED]]
    assert untraced == ["f[strict]", "h", "t[2]"]


def test_tests_and_their_fixtures_are_traced_but_not_what_is_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also in threads that a test starts; and coverage finds its trace functions as they were."""
    with monkeypatch.context() as patch:  # coverage's own are used again before the test returns
        now = dict.fromkeys(("current", "threads"))
        for module, name in ((sys, "current"), (threading, "threads")):
            patch.setattr(module, "gettrace", lambda name=name: now[name])
            patch.setattr(module, "settrace", lambda f, name=name: now.update({name: f}))
        check_tracing(now)


def check_tracing(now: dict[str, Any]) -> None:
    """Run the hooks as pytest does; `now` has the trace functions of the thread and of others."""
    plugin, nothing, coverage = tracing.Tracing(), dict(now), {"current": "c", "threads": "t"}
    now.update(coverage)
    loop = plugin.pytest_runtestloop()
    next(loop)
    for untraced, expected in ((False, coverage), (True, nothing)):
        chosen = item("f")
        chosen.stash[tracing.UNTRACED] = untraced
        next(plugin.pytest_runtest_protocol(chosen))
        for hook in (
            plugin.pytest_fixture_setup, plugin.pytest_pyfunc_call, plugin.pytest_runtest_teardown
        ):  # fmt: skip
            assert now == nothing
            window = hook()
            next(window)
            assert now == expected
            with pytest.raises(StopIteration):
                next(window)
    assert now == nothing
    with pytest.raises(StopIteration):
        next(loop)
    assert now == coverage
