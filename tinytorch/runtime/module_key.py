"""A key that changes whenever a module is changed between two training steps."""

from collections.abc import Hashable
from typing import Any

from ..modules.module import Module, Parameter
from ..tensor import Tensor

_PLAIN = (int, float, complex, str, bytes, type(None))
_FAST = {int, bool, str, type(None)}  # most attributes; the fastest test comes first


class Same:
    """Compares equal to another `Same` of the same object; keeps the object alive."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def module_key(*roots: Any, plain: bool = False) -> Hashable:
    """All attributes of the modules in `roots`, as a value that can be compared with a later one.

    Numbers and strings, also within lists, tuples and dicts, are compared by value, and tensors by
    array and number of in-place writes. Everything else is compared by identity: writing to a
    parameter, a NumPy array or another object does not change the key. Private attributes (with a
    leading underscore) are left out unless they are buffers, or numbers and strings: they are
    caches.

    Args:
        roots: modules; other objects, such as a loss function, are compared by identity.
        plain: compare numbers and strings only, no tensors and no other objects.
    """
    key: list[Any] = []
    for root in roots:
        if not isinstance(root, Module):
            key.append(Same(root))
            continue
        for _, module in root.named_modules():
            attributes = vars(module)
            buffers = attributes.get("_persistent", ())
            key.append((Same(module), type(module), module.training))
            for name, value in attributes.items():
                if name == "training":  # an attribute of the class until it is set
                    continue
                private = name[:1] == "_" and name not in buffers
                if not (plain or private) or _is_plain(value):
                    key.append((name, _frozen(value)))
    return tuple(key)


def _is_plain(value: Any) -> bool:
    """Whether the value consists of numbers and strings only."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is not None and isinstance(value, _PLAIN)


def _frozen(value: Any) -> Hashable:
    if type(value) in _FAST:
        return value  # type: ignore[no-any-return]
    if isinstance(value, (Module, Parameter)):
        return Same(value)
    if isinstance(value, _PLAIN):
        return value if value == value else "NaN"  # which does not equal itself
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return tuple([(name, _frozen(item)) for name, item in value.items()])
    if isinstance(value, Tensor):
        return Same(value._array), value._version.count
    return Same(value)
