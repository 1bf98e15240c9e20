"""Ctrl-C handling, so that an interrupted run saves what it has learned."""

import signal
from types import FrameType
from typing import Any, Self


class Interrupt:
    """Context manager in which Ctrl-C requests a stop after the current step.

    A second Ctrl-C raises KeyboardInterrupt at once.

    Attributes:
        requested: whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Self:
        self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exception: Any) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, self._previous)
