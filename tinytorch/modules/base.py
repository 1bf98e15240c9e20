"""BaseModule: registration of attributes, calls, conversion and saving of modules."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ContextDecorator
from itertools import count
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from ..arguments import ShapeError, warn
from ..autograd import no_grad
from ..backends import Backend, get
from ..ops.dtypes import parse_target, resolve_dtype
from ..ops.views import leave
from ..tensor import Tensor
from .hooks import USED, call_with_hooks
from .methods import ModuleMethods
from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module

__all__ = ["BaseModule", "evaluating"]

# What a module holds: its tensors and its modules, each with its name.
Reader = Callable[[Any], tuple[list[tuple[str, Tensor]], list[tuple[str, "Module"]]]]

_versions = count(1)


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


class BaseModule(ModuleMethods):
    """What every module can do; `Module` adds what lesson 03 builds."""

    # Changes with every assignment to a public attribute of any module, so that code that has read
    # the structure of a model can tell whether it may have changed.
    version: ClassVar[int] = 0
    _initial_mode: ClassVar[bool] = True

    if TYPE_CHECKING:  # defined by `Contents`

        def _walk(
            self, prefix: str = "", once: bool = True
        ) -> Iterator[tuple[str, Any, list[tuple[str, Tensor]]]]: ...
        def named_parameters(self) -> Iterator[tuple[str, Parameter]]: ...
        def parameters(self) -> Iterator[Parameter]: ...

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
            if USED and self._hooks:
                output: Tensor = call_with_hooks(self, inputs, keywords)
                return output
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
        if isinstance(old, Parameter | BaseModule) or name in self.__dict__.get("_persistent", ()):
            _check_replacement(self, name, old, value)
        if isinstance(value, Parameter | BaseModule) and "." in name:
            raise ValueError(f"{type(self).__name__}: the name {name!r} cannot contain a dot")
        object.__setattr__(self, name, value)
        if name[:1] != "_" or name == "__class__":
            self.mark_changed()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self.mark_changed()

    @staticmethod
    def mark_changed() -> None:
        """Change `version`."""
        BaseModule.version = next(_versions)

    def register_buffer(self, name: str, value: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is not trained, but moved by `to`, and saved if `persistent`.

        It may be None, and be assigned later.
        """
        what = f"{type(self).__name__}.register_buffer"
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{what}: {name!r} is not a name; it cannot be empty or contain a dot")
        buffers = self.__dict__.setdefault("_persistent", {})
        if name not in buffers and hasattr(self, name):
            raise ValueError(f"{what}: an attribute {name!r} already exists")
        if not isinstance(value, Tensor | None) or isinstance(value, Parameter):
            raise TypeError(f"{what}: {name} must be a Tensor or None, not {type(value).__name__}")
        buffers[name] = persistent
        setattr(self, name, value)

    # Contents

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """(name, module) for each module in an attribute, directly or in lists and dicts."""
        seen: set[int] = set()
        for name, module in self._children():
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _children(self) -> list[tuple[str, "Module"]]:
        """(name, module) for each child under every name."""
        return self._reader()(self)[1]

    def _reader(self) -> Reader:
        """A function that returns the tensors and the modules which a module holds, by name.

        What a list or a dict holds is left out if it is also in an attribute somewhere within this
        module, and so has the name that it has in PyTorch, which does not look into lists.
        """
        ids: set[int] = set()  # of what is in attributes; computed if there are lists

        def read(module: Any) -> tuple[list[tuple[str, Tensor]], list[tuple[str, "Module"]]]:
            nonlocal ids
            tensors, children, has_lists = module._contents()
            if has_lists:
                ids = ids or _ids_in_attributes(self)
                tensors = [t for t in tensors if "." not in t[0] or id(t[1]) not in ids]
                children = [c for c in children if "." not in c[0] or id(c[1]) not in ids]
            return tensors, children

        return read

    def _contents(self) -> tuple[list[tuple[str, Tensor]], list[tuple[str, "Module"]], bool]:
        """What this module alone holds: the parameters, then the buffers; the modules, by name.

        The third result is whether any of them is in a list or a dict.
        """
        has_lists = False
        parameters: list[Any] = []
        buffers: list[Any] = []
        modules: list[Any] = []
        buffer_names = self.__dict__.get("_persistent", ())
        for name, value in self.__dict__.items():
            if type(value) in _PLAIN:  # most attributes; the fastest test comes first
                continue
            if isinstance(value, BaseModule):
                modules.append((name, value))
            elif name in buffer_names:
                buffers.append((name, value))
            elif isinstance(value, Parameter):
                parameters.append((name, value))
            elif isinstance(value, (list, tuple, dict)):
                for item in _flat(name, value):
                    (modules if isinstance(item[1], BaseModule) else parameters).append(item)
                    has_lists = True
        return parameters + buffers, modules, has_lists

    def named_modules(
        self, memo: Any = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, "Module"]]:
        """(dotted name, module) for this module and all modules within it, each once.

        Args:
            memo: a set of modules to leave out, to which those found are added.
            prefix: put before each name, with a dot.
            remove_duplicate: leave out all but the first name of each module.
        """
        for name, module, _ in self._walk(prefix, remove_duplicate):
            if memo is None or module not in memo:
                if memo is not None:
                    memo.add(module)
                yield name, module

    def modules(self) -> Iterator["Module"]:
        """This module and all modules within it, each once."""
        return (module for _, module in self.named_modules())

    def _named_tensors(
        self, prefix: str = "", recurse: bool = True, once: bool = True, saved: bool = False
    ) -> Iterator[tuple[str, Tensor]]:
        """All parameters and buffers, or only the saved ones; the arguments are those of `_walk`.

        A tensor in several attributes of one module, or in several modules, is not left out.
        """
        for path, module, tensors in self._walk(prefix, once):
            persistent: dict[str, bool] = module.__dict__.get("_persistent", {})
            start = f"{path}." if path else ""
            for name, value in tensors:
                if not saved or persistent.get(name, True):
                    yield start + name, value
            if not recurse:
                return

    @property
    def backend(self) -> Backend:
        """The backend of the parameters.

        Raises:
            ValueError: there are none.
        """
        for _, parameter in self.named_parameters():
            return parameter.backend
        raise ValueError(f"{type(self).__name__} has no parameters, and so no backend")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients of all parameters to None, or to zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.zero_grad()
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def to(
        self,
        *target: Any,
        dtype: Any = None,
        device: Any = None,
        backend: Any = None,
        non_blocking: bool = False,
    ) -> Self:
        """Move all parameters and buffers to a backend or cast them to a dtype, in place.

        Create optimizers afterwards, because their state does not move.

        Args:
            target: a dtype, a device or a backend, or the name of one; see `Tensor.to`.
            dtype: a floating dtype or its name; integer buffers keep theirs.
            device: "cpu" or "cuda", PyTorch's names, in place of `backend`.
            backend: a backend or its name.
            non_blocking: without effect; no call waits for a copy to a GPU.

        Raises:
            TypeError: the dtype is not a floating one.

        >>> from tinytorch import Linear
        >>> Linear(2, 1).to("float64").weight.dtype
        dtype('float64')
        """
        dtype, backend = parse_target(target, dtype, device if backend is None else backend)
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

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Tensor]:
        """All parameters and persistent buffers by dotted name, as tensors that share their memory.

        Later training changes them: to keep the values of now, copy.deepcopy the dict. What is
        shared is saved under each of its names.

        Args:
            destination: a dict to write to, instead of a new one.
            prefix: put before each name, without a dot.
            keep_vars: whether to return the parameters themselves, not detached from the graph.
        """
        state: dict[str, Tensor] = OrderedDict() if destination is None else destination
        for name, value in self._saved_tensors().items():
            state[prefix + name] = value if keep_vars else value.detach()
        return state

    def _saved_tensors(self) -> dict[str, Tensor]:
        saved: dict[str, Tensor] = {}
        for name, value in self._named_tensors(once=False, saved=True):
            if name in saved:  # such as {1: module, "1": other}
                raise ValueError(f"{type(self).__name__} has two tensors with the name {name!r}")
            saved[name] = value
        return saved

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> "LoadedKeys":
        """Copy saved values into the parameters and buffers; if an error is raised, none changes.

        Args:
            state_dict: tensors or arrays by dotted name, as returned by `state_dict`.
            strict: whether missing and unexpected names are errors. A shared tensor
                may lack some of its names, as in older checkpoints.
            assign: PyTorch's option to keep the given tensors themselves; must be False.

        Returns:
            The missing and the unexpected names.

        Raises:
            TypeError: `state_dict` is not a dict.
            ValueError: names are missing or unexpected, or shapes differ; the message lists all.

        Warns:
            UserWarning: without `strict`, if no name fits.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict takes a dict of tensors by name, as of state_dict(), not"
                f" {type(state_dict).__name__}"
            )
        if assign:
            raise NotImplementedError("load_state_dict copies values; assign must be False")
        own = self._saved_tensors()
        given = {id(value) for name, value in own.items() if name in state_dict}
        keys = LoadedKeys(
            [name for name in own if name not in state_dict],
            [name for name in state_dict if name not in own],
        )
        problems = [
            f"{name} has shape {tuple(np.shape(state_dict[name]))}, not {own[name].shape}"
            for name in own
            if name in state_dict and tuple(np.shape(state_dict[name])) != own[name].shape
        ]
        if strict:
            problems += [f"{n} is missing" for n in keys.missing_keys if id(own[n]) not in given]
            problems += [f"{name} is unexpected" for name in keys.unexpected_keys]
        if problems:
            raise ShapeError(f"{type(self).__name__} cannot load this state: {'; '.join(problems)}")
        if state_dict and not given:
            warn(
                f"{type(self).__name__}.load_state_dict: no name fits, so nothing is loaded; it has"
                f" {next(iter(state_dict))!r}, not {next(iter(own), '')!r}"
            )
        ready = {
            name: Tensor(state_dict[name], dtype=value.dtype, backend=value.backend)
            for name, value in own.items()
            if name in state_dict
        }
        with no_grad():
            for name, value in ready.items():
                own[name][...] = value
        return keys

    @recursive_repr()
    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [f"({name}): {module!r}" for name, module in self._children()]
        return module_text(type(self).__name__, extra, lines)

    def extra_repr(self) -> str:
        """The arguments of the module that `repr` shows."""
        return ""


class LoadedKeys(NamedTuple):
    """Result of `load_state_dict`: names without a value, and values without a place."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        # PyTorch's texts, since scripts print them
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self[0]}, unexpected_keys={self[1]})"


