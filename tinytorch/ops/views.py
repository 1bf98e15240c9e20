"""Views on backends whose arrays are immutable, such as JAX's.

Elsewhere a view is an array that shares memory, and a write to it is seen by all. Immutable arrays
share nothing: a write makes a new array. There the tensors that PyTorch's users expect to share
memory are kept together in a `Memory`, and a write to one of them gives all of them new arrays.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from ..autograd import Variable, Version
from ..backends.base import Array, Namespace


class Step(NamedTuple):
    """One view of an array: an op's forward, its settings, and which of the results it is."""

    forward: Callable[..., Any]
    settings: dict[str, Any]
    output_nr: int

    def __call__(self, xp: Namespace, x: Array) -> Array:
        result = self.forward(xp, x, **self.settings)[0]
        view: Array = result[self.output_nr] if type(result) is tuple else result
        return view


class Memory:
    """The array that a tensor and its views would share if it could be written to.

    Attributes:
        root: the array of which all are views.
        tensors: id -> tensor, of those that are still in use.
    """

    def __init__(self, root: Variable) -> None:
        self.root = root._array
        self.tensors: WeakValueDictionary[int, Variable] = WeakValueDictionary()
        self.add(root, ())

    def add(self, tensor: Variable, path: tuple[Step, ...]) -> None:
        """Add a tensor whose array is what the steps of `path` make of the root."""
        tensor._path = path
        self.tensors[id(tensor)] = tensor

    def write(self, tensor: Variable, array: Array) -> None:
        """Set the array of a tensor, and with it those of all tensors of this memory.

        Raises:
            ValueError: the tensor is expanded, so that several elements are one in memory.
        """
        path = tensor._path
        if any(step.forward.__name__ == "broadcast_to" for step in path):
            raise ValueError("an expanded or read-only tensor cannot be written to; clone() it")
        xp = tensor._backend.xp
        self.root = _replaced(xp, self.root, path, array) if path else array
        for other in self.tensors.values():
            other._array = array if other._path == path else _follow(xp, self.root, other._path)


def _follow(xp: Namespace, root: Array, path: tuple[Step, ...]) -> Array:
    for step in path:
        root = step(xp, root)
    return root


def _replaced(xp: Namespace, root: Array, path: tuple[Step, ...], array: Array) -> Array:
    """The root with the elements of `array` in the place of the view at the end of `path`."""
    size = math.prod(root.shape)
    places = _follow(xp, xp.reshape(xp.arange(size), root.shape), path)
    flat = xp.reshape(xp.asarray(root, copy=True), (size,))
    values = xp.astype(xp.reshape(array, (-1,)), root.dtype)
    return xp.reshape(xp.index_set(flat, xp.reshape(places, (-1,)), values), root.shape)


def share(tensor: Variable, other: Variable, step: Step | None = None) -> None:
    """Make `tensor`, which has the array of `other` or a view of it, share its version and memory.

    Args:
        step: the view; None for the same elements in the same shape.
    """
    former = getattr(tensor, "_version", None)
    tensor._version = other._version
    if other._backend.mutable:
        return
    if former is not None and former.memory is not None:
        former.memory.tensors.pop(id(tensor), None)
    if tensor._version.memory is None:
        tensor._version.memory = Memory(other)
    path = other._path if step is None else (*other._path, step)
    tensor._version.memory.add(tensor, path)


def leave(tensor: Variable) -> None:
    """Let a tensor that gets an array of another dtype or backend share memory no longer."""
    tensor._version.count += 1
    if tensor._version.memory is not None:
        del tensor._version.memory.tensors[id(tensor)]
        tensor._version = Version()
