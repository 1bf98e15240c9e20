"""Clocks: of the host for steps, of the device for kernels."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from tinytorch import backends

from . import torch_side

Step = Callable[[], object]
QUEUED = 100  # calls of the filler that are queued at first


def wait() -> None:
    """Wait for the device."""
    backends.get("cupy").synchronize()
    if torch := torch_side.module():
        torch.cuda.synchronize()


def timed(step: Step, times: int) -> float:
    """Mean seconds of a call, including the work on the device."""
    wait()
    start = time.perf_counter()
    for _ in range(times):
        step()
    wait()
    return (time.perf_counter() - start) / times


def in_turn(sides: Mapping[str, Step], rounds: int, times: int) -> dict[str, float]:
    """Median seconds of a call of each side; the sides alternate after every `times` calls, so that
    changes of the GPU's clock affect all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, step in sides.items():
            seconds[name].append(timed(step, times))
    return {name: statistics.median(values) for name, values in seconds.items()}


def device_seconds(call: Step, times: int, filler: Step, max_queued: int) -> float:
    """Mean seconds of a call on the device, without the host's time for launching.

    The calls are queued behind enough calls of `filler`, at most `max_queued`, that the host has
    queued all of them before the first one starts.
    """
    import cupy

    queued = min(QUEUED, max_queued)
    while True:
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        wait()
        for _ in range(queued):
            filler()
        begin.record()
        for _ in range(times):
            call()
        end.record()
        host_was_late = begin.done  # the device may have been idle between calls
        end.synchronize()
        if not host_was_late or queued >= max_queued:
            return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3 / times
        queued *= 2


def array(*shape: int) -> Any:
    """Normally distributed float32 numbers on the device, repeated: the host draws 20 million a
    second."""
    import cupy
    import numpy as np

    numbers = np.random.default_rng(0).standard_normal(2**16 + 1, np.float32)
    return cupy.asarray(np.resize(numbers, shape))
