"""Timing, for the lessons that measure speed."""

import time
from collections.abc import Callable
from typing import Any


def seconds(work: Callable[[], Any], rounds: int = 5) -> float:
    """Return the time of a call in seconds: the minimum of several rounds.

    Other work on the machine can only make a round slower, so the minimum is the best estimate.

    >>> from tinytorch.tito.measure import seconds
    >>> seconds(lambda: sum(range(1000))) > 0
    True
    """
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
