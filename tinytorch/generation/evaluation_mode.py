"""Evaluation mode for the time of one call, also if several threads generate from one model."""

import threading
from typing import Any
from weakref import WeakKeyDictionary

from ..nn.module import Module

_modes: "WeakKeyDictionary[Any, EvaluationMode]" = WeakKeyDictionary()
_lock = threading.Lock()


def evaluation_mode(model: Any) -> "EvaluationMode":
    """The `EvaluationMode` that all threads share for a model."""
    with _lock:
        mode = _modes.setdefault(model, EvaluationMode())
    mode.forget_modules()
    return mode


class EvaluationMode:
    """Turns dropout off in all modules of a model, and each module's own mode back on afterwards.

    The same as `Module.evaluating`, but it finds the modules again only after an assignment to one,
    which matters for a call per token, and it counts: the first thread that enters turns the modes
    off, the last one that leaves restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._modules: list[dict[str, Any]] = []  # the attributes of each module
        self._version = -1
        self._training: list[dict[str, Any]] = []

    def enter(self, model: Any) -> None:
        """Turn evaluation mode on in all modules of `model`, until as many calls of `leave`."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._find(model)
                self._training = [m for m in self._modules if m.get("training", True)]
                for attributes in self._training:  # much faster than Module.__setattr__
                    attributes["training"] = False

    def leave(self) -> None:
        """Restore the modes if no other thread is within."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for attributes in self._training:
                    attributes["training"] = True

    def forget_modules(self) -> None:
        """Find the modules anew: lists and dicts may have changed."""
        self._version = -1

    def _find(self, model: Any) -> None:
        if self._version != Module.version:
            self._version, self._modules = Module.version, [vars(m) for m in model.modules()]
