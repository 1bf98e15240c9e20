"""Lesson 03: Module, the base class of layers and models."""

from collections.abc import Iterator
from typing import Any, Self

from ..tensor import Tensor
from .base import BaseModule, evaluating
from .parameter import Parameter

__all__ = ["Contents", "Module", "Parameter", "evaluating"]


class Contents(BaseModule):
    """A module that finds the modules and the parameters within it, each by a dotted name."""

    def _walk(
        self, prefix: str = "", once: bool = True
    ) -> Iterator[tuple[str, Any, list[tuple[str, Tensor]]]]:
        """(dotted name, module, its own tensors) for each module, parents before children.

        Args:
            prefix: put before each name, with a dot.
            once: leave out all but the first name of a module; else only modules in themselves.
        """
        read, seen = self._reader(), set[int]()
        pending: list[tuple[str, Any, tuple[int, ...]]] = [(prefix, self, ())]
        while pending:
            name, module, parents = pending.pop()
            if id(module) in (seen if once else parents):
                continue
            seen.add(id(module))
            tensors, children = read(module)
            yield name, module, tensors
            path, start = (*parents, id(module)), f"{name}." if name else ""
            for child, value in reversed(children):
                pending.append((start + child, value, path))

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) for each parameter; a shared one only under its first name.

        Args:
            prefix: put before each name, with a dot.
            recurse: whether to include those of the modules within this one.
            remove_duplicate: leave out all but the first name of each parameter.
        """
        seen: set[int] = set()
        for name, value in self._named_tensors(prefix, recurse, remove_duplicate):
            if isinstance(value, Parameter) and id(value) not in seen:
                if remove_duplicate:
                    seen.add(id(value))
                yield name, value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once; without `recurse`, those of this module alone."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def num_parameters(self) -> int:
        """The total number of elements of all parameters."""
        return sum(parameter.size for parameter in self.parameters())


class Module(Contents):
    """Base class of layers and models; a subclass defines `forward`.

    Assigning a parameter or a module to an attribute registers it, in the order of assignment. So
    do lists, tuples and dicts of them, also nested and if they are filled or changed later. Modules
    in other objects, such as sets, are not found.

    >>> from tinytorch import Linear, Module, zeros
    >>> class TwoLayers(Module):
    ...     def __init__(self):
    ...         self.first, self.second = Linear(4, 8), Linear(8, 1)
    ...     def forward(self, x):
    ...         return self.second(self.first(x))
    >>> model = TwoLayers()
    >>> model(zeros(3, 4)).shape, [name for name, _ in model.named_parameters()]
    ((3, 1), ['first.weight', 'first.bias', 'second.weight', 'second.bias'])
    """

    def train(self, mode: bool = True) -> Self:
        """Set training mode, in which dropout is active, for this module and all within it.

        To train a model with a frozen part, call ``model.train()``, then ``part.eval()``. Code that
        trains calls ``train()`` only if ``model.training`` is false, so that the part stays as set.
        A class may override `train` to keep a part frozen, also within other modules.
        """
        if not isinstance(mode, bool):
            raise TypeError(f"train(mode) takes True or False, not {type(mode).__name__}")
        # In reverse, so that a class's own train() runs after those of the modules within it.
        for module in reversed(list(self.modules())):
            if module is self or type(module).train is Module.train:
                module.__dict__["training"] = mode
            else:
                module.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode, in which dropout is inactive; the same as ``train(False)``."""
        return self.train(False)
