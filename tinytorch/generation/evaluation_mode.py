"""Evaluation mode for the time of one call, also if several threads generate from one model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
        self._modules: list[Any] = []
        self._version = -1
        self._training: list[Any] = []

    @contextmanager
    def entered(self, model: Any) -> Iterator[None]:
        """A context in which the modules of `model` are in evaluation mode."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._training = [m for m in self._find(model) if m.training]
                _set(self._training, False)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    _set(self._training, True)

    def forget_modules(self) -> None:
        """Find the modules anew: lists and dicts may have changed."""
        self._version = -1

    def _find(self, model: Any) -> list[Any]:
        if self._version != Module.version:
            modules = model.modules() if hasattr(model, "modules") else [model]
            self._version, self._modules = Module.version, [*modules]
        return self._modules


def _set(modules: list[Any], training: bool) -> None:
    for module in modules:
        if isinstance(module, Module):
            vars(module)["training"] = training  # much faster than Module.__setattr__
        else:
            module.train(training)