def module_text(name: str, extra: str, children: list[str]) -> str:
    """The text of a module, with its arguments `extra` and a text for each module within it."""
    lines = extra.split("\n") if extra else []
    if not children and len(lines) < 2:
        return f"{name}({extra})"
    lines += [child.replace("\n", "\n  ") for child in children]
    return "\n  ".join([f"{name}(", *lines]) + "\n)"


def _ids_in_attributes(root: Any) -> set[int]:
    """The ids of all modules and tensors that are attributes, of `root` and of modules that are."""
    found: set[int] = set()
    pending = [root]
    while pending:
        module = pending.pop()
        if id(module) not in found:
            found.add(id(module))
            tensors, modules, _ = module._contents()
            found |= {id(value) for name, value in tensors if "." not in name}
            pending += [value for name, value in modules if "." not in name]
    return found


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) for each module and parameter in nested lists, tuples and dicts."""
    if isinstance(value, BaseModule | Parameter):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            if type(item) not in _PLAIN:  # such as the losses of all steps so far
                yield from _flat(f"{name}.{key}", item)


def _check_replacement(module: BaseModule, name: str, old: Any, value: Any) -> None:
    """Check that `value` can be assigned over the parameter, buffer or module `old`.

    Raises:
        TypeError: it would no longer be trained, moved or saved.
    """
    kinds: tuple[type, ...] = (BaseModule, Parameter)
    what, fix = "parameter", "a Parameter or None"
    if isinstance(old, BaseModule):
        kinds, what, fix = (BaseModule, Parameter, list, tuple), "module", "a Module or None"
    elif not isinstance(old, Parameter):
        kinds, what, fix = (Tensor,), "buffer", "a Tensor or None"
    if value is not None and not isinstance(value, kinds):
        raise TypeError(
            f"cannot assign {type(value).__name__} to the {what} {name!r} of"
            f" {type(module).__name__}; assign {fix}"
        )


def _move(tensor: Tensor, dtype: Any, backend: Any) -> None:
    """Cast a parameter or buffer with its gradient, or move them to another backend, in place."""
    moved = tensor.detach().to(dtype=dtype, backend=backend)
    if moved._array is tensor._array:
        return
    gradient = tensor._grad
    leave(tensor)
    tensor._array, tensor._backend = moved._array, moved._backend
    tensor._grad = None if gradient is None else gradient.to(dtype=dtype, backend=backend)
