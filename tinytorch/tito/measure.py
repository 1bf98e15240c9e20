"""How long something takes, for the parts of the lessons that measure."""

import time
from collections.abc import Callable
from typing import Any


def seconds(work: Callable[[], Any], rounds: int = 5) -> float:
    """The quickest of some rounds, in seconds: what disturbs only makes it slower.

    >>> seconds(lambda: sum(range(1000)))
    """
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
