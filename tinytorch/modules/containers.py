"""Modules that hold other modules in order: ModuleList and Sequential."""

from collections.abc import Iterable, Iterator
from typing import Any, Self

from ..tensor import Tensor
from .module import Module


class ModuleList(Module):
    """A list of modules that is a module itself, such as the blocks of a transformer.

    >>> from tinytorch import Linear, ModuleList, ReLU
    >>> layers = ModuleList([Linear(2, 2)])
    >>> layers += [ReLU(), Linear(2, 1)]
    >>> del layers[1]
    >>> [name for name, _ in layers.named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def append(self, module: Module) -> Self:
        """Append a module."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> Self:
        """Append several modules."""
        new = list(modules)
        for module in new:
            _check_module(self, module)
        index = len(self)
        for module in new:
            while str(index) in vars(self):  # in a Sequential whose modules have names
                index += 1
            setattr(self, str(index), module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Insert a module before the one at `index`; the modules are then named 0, 1, ..."""
        modules = list(self)
        modules.insert(index, module)
        self._replace(modules)

    def _items(self) -> dict[str, Module]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Module)}

    def _replace(self, modules: list[Module]) -> None:
        for module in modules:
            _check_module(self, module)
        for name in self._items():
            delattr(self, name)
        self.extend(modules)

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items().values())

    def __getitem__(self, index: Any) -> Any:
        found = list(self)[index]
        return ModuleList(found) if isinstance(index, slice) else found

    def __setitem__(self, index: int, module: Module) -> None:
        _check_module(self, module)
        setattr(self, list(self._items())[index], module)

    def __delitem__(self, index: Any) -> None:
        modules = list(self)
        del modules[index]
        self._replace(modules)

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, modules: Iterable[Module]) -> "ModuleList":
        return ModuleList([*self, *modules])


class Sequential(ModuleList):
    """Chain of modules: the output of each is the input of the next.

    Args:
        modules: the modules in order, or one dict of modules by name.

    >>> from tinytorch import Linear, ReLU, Sequential, zeros
    >>> Sequential(Linear(784, 128), ReLU(), Linear(128, 10))(zeros(32, 784)).shape
    (32, 10)
    """

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], dict):
            for name, module in modules[0].items():
                _check_module(self, module)
                setattr(self, name, module)
        else:
            super().__init__(modules)

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return Sequential(*found) if isinstance(index, slice) else found

    def forward(self, x: Tensor) -> Tensor:
        for module in self:
            x = module(x)
        return x


def _check_module(container: Module, value: Any) -> None:
    if isinstance(value, Module):
        return
    what = getattr(value, "__name__", type(value).__name__)
    fix = ""
    if isinstance(value, type) and issubclass(value, Module):
        what, fix = f"the class {what}", f"; create an instance: {what}(...)"
    elif isinstance(value, list | tuple):
        fix = f"; pass the modules as arguments: {type(container).__name__}(*modules)"
    raise TypeError(f"{type(container).__name__}: {what} is not a Module{fix}")
