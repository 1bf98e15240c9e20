"""Ctrl-C, so that a run ends with all that it has learned."""

import signal
from types import FrameType
from typing import Any, Self


class Interrupt:
    """Ctrl-C asks for a stop after the step that is running; a second one stops at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *exception: Any) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)
