"""The modules, parameters or buffers of a module as a dict by name: ``module._modules``."""

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .module import Module


class View(MutableMapping[str, Any]):
    """The attributes of one kind; items may be assigned and deleted, as PyTorch's scripts do.

    Modules and parameters in lists are not included.

    >>> from tinytorch import Linear
    >>> list(Linear(2, 1)._parameters)
    ['weight', 'bias']
    """

    def __init__(self, module: "Module", kind: str) -> None:
        self._module, self._kind = module, kind

    def _items(self) -> dict[str, Any]:
        tensors, modules, _ = self._module._contents()
        buffers = self._module.__dict__.get("_persistent", {})
        found: dict[str, Any]
        if self._kind == "modules":
            found = dict(modules)
        elif self._kind == "buffers":
            found = {name: self._module.__dict__.get(name) for name in buffers}
        else:
            found = {name: value for name, value in tensors if name not in buffers}
        return {name: value for name, value in found.items() if "." not in name}

    def __getitem__(self, name: str) -> Any:
        return self._items()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if self._kind == "modules":
            self._module.add_module(name, value)
        elif self._kind == "parameters":
            self._module.register_parameter(name, value)
        else:
            self._module.register_buffer(name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self._items():
            raise KeyError(name)
        delattr(self._module, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items())

    def __len__(self) -> int:
        return len(self._items())

    def __repr__(self) -> str:
        return repr(self._items())
