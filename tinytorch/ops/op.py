"""How an op is declared and called: forward, gradient, and a backend's kernel in their place."""

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import Variable, is_grad_enabled, record, wrap_array
from ..backends import Backend, BackendError
from ..backends.base import Array, Kernel


class Op:
    """A differentiable function of arrays, called with tensors.

    Made by the decorator `op`. Positional arguments are tensors, arrays or Python scalars;
    keyword arguments are settings that the gradient does not concern.

    Attributes:
        name: for messages.
        key: under which a backend may offer a kernel: the name for an op of this package,
            module and name for one that is defined elsewhere, which so runs as it is written.
        forward: the readable reference, ``forward(xp, *arrays, **settings) -> (result, saved)``.
        reference: forward and gradient as a pair.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        self.name: str = forward.__name__
        home = forward.__module__
        own = home.partition(".")[0] == __name__.partition(".")[0]
        self.key = self.name if own else f"{home}.{self.name}"
        self.forward = forward
        self.__doc__ = forward.__doc__
        self.__name__ = self.name
        self.__wrapped__ = forward
        self.reference = Kernel(forward, None)
        if own:
            if self.name in OPS:
                raise ValueError(f"there is an op {self.name!r} already")
            OPS[self.name] = self

    def gradient(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Declare the gradient; to be used as a decorator right under the op."""
        self.reference = Kernel(self.forward, function)
        return function

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        arrays, variables, backend = unwrap(self.name, inputs)
        kernel = backend.kernels.get(self.key) or self.reference
        result, saved = kernel.forward(backend.xp, *arrays, **settings)
        return _answer(self.name, kernel, inputs, variables, result, saved)


class Composite:
    """A function of tensors, made of ops, that a backend may also compute at once.

    Made by the decorator `composite`. A backend's kernel of its name takes over, with forward and
    gradient, where it can; its forward returns NotImplemented where it cannot, and then, as on
    all other backends, the function runs as it is written, op by op.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name: str = function.__name__
        self.function = function
        self.__doc__ = function.__doc__
        self.__name__ = self.name
        self.__wrapped__ = function
        self._own = function.__module__.partition(".")[0] == __name__.partition(".")[0]
        if self._own:
            COMPOSITES[self.name] = self

    def __repr__(self) -> str:
        return f"<composite {self.name}>"

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        arrays, variables, backend = unwrap(self.name, inputs)
        kernel = backend.kernels.get(self.name) if self._own else None
        if kernel is not None:
            made = kernel.forward(backend.xp, *arrays, **settings)
            if made is not NotImplemented:
                return _answer(self.name, kernel, inputs, variables, *made)
        return self.function(*inputs, **settings)


def composite(function: Callable[..., Any]) -> Composite:
    """Declare a composite: a decorator for a function of tensors."""
    return Composite(function)


COMPOSITES: dict[str, Composite] = {}  # those of this package
OPS: dict[str, Op] = {}  # those of this package


def op(forward: Callable[..., Any]) -> Op:
    """Declare an op: see the head of this file."""
    return Op(forward)


def unwrap(name: str, inputs: Sequence[Any]) -> tuple[list[Any], list[Variable], Backend]:
    """The arrays behind `inputs`, the tensors among them, and the one backend of all."""
    arrays: list[Any] = []
    variables: list[Variable] = []
    for value in inputs:
        if isinstance(value, Variable):
            variables.append(value)
            arrays.append(value._array)
            if value._backend is not variables[0]._backend:
                raise _mixed(name, variables[0]._backend, value._backend)
        else:
            arrays.append(value)
    if not variables:
        raise TypeError(f"{name} needs a Tensor among its arguments")
    return arrays, variables, variables[0]._backend


def _answer(
    name: str,
    kernel: Kernel,
    inputs: Sequence[Any],
    variables: list[Variable],
    result: Any,
    saved: tuple[Any, ...],
) -> Any:
    """What a kernel computed, as a tensor or a tuple of them, and put on the tape."""
    backend = variables[0]._backend
    if type(result) is tuple:
        answer = results = tuple([_wrap(r, variables, backend) for r in result])
    else:
        answer = _wrap(result, variables, backend)
        results = (answer,)
    if is_grad_enabled() and kernel.gradient and any(v._requires_grad for v in variables):
        record(name, kernel.gradient, backend, inputs, results, saved)
    return answer


def _mixed(name: str, mine: Backend, other: Backend) -> BackendError:
    return BackendError(
        f"{name}: one tensor is on {mine.name!r} and another on {other.name!r};"
        f' move one of them, as in x.to("{mine.name}")'
    )


def _wrap(array: Array, variables: list[Variable], backend: Backend) -> Any:
    """A tensor around one result of an op on `variables`."""
    if type(array) is not backend.array_type:  # NumPy turns arrays without axes into scalars
        array = backend.xp.asarray(array)
    result = wrap_array(variables[0]._result_class, array, backend)
    # A view counts the writes to its memory together with the tensor that it shows.
    memory = backend.xp.storage(array)
    for variable in variables:
        other = variable._array
        if other is memory or (memory is not array and backend.xp.storage(other) is memory):
            result._version = variable._version
    return result
