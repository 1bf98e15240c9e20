"""Modules that hold other modules or parameters: in order, or by name."""

from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, MutableMapping
from itertools import groupby
from typing import Any, Self

from ..tensor import Tensor
from .base import BaseModule, module_text
from .module import Module
from .parameter import Parameter


class ModuleList(Module):
    """A list of modules that is a module itself, such as the blocks of a transformer.

    >>> from tinytorch import Linear, ModuleList, ReLU
    >>> layers = ModuleList([Linear(2, 2)])
    >>> layers += [ReLU(), Linear(2, 1)]
    >>> del layers[1]
    >>> [name for name, _ in layers.named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        self.extend([] if modules is None else modules)

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

    def insert(self, index: int, module: Module) -> Self:
        """Insert a module before the one at `index`; the modules are then named 0, 1, ..."""
        modules = list(self)
        modules.insert(index, module)
        return self._replace(modules)

    def pop(self, index: Any = -1) -> Any:
        """Remove the module at `index` and return it; the others are then named 0, 1, ..."""
        found = self[index]
        del self[index]
        return found

    def _items(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if isinstance(value, BaseModule)}

    def _replace(self, modules: list[Module]) -> Self:
        for module in modules:
            _check_module(self, module)
        for name in self._items():
            delattr(self, name)
        return self.extend(modules)

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items().values())

    def __getitem__(self, index: Any) -> Any:
        modules = list(self)
        if isinstance(index, slice):
            return ModuleList(modules[index])
        try:
            return modules[index]
        except IndexError:
            raise IndexError(
                f"index {index} is out of range for a {type(self).__name__} of {len(modules)}"
            ) from None

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

    def __repr__(self) -> str:
        """Equal modules that follow each other are shown once, as in PyTorch."""
        lines = []
        start = 0
        for text, equal in groupby(map(repr, self)):
            count = len(list(equal))
            names = f"({start}): " if count == 1 else f"({start}-{start + count - 1}): {count} x "
            lines.append(names + text)
            start += count
        return module_text(type(self).__name__, "", lines)


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
                self.add_module(name, module)
        else:
            super().__init__(modules)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Sequential(dict(list(self._items().items())[index]))
        return super().__getitem__(index)

    def __add__(self, modules: Iterable[Module]) -> "Sequential":
        return Sequential(*self, *modules)

    def __mul__(self, times: int) -> "Sequential":
        return Sequential(*(list(self) * times))

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Self:
        return self.extend(list(self) * (times - 1))

    __repr__ = Module.__repr__

    def forward(self, x: Tensor) -> Tensor:
        for module in self:
            x = module(x)
        return x


class _Dict(Module, MutableMapping[str, Any]):
    """A module whose items are attributes; `_items` selects them."""

    __eq__ = object.__eq__  # a module equals only itself, and can be in a set
    __hash__ = object.__hash__

    def __init__(self, items: Mapping[str, Any] | Iterable[Any] | None = None) -> None:
        if items is not None:
            self.update(items)

    def _items(self) -> dict[str, Any]:
        raise NotImplementedError

    def __getitem__(self, key: str) -> Any:
        return self._items()[key]

    def __delitem__(self, key: str) -> None:
        if key not in self._items():
            raise KeyError(key)
        delattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items())

    def __len__(self) -> int:
        return len(self._items())

    def keys(self) -> KeysView[str]:
        return self._items().keys()

    def items(self) -> Any:
        return self._items().items()

    def values(self) -> Any:
        return self._items().values()


class ModuleDict(_Dict):
    """A dict of modules that is a module itself; an item is an attribute too.

    >>> from tinytorch.nn import Linear, ModuleDict, ReLU
    >>> layers = ModuleDict({"fc": Linear(2, 2), "act": ReLU()})
    >>> layers["fc"] is layers.fc, list(layers)
    (True, ['fc', 'act'])
    """

    def _items(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Module)}

    def __setitem__(self, key: str, module: Module) -> None:
        _check_module(self, module)
        self.add_module(key, module)


class ParameterDict(_Dict):
    """A dict of parameters that is a module; tensors become parameters, other values stay.

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import ParameterDict
    >>> weights = ParameterDict({"w": zeros(2, 3)})
    >>> [(name, p.shape) for name, p in weights.named_parameters()]
    [('w', (2, 3))]
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[Any] | None = None) -> None:
        self._names: dict[str, None] = {}
        super().__init__(parameters)

    def _items(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in self._names}

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, _as_parameter(value))
        self._names[key] = None

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        del self._names[key]

    def extra_repr(self) -> str:
        return _described(self.items(), lambda tensor: str(tensor.type()))


class ParameterList(Module):
    """A list of parameters that is a module; tensors become parameters, other values stay.

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import ParameterList
    >>> weights = ParameterList([zeros(2), zeros(3)])
    >>> [(name, p.shape) for name, p in weights.named_parameters()]
    [('0', (2,)), ('1', (3,))]
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        self.extend([] if values is None else values)

    def append(self, value: Any) -> Self:
        """Append a parameter."""
        setattr(self, str(len(self)), _as_parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Append several parameters."""
        if isinstance(values, Tensor):
            raise TypeError("ParameterList takes a list of parameters, not one Tensor")
        for value in list(values):
            self.append(value)
        return self

    def _items(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name.isdigit()}

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items().values())

    def __getitem__(self, index: Any) -> Any:
        found = list(self)[index]
        return ParameterList(found) if isinstance(index, slice) else found

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, list(self._items())[index], _as_parameter(value))

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def extra_repr(self) -> str:
        return _described(self._items().items(), _dtype_name)


def _as_parameter(value: Any) -> Any:
    """A tensor as a parameter, with its memory copied; a parameter or another value as it is."""
    return (
        value if isinstance(value, Parameter) or not isinstance(value, Tensor) else Parameter(value)
    )


def _dtype_name(tensor: Tensor) -> str:
    return "torch." + str(tensor.dtype).rsplit(".", 1)[-1]


def _described(items: Iterable[tuple[str, Any]], dtype_name: Callable[[Tensor], str]) -> str:
    """A line for each parameter with its dtype and size, as PyTorch prints them."""
    lines = []
    for name, value in items:
        text = f"Object of type: {type(value).__name__}"
        if isinstance(value, Tensor):
            size = "x".join(map(str, value.shape))
            place = f" ({value.device})" if value.device.type == "cuda" else ""
            text = f"{type(value).__name__} containing: [{dtype_name(value)} of size {size}{place}]"
        lines.append(f"  ({name}): {text}")
    return "\n".join(lines)


def _check_module(container: Module, value: Any) -> None:
    if isinstance(value, BaseModule):
        return
    what = getattr(value, "__name__", type(value).__name__)
    fix = ""
    if isinstance(value, type) and issubclass(value, BaseModule):
        what, fix = f"the class {what}", f"; create an instance: {what}(...)"
    elif isinstance(value, list | tuple):
        fix = f"; pass the modules as arguments: {type(container).__name__}(*modules)"
    raise TypeError(f"{type(container).__name__}: {what} is not a Module{fix}")
