"""Parameter and Module: what holds weights, and how they are found, saved and moved."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from ..backends import Backend
from ..ops.dtypes import parse_target
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns: assigned to a module's attribute, it is registered there."""

    __slots__ = ()

    def __init__(
        self,
        data: Any,
        requires_grad: bool = True,
        *,
        dtype: Any = None,
        backend: str | Backend | None = None,
    ) -> None:
        super().__init__(data, requires_grad, dtype=dtype, backend=backend)


class Module:
    """The base of layers and models.

    Parameters, modules and lists of modules that are assigned to attributes are registered by
    that, in order. A subclass defines `forward`.

    >>> class Two(Module):
    ...     def __init__(self):
    ...         self.first, self.second = Linear(4, 8), Linear(8, 1)
    ...     def forward(self, x):
    ...         return self.second(self.first(x))
    """

    training: bool = True

    def forward(self, *inputs: Any, **keywords: Any) -> Tensor:
        """The module's computation."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *inputs: Any, **keywords: Any) -> Tensor:
        return self.forward(*inputs, **keywords)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, list | tuple) and value and all(isinstance(v, Module) for v in value):
            value = ModuleList(value)
        object.__setattr__(self, name, value)

    def register_buffer(self, name: str, value: Tensor, persistent: bool = True) -> None:
        """A tensor that moves with the module but is not learned; saved if `persistent`."""
        self.__dict__.setdefault("_buffers", {})[name] = persistent
        setattr(self, name, value)

    # What is in it

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules assigned to attributes, with their names."""
        return ((n, v) for n, v in vars(self).items() if isinstance(v, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """This module and all within it, with dotted names; each once."""
        return self._modules(prefix, set())

    def _modules(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, "Module"]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self.named_children():
            yield from child._modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator["Module"]:
        """This module and all within it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names; a shared one once, under its first name."""
        seen: set[int] = set()
        for name, value in self._named_tensors():
            if isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def _named_tensors(self, saved: bool = False) -> Iterator[tuple[str, Tensor]]:
        """All parameters and buffers, or those that are saved, under every name they have."""
        for prefix, module in self.named_modules():
            buffers: dict[str, bool] = vars(module).get("_buffers", {})
            for name, value in vars(module).items():
                if isinstance(value, Parameter) or (name in buffers and buffers[name] >= saved):
                    yield (f"{prefix}.{name}" if prefix else name), value

    def parameters(self) -> list[Parameter]:
        """The parameters, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    def num_parameters(self) -> int:
        """How many numbers the module learns."""
        return sum(parameter.size for parameter in self.parameters())

    @property
    def backend(self) -> Backend:
        """Where the parameters are."""
        return next(self.named_parameters())[1].backend

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Training mode, in which dropout drops; for all modules within."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode, in which dropout does nothing; for all modules within."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def to(self, target: Any = None, *, dtype: Any = None, backend: Any = None) -> Self:
        """Move all parameters and buffers, in place; make optimizers after that.

        >>> model.to("cupy")
        """
        dtype, backend = parse_target(target, dtype, backend)
        for _, value in self._named_tensors():
            _move(value, dtype if value.is_floating_point() else None, backend)
        return self

    # Saving

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of all parameters and buffers as NumPy arrays, by dotted name."""
        return {name: value.numpy().copy() for name, value in self._named_tensors(saved=True)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Write saved values over the parameters and buffers; nothing is written on an error.

        Args:
            state: arrays by dotted name, as from `state_dict`.
            strict: whether missing and unexpected names are errors.

        Raises:
            ValueError: names are missing or unexpected, or shapes differ; it names them all.
        """
        own = dict(self._named_tensors(saved=True))
        problems = [
            f"{name} has shape {tuple(np.shape(state[name]))}, not {own[name].shape}"
            for name in own
            if name in state and tuple(np.shape(state[name])) != own[name].shape
        ]
        if strict:
            problems += [f"{name} is missing" for name in own if name not in state]
            problems += [f"{name} is unexpected" for name in state if name not in own]
        if problems:
            raise ValueError(f"{type(self).__name__} cannot load this state: {'; '.join(problems)}")
        ready = {
            name: Tensor(state[name], dtype=value.dtype, backend=value.backend)
            for name, value in own.items()
            if name in state
        }
        for name, value in ready.items():
            own[name].data = value

    def __repr__(self) -> str:
        children = [f"  ({n}): {v!r}".replace("\n", "\n  ") for n, v in self.named_children()]
        inner = "\n" + "\n".join(children) + "\n" if children else self.extra_repr()
        return f"{type(self).__name__}({inner})"

    def extra_repr(self) -> str:
        """What `repr` says of a module without children."""
        return ""


class ModuleList(Module):
    """Modules in a list; made from a plain list that is assigned to an attribute."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        for index, module in enumerate(modules):
            setattr(self, str(index), module)

    def append(self, module: Module) -> None:
        """Add a module at the end."""
        setattr(self, str(len(self)), module)

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


class Sequential(ModuleList):
    """Modules one after the other.

    >>> Sequential(Linear(784, 128), ReLU(), Linear(128, 10))
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Tensor) -> Tensor:
        for module in self:
            x = module(x)
        return x


def _move(tensor: Tensor, dtype: Any, backend: Any) -> None:
    """Let a parameter or buffer hold its values in another dtype or on another backend."""
    moved = tensor.detach().to(dtype=dtype, backend=backend)
    tensor._array, tensor._backend, tensor._grad = moved._array, moved._backend, None
    tensor._version.count += 1
