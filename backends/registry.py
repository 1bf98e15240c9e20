"""The registry of backends: look-up by name, the default, and the backend of an array."""

import functools
import importlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from .base import Array, Backend, BackendError
from .device import KINDS, KNOWN, device

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

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


def _entry_points() -> "dict[str, EntryPoint]":
    from importlib import metadata  # slow to import and rarely needed

    return {point.name: point for point in metadata.entry_points(group="tinytorch.backends")}


def names() -> list[str]:
    """Return the names of all backends: built-in, registered, and from entry points."""
    return list(dict.fromkeys([*_BUILT_IN, *_registered, *_entry_points()]))


def _factory(name: str) -> Callable[..., Backend]:
    if name in _BUILT_IN:
        module, attribute = _BUILT_IN[name].split(":")
        factory: Callable[..., Backend] = getattr(
            importlib.import_module(f".{module}", __package__), attribute
        )
        return factory
    if name in _registered:
        return _registered[name]
    points = _entry_points()
    if name in points:
        try:
            loaded: Callable[[], Backend] = points[name].load()
        except (ImportError, AttributeError) as error:
            raise BackendError(
                f"backend {name!r} of another package cannot be imported from"
                f" {points[name].value!r}: {error}"
            ) from error
        return loaded
    known = ", ".join(names())
    if name.partition(":")[0] == "gpu":
        known += '; "cpu" is numpy, "cuda" is cupy, on NVIDIA GPUs'
    raise BackendError(f"unknown backend {name!r}; available: {known}")


def get(name: str | int | Backend | device | None = None, own: Backend | None = None) -> Backend:
    """Return the backend of this name, loading it at its first use; None means the default.

    A device or its name is the backend whose arrays are there, the first among `own`, the default
    backend, and numpy for "cpu" or cupy for "cuda". An integer is the number of a GPU: a process
    uses one, see `cupy.devices`.

    Args:
        name: a backend, a device, or the name of one.
        own: the backend of the tensor that is to be copied.

    Raises:
        BackendError: the name is unknown, or the backend cannot be used on this machine.
        TypeError: `name` is none of these.
    """
    if isinstance(name, Backend):
        return name
    if name is None:
        return default()
    if not isinstance(name, str) or name.partition(":")[0] in KINDS:
        return _on(device(name), own)
    if name not in _loaded:
        _loaded[name] = _factory(name)()
    return _loaded[name]


def _on(place: device, own: Backend | None = None) -> Backend:
    """The backend whose arrays are on a device."""
    if place.backend is not None:
        return place.backend
    backend = own if own is not None and own.device_type == place.type else _first_on(place)
    return backend if place.index is None else backend.on_device(place.index)


def _first_on(place: device) -> Backend:
    """The backend for a device: the default one if its arrays are there."""
    chosen = os.environ.get("TT_BACKEND") or "numpy"
    if (place.type == "cpu" or chosen not in _BUILT_IN) and (
        _named_by_environment().device_type == place.type
    ):
        return _named_by_environment()
    if place.type == "cpu":
        return get("numpy")
    if place.type != "cuda":
        raise BackendError(
            f"no backend in use has arrays on {place.type!r}: a device is {KNOWN}; for others set"
            " TT_BACKEND to a backend of another package, as docs/adding-a-backend.md shows"
        )
    if "cupy" not in _loaded:  # on this GPU from the beginning: another may have no free memory
        _loaded["cupy"] = _factory("cupy")(place.index)
    return _loaded["cupy"]


@functools.cache
def _named_by_environment() -> Backend:
    return get(os.environ.get("TT_BACKEND") or "numpy")


def default() -> Backend:
    """The backend of new tensors.

    It is that of the device in whose context this is called (`device`), else the one named by the
    environment variable TT_BACKEND, which is read once, else numpy.
    """
    place = device.current.chosen
    return _named_by_environment() if place is None else _on(place)


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
