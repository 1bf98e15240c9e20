"""Handling of Ctrl-C, SIGTERM and SIGHUP, so that a stopped run saves what it has learned."""

import signal
import threading
from types import FrameType
from typing import Any, Self

# Ctrl-C; `kill`, a shutdown or a time limit; a closed terminal (not on Windows).
SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


class Stop(KeyboardInterrupt):
    """The program is to stop at once.

    Attributes:
        number: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    def __reduce__(self) -> tuple[type["Stop"], tuple[int]]:
        return Stop, (self.number,)


class Interrupt:
    """Context manager in which a signal requests a stop after the current step.

    The signals are Ctrl-C (SIGINT), SIGTERM and SIGHUP, except those that were ignored before, as
    `nohup` ignores SIGHUP. A second signal raises `Stop` at once, but a second SIGHUP does not: a
    terminal that is closed often sends two.

    Attributes:
        requested: number of the signal that requests a stop, or 0.
        deferred: whether the first signal only sets `requested`; if False, it raises `Stop`.
    """

    def __init__(self) -> None:
        self.requested = 0
        self.deferred = True
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread receives signals
        for number in SIGNALS:
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == getattr(signal, "SIGHUP", None):
            return
        if self.requested or not self.deferred:
            raise Stop(number)
        self.requested = number
