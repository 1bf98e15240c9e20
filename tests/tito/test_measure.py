"""Timing."""

from collections.abc import Iterator

import pytest

from tinytorch.tito.measure import seconds


def test_returns_the_minimum_of_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def clock() -> Iterator[float]:
        yield from (0.0, 3.0, 10.0, 12.0, 20.0, 25.0)

    ticks, calls = clock(), []
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    assert seconds(lambda: calls.append(1), rounds=3) == 2.0
    assert len(calls) == 3
