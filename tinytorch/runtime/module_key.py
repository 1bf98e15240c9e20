"""A key that changes whenever a module is changed between two training steps."""

from collections.abc import Hashable
from typing import Any

from ..nn.module import Module, Parameter
from ..tensor import Tensor

_Plain = int | float | complex | str | bytes | None


class Same:
    """Compares equal to another `Same` of the same object; keeps the object alive."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def module_key(*roots: Any) -> Hashable:
    """All attributes of the modules in `roots`, as a value that can be compared with a later one.

    Numbers and strings, also within lists, tuples and dicts, are compared by value, and tensors by
    array and number of in-place writes. Everything else is compared by identity: writing to a NumPy
    array or to another object does not change the key. Parameters are left out, and so are private
    attributes (with a leading underscore) other than numbers, strings and buffers: they are caches.

    Args:
        roots: modules; other objects, such as a loss function, are compared by identity.
    """
    key: list[Any] = []
    for root in roots:
        if not isinstance(root, Module):
            key.append(Same(root))
            continue
        for _, module in root.named_modules():
            attributes = vars(module)
            buffers = attributes.get("_buffers", ())
            key.append(Same(module))
            for name, value in attributes.items():
                private = name[:1] == "_" and name not in buffers
                key.append((name, _frozen(value, private)))
    return tuple(key)


def _frozen(value: Any, private: bool) -> Hashable:
    if isinstance(value, _Plain):
        return value
    if isinstance(value, list | tuple):
        return tuple([_frozen(item, private) for item in value])
    if isinstance(value, dict):
        return tuple([(name, _frozen(item, private)) for name, item in value.items()])
    if private or isinstance(value, Parameter):
        return None
    if isinstance(value, Tensor):
        return Same(value._array), value._version.count
    return Same(value)
