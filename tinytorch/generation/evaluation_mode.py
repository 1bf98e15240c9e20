"""Evaluation mode for the time of one call, also if several threads generate from one model."""

import threading
from typing import Any
from weakref import WeakKeyDictionary

from ..nn.module import Module
from .decode_step import unfused

_modes: "WeakKeyDictionary[Any, _EvaluationMode]" = WeakKeyDictionary()
_lock = threading.Lock()


class evaluation_mode:  # noqa: N801  used as a function; a class is entered in half the time
    """A context in which dropout is off in all modules of a model.

    Afterwards each module has its own mode again. The same as `Module.evaluating`, but for one call
    per token, and for several threads that generate from one model: the first that enters turns
    dropout off, the last one that leaves restores the modes.

    Args:
        model: a module, or an object with its `modules()`.
    """

    __slots__ = ("_mode", "_model")

    def __init__(self, model: Any) -> None:
        self._model, self._mode = model, _mode(model)

    def __enter__(self) -> None:
        self._mode.enter(self._model)

    def __exit__(self, *exception: object) -> None:
        self._mode.leave()


def forget_modules(model: Any) -> None:
    """Make `evaluation_mode` find the modules again: a list or dict of them may have changed."""
    _mode(model).version = -1


def _mode(model: Any) -> "_EvaluationMode":
    root = unfused(model)
    if not isinstance(root, Module):
        root = next(iter(root.modules()))
    mode = _modes.get(root)
    if mode is None:
        with _lock:
            mode = _modes.setdefault(root, _EvaluationMode())
    return mode


class _EvaluationMode:
    """The modules of one model, and the threads that use it in evaluation mode."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._modules: list[dict[str, Any]] = []  # the attributes of each module
        self.version = -1  # of `Module.version` when the modules were found
        self._training: list[dict[str, Any]] = []

    def enter(self, model: Any) -> None:
        """Turn evaluation mode on in all modules of `model`, until as many calls of `leave`."""
        with self._lock:
            if self._users == 0:
                self._find(model)
                self._training = [m for m in self._modules if m.get("training", True)]
                for attributes in self._training:  # much faster than Module.__setattr__
                    attributes["training"] = False
            self._users += 1

    def leave(self) -> None:
        """Restore the modes if no other thread is within."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for attributes in self._training:
                    attributes["training"] = True

    def _find(self, model: Any) -> None:
        if self.version != Module.version:
            self.version, self._modules = Module.version, [vars(m) for m in model.modules()]
