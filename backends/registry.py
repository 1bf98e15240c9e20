"""The registry of backends: look-up by name, the default, and the backend of an array."""

import functools
import importlib
import os
from collections.abc import Callable
from importlib import metadata

from .base import Array, Backend, BackendError

# Name -> module:class, imported at the first use of the backend.
_BUILT_IN = {
    "numpy": "numpy.backend:NumpyBackend",
    "cupy": "cupy.backend:CupyBackend",
    "strict": "strict:StrictBackend",
    "reference": "reference:ReferenceBackend",
}
_registered: dict[str, Callable[[], Backend]] = {}
_loaded: dict[str, Backend] = {}


def register(name: str, factory: Callable[[], Backend]) -> None:
    """Register a backend; `factory` is called once, at the first use of `name`.

    A package that is not imported can register a backend with an entry point in the group
    ``tinytorch.backends``: ``mine = "my_package.backend:MyBackend"``.

    Raises:
        BackendError: the name is taken.
    """
    if name in names():
        raise BackendError(f"backend {name!r} is already registered")
    _registered[name] = factory


def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group="tinytorch.backends")}


def names() -> list[str]:
    """Return the names of all backends: built-in, registered, and from entry points."""
    return list(dict.fromkeys([*_BUILT_IN, *_registered, *_entry_points()]))


def _factory(name: str) -> Callable[[], Backend]:
    if name in _BUILT_IN:
        module, attribute = _BUILT_IN[name].split(":")
        factory: Callable[[], Backend] = getattr(
            importlib.import_module(f".{module}", __package__), attribute
        )
        return factory
    if name in _registered:
        return _registered[name]
    points = _entry_points()
    if name in points:
        loaded: Callable[[], Backend] = points[name].load()
        return loaded
    known = ", ".join(names())
    if name.partition(":")[0] in ("cpu", "cuda", "gpu"):
        known += '; "numpy" runs on the CPU and "cupy" on NVIDIA GPUs'
    raise BackendError(f"unknown backend {name!r}; available: {known}")


def get(name: str | Backend | None = None) -> Backend:
    """Return the backend of this name, loading it at its first use; None means the default.

    Raises:
        BackendError: the name is unknown, or the backend cannot be used on this machine.
    """
    if isinstance(name, Backend):
        return name
    if name is None:
        return default()
    if name not in _loaded:
        _loaded[name] = _factory(name)()
    return _loaded[name]


@functools.cache
def default() -> Backend:
    """Return the backend named by the environment variable TT_BACKEND, read once; else numpy."""
    return get(os.environ.get("TT_BACKEND") or "numpy")


def of(array: Array) -> Backend:
    """Return the backend that arrays of this type belong to.

    If several have the same type, as numpy and reference do, it is the default backend if that is
    one of them, else the one that was loaded first.

    Raises:
        BackendError: neither the default backend nor a loaded one has arrays of this type.
    """
    for backend in (default(), *_loaded.values()):
        if backend.array_type is type(array):
            return backend
    loaded = ", ".join(_loaded)
    raise BackendError(f"{type(array).__name__} is not an array of a loaded backend ({loaded})")


def status(name: str) -> str | None:
    """Return None if the backend can be used on this machine, else the reason why not."""
    try:
        get(name)
    except BackendError as error:
        return str(error)
    return None
