"""Lesson 03: Parameter and Module, the base classes of trainable weights and of layers."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ContextDecorator
from itertools import count
from reprlib import recursive_repr
from typing import Any, ClassVar, Self

import numpy as np

from ..arguments import ShapeError
from ..backends import Backend, get
from ..ops.dtypes import parse_target, resolve_dtype
from ..tensor import Tensor

_versions = count(1)


class Parameter(Tensor):
    """A trainable tensor; assigning it to an attribute of a module registers it there."""

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


class _Evaluating(threading.local):
    depth = 0  # number of `evaluating` contexts that this thread is in


_evaluating = _Evaluating()


class evaluating(ContextDecorator):  # noqa: N801  like no_grad
    """Context manager for evaluation mode: in this thread `training` is False for all modules.

    Nothing is written to the modules, so other threads may train them, and afterwards each has its
    own mode again. `train` and `eval` take effect afterwards. It also works as a decorator, with
    parentheses. Do not hold it open across a `yield`. For one of several models, call its `eval`.

    >>> from tinytorch import Dropout, Linear, Sequential
    >>> from tinytorch.modules.module import evaluating
    >>> model = Sequential(Linear(2, 2), Dropout(0.5))
    >>> frozen = model[0].eval()
    >>> with evaluating():
    ...     [module.training for module in model.modules()]
    [False, False, False]
    >>> [module.training for module in model.modules()]
    [True, False, True]
    """

    def __enter__(self) -> None:
        _evaluating.depth += 1

    def __exit__(self, *exception: object) -> None:
        _evaluating.depth -= 1


_PLAIN = {int, float, bool, str, type(None)}  # types of attributes that hold no tensor
# Types that are passed to a module by mistake.
_NO_TENSORS = (list, tuple, str, int, float, np.ndarray, np.generic, type(None))


class Module:
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

    # Changes with every assignment to a public attribute of any module, so that code that has read
    # the structure of a model can tell whether it may have changed.
    version: ClassVar[int] = 0
    _initial_mode: ClassVar[bool] = True

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if isinstance(mode := vars(cls).get("training"), bool):  # it would hide the property
            cls._initial_mode = mode
            del cls.training

    @property
    def training(self) -> bool:
        """Whether the module is in training mode; within `evaluating`, False for every module."""
        mode: bool = self.__dict__.get("training", self._initial_mode)
        return mode and not _evaluating.depth

    @training.setter
    def training(self, mode: bool) -> None:
        self.__dict__["training"] = mode

    def forward(self, *inputs: Any, **keywords: Any) -> Tensor:
        """Compute the output from the inputs; calling the module calls this."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *inputs: Any, **keywords: Any) -> Tensor:
        try:
            return self.forward(*inputs, **keywords)
        except AttributeError as error:
            wrong = error.obj  # whose attribute is missing
            found = error.name is not None and any(wrong is value for value in inputs)
            if found and isinstance(wrong, _NO_TENSORS):
                raise TypeError(
                    f"{type(self).__name__} takes tensors, not {type(wrong).__name__}"
                ) from error
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name)
        if isinstance(old, Parameter | Module) or name in self.__dict__.get("_buffers", ()):
            _check_replacement(self, name, old, value)
        if isinstance(value, Parameter | Module) and "." in name:
            raise ValueError(f"{type(self).__name__}: the name {name!r} cannot contain a dot")
        object.__setattr__(self, name, value)
        if name[:1] != "_" or name == "__class__":
            Module.version = next(_versions)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        Module.version = next(_versions)

    def register_buffer(self, name: str, value: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is not trained, but moved by `to`, and saved if `persistent`.

        It may be None, and be assigned later.
        """
        what = f"{type(self).__name__}.register_buffer"
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{what}: {name!r} is not a name; it cannot be empty or contain a dot")
        buffers = self.__dict__.setdefault("_buffers", {})
        if name not in buffers and hasattr(self, name):
            raise ValueError(f"{what}: an attribute {name!r} already exists")
        if not isinstance(value, Tensor | None) or isinstance(value, Parameter):
            raise TypeError(f"{what}: {name} must be a Tensor or None, not {type(value).__name__}")
        buffers[name] = persistent
        setattr(self, name, value)

    # Contents

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """(name, module) for each module in an attribute, directly or in lists and dicts."""
        return iter(self._contents()[1])

    def _contents(self) -> tuple[list[tuple[str, Tensor]], list[tuple[str, "Module"]]]:
        """The parameters and buffers, and the modules, of this module alone, with their names."""
        tensors: list[Any] = []
        modules: list[Any] = []
        buffers = self.__dict__.get("_buffers", ())
        for name, value in self.__dict__.items():
            if type(value) in _PLAIN:  # most attributes; the fastest test comes first
                continue
            if isinstance(value, Module):
                modules.append((name, value))
            elif isinstance(value, Parameter) or name in buffers:
                tensors.append((name, value))
            elif isinstance(value, (list, tuple, dict)):
                for item in _flat(name, value):
                    (modules if isinstance(item[1], Module) else tensors).append(item)
        return tensors, modules

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """(dotted name, module) for this module and all modules within it, each once."""
        return ((name, module) for name, module, _ in self._walk(prefix))

    def _walk(self, prefix: str) -> Iterator[tuple[str, "Module", list[tuple[str, Tensor]]]]:
        """(dotted name, module, its own tensors) for each module, parents before children."""
        seen: set[int] = set()
        pending: list[tuple[str, Module]] = [(prefix, self)]
        while pending:
            name, module = pending.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            tensors, children = module._contents()
            yield name, module, tensors
            if children:
                start = f"{name}." if name else ""
                pending += [(start + child, value) for child, value in reversed(children)]

    def modules(self) -> Iterator["Module"]:
        """This module and all modules within it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) for each parameter; a shared one only under its first name."""
        seen: set[int] = set()
        for name, value in self._named_tensors():
            if isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def _named_tensors(self, saved: bool = False) -> Iterator[tuple[str, Tensor]]:
        """All parameters and buffers, or only the saved ones, under every name that they have."""
        for prefix, module, tensors in self._walk(""):
            buffers: dict[str, bool] = module.__dict__.get("_buffers", {})
            start = f"{prefix}." if prefix else ""
            for name, value in tensors:
                if not saved or buffers.get(name, True):
                    yield start + name, value

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def num_parameters(self) -> int:
        """The total number of elements of all parameters."""
        return sum(parameter.size for parameter in self.parameters())

    @property
    def backend(self) -> Backend:
        """The backend of the parameters.

        Raises:
            ValueError: there are none.
        """
        for _, parameter in self.named_parameters():
            return parameter.backend
        raise ValueError(f"{type(self).__name__} has no parameters, and so no backend")

    # Modes

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

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def to(self, target: Any = None, *, dtype: Any = None, backend: Any = None) -> Self:
        """Move all parameters and buffers to a backend or cast them to a dtype, in place.

        Create optimizers afterwards, because their state does not move.

        Args:
            target: a dtype or a backend, or the name of one; see `Tensor.to`.
            dtype: a floating dtype or its name; integer buffers keep theirs.
            backend: a backend or its name.

        Raises:
            TypeError: the dtype is not a floating one.

        >>> from tinytorch import Linear
        >>> Linear(2, 1).to("float64").weight.dtype
        dtype('float64')
        """
        dtype, backend = parse_target(target, dtype, backend)
        xp = get(backend).xp
        if dtype is not None and not xp.isdtype(
            resolve_dtype(dtype, get(backend)), "real floating"
        ):
            raise TypeError(
                f"{type(self).__name__}.to: weights cannot become {dtype}; give a floating dtype"
            )
        for _, value in self._named_tensors():
            _move(value, dtype if value.is_floating_point() else None, backend)
        return self

    # Saving

    def state_dict(self) -> dict[str, Tensor]:
        """All parameters and persistent buffers by dotted name, as tensors that share their memory.

        Later training changes them: to keep the values of now, copy.deepcopy the dict. A shared
        parameter is saved under each of its names, a shared module under its first name.
        """
        return {name: value.detach() for name, value in self._saved_tensors().items()}

    def _saved_tensors(self) -> dict[str, Tensor]:
        saved: dict[str, Tensor] = {}
        for name, value in self._named_tensors(saved=True):
            if name in saved:  # such as {1: module, "1": other}
                raise ValueError(f"{type(self).__name__} has two tensors with the name {name!r}")
            saved[name] = value
        return saved

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy saved values into the parameters and buffers; if an error is raised, none changes.

        Args:
            state: arrays by dotted name, as returned by `state_dict`.
            strict: whether missing and unexpected names are errors. If false, it is one only if
                no name fits.

        Raises:
            TypeError: `state` is not a dict.
            ValueError: names are missing or unexpected, or shapes differ; the message lists all.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"load_state_dict takes a dict of arrays by name, as of state_dict(), not"
                f" {type(state).__name__}"
            )
        own = self._saved_tensors()
        problems = [
            f"{name} has shape {tuple(np.shape(state[name]))}, not {own[name].shape}"
            for name in own
            if name in state and tuple(np.shape(state[name])) != own[name].shape
        ]
        if strict:
            problems += [f"{name} is missing" for name in own if name not in state]
            problems += [f"{name} is unexpected" for name in state if name not in own]
        elif state and not any(name in own for name in state):
            problems += [f"no name fits: it has {next(iter(state))!r}, not {next(iter(own), '')!r}"]
        if problems:
            raise ShapeError(f"{type(self).__name__} cannot load this state: {'; '.join(problems)}")
        ready = {
            name: Tensor(state[name], dtype=value.dtype, backend=value.backend)
            for name, value in own.items()
            if name in state
        }
        for name, value in ready.items():
            own[name].data = value

    @recursive_repr()
    def __repr__(self) -> str:
        children = [f"  ({n}): {v!r}".replace("\n", "\n  ") for n, v in self.named_children()]
        inner = "\n" + "\n".join(children) + "\n" if children else self.extra_repr()
        return f"{type(self).__name__}({inner})"

    def extra_repr(self) -> str:
        """The arguments that `repr` shows for a module without children."""
        return ""


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) for each module and parameter in nested lists, tuples and dicts."""
    if isinstance(value, Module | Parameter):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            if type(item) not in _PLAIN:  # such as the losses of all steps so far
                yield from _flat(f"{name}.{key}", item)


def _check_replacement(module: Module, name: str, old: Any, value: Any) -> None:
    """Check that `value` can be assigned over the parameter, buffer or module `old`.

    Raises:
        TypeError: it would no longer be trained, moved or saved.
    """
    kinds: tuple[type, ...] = (Module, Parameter)
    what, fix = "parameter", "a Parameter or None"
    if isinstance(old, Module):
        kinds, what, fix = (Module, Parameter, list, tuple), "module", "a Module or None"
    elif not isinstance(old, Parameter):
        kinds, what, fix = (Tensor,), "buffer", "a Tensor or None"
    if value is not None and not isinstance(value, kinds):
        raise TypeError(
            f"cannot assign {type(value).__name__} to the {what} {name!r} of"
            f" {type(module).__name__}; assign {fix}"
        )


def _move(tensor: Tensor, dtype: Any, backend: Any) -> None:
    """Cast a parameter or buffer, or move it to another backend, in place."""
    moved = tensor.detach().to(dtype=dtype, backend=backend)
    tensor._array, tensor._backend, tensor._grad = moved._array, moved._backend, None
    tensor._version.count += 1
