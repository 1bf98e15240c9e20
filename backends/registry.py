"""Which backends there are, which one is the default, and to which one an array belongs."""

import functools
import importlib
import os
from collections.abc import Callable
from importlib import metadata

from .base import Array, Backend, BackendError

# Name -> where its class stands. A backend's library is imported when it is first asked for.
_BUILT_IN = {
    "numpy": "numpy.backend:NumpyBackend",
    "cupy": "cupy.backend:CupyBackend",
    "strict": "strict:StrictBackend",
    "reference": "reference:ReferenceBackend",
}
_registered: dict[str, Callable[[], Backend]] = {}
_loaded: dict[str, Backend] = {}


def register(name: str, factory: Callable[[], Backend]) -> None:
    """Add a backend; `factory` is called once, when `name` is first used.

    A package can do the same without being imported, by an entry point in the group
    ``tinytorch.backends``: ``mine = "my_package.backend:MyBackend"``.

    Raises:
        BackendError: the name is taken.
    """
    if name in names():
        raise BackendError(f"there is a backend {name!r} already")
    _registered[name] = factory


def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group="tinytorch.backends")}


def names() -> list[str]:
    """All backends by name: the built-in ones, the registered ones, those of other packages."""
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
        found: Callable[[], Backend] = points[name].load()
        return found
    raise BackendError(f"unknown backend {name!r}; there are {', '.join(names())}")


def get(name: str | Backend | None = None) -> Backend:
    """The backend of that name, loaded at its first use; None means the default.

    Raises:
        BackendError: unknown, or not usable on this machine, with the cause and the fix.
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
    """The backend that the environment variable TT_BACKEND names, read once; else numpy."""
    return get(os.environ.get("TT_BACKEND") or "numpy")


def of(array: Array) -> Backend:
    """The backend that arrays of this type belong to.

    Where several have the same type, as numpy and reference do, it is the default backend if it
    is one of them, else the one that was loaded first.

    Raises:
        BackendError: neither the default backend nor a loaded one has arrays of this type.
    """
    for backend in (default(), *_loaded.values()):
        if backend.array_type is type(array):
            return backend
    loaded = ", ".join(_loaded)
    raise BackendError(f"{type(array).__name__} is not an array of a loaded backend ({loaded})")


def status(name: str) -> str | None:
    """None if the backend is usable here, else the sentence that says why it is not."""
    try:
        get(name)
    except BackendError as error:
        return str(error)
    return None
