"""Differentiable ops: a forward, its gradient, and the backend kernel that may replace both."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..autograd import Variable, add_node, is_grad_enabled, wrap_array
from ..backends import Backend, BackendError, trace
from ..backends.base import Array, Kernel

if TYPE_CHECKING:
    from ..tensor import Tensor


class Op:
    """A differentiable function of arrays, called with tensors.

    Created by the decorator `op`. Positional arguments are tensors, arrays or Python scalars;
    keyword arguments are settings without a gradient.

    Attributes:
        name: used in messages.
        key: key in a backend's kernels: the name for an op of this package, else module and name,
            so that an op defined elsewhere, such as in a notebook, runs as written.
        forward: the readable reference, ``forward(xp, *arrays, **settings) -> (result, saved)``.
        reference: forward and gradient as a pair.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        self.name: str = forward.__name__
        module = forward.__module__
        own = _is_of_this_package(module)
        self.key = self.name if own else f"{module}.{self.name}"
        self.forward = forward
        self.__doc__ = forward.__doc__
        self.__name__ = self.name
        self.__module__ = forward.__module__
        self.__wrapped__ = forward
        self.reference = Kernel(forward, None)
        if own:
            if self.name in OPS:
                raise ValueError(f"an op named {self.name!r} already exists")
            OPS[self.name] = self

    def gradient(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Declare the gradient: a decorator, used directly below the op."""
        self.reference = Kernel(self.forward, function)
        return function

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> str:
        return self.name  # pickled by reference, as functions are

    def __call__(self, *inputs: Any, **settings: Any) -> "Tensor":
        arrays, variables, backend = unwrap(self.name, inputs)
        kernel = backend.kernels.get(self.key) or self.reference
        if trace.active:
            ran = "reference" if kernel is self.reference else "kernel"
            kernel = trace.timed_kernel(kernel, self.key, backend.name, ran)
        result, saved = kernel.forward(backend.xp, *arrays, **settings)
        # For several outputs it is a tuple of tensors; typed as a tensor, which unpacks as well.
        output: Tensor = _wrap_outputs(self.name, kernel, inputs, variables, result, saved)
        return output


class Composite:
    """A function of tensors, written with ops, that a backend may compute with one fused kernel.

    Created by the decorator `composite`. A backend's kernel of that name replaces forward and
    gradient. It returns NotImplemented for arguments that it does not support; for these, as on
    backends without the kernel, the function runs op by op.
    """

    def __init__(self, function: Callable[..., "Tensor"]) -> None:
        self.name: str = function.__name__
        self.function = function
        self.__doc__ = function.__doc__
        self.__name__ = self.name
        self.__module__ = function.__module__
        self.__wrapped__ = function
        self._own = _is_of_this_package(function.__module__)
        if self._own:
            COMPOSITES[self.name] = self

    def __repr__(self) -> str:
        return f"<composite {self.name}>"

    def __reduce__(self) -> str:
        return self.name

    def __call__(self, *inputs: Any, **settings: Any) -> "Tensor":
        arrays, variables, backend = unwrap(self.name, inputs)
        kernel = backend.kernels.get(self.name) if self._own else None
        if kernel is None:
            if trace.active:
                trace.count(self.name, backend.name, "reference")
            return self.function(*inputs, **settings)
        if trace.active:
            kernel = trace.timed_kernel(kernel, self.name, backend.name, "kernel")
        outputs = kernel.forward(backend.xp, *arrays, **settings)
        if outputs is NotImplemented:
            return self.function(*inputs, **settings)
        output: Tensor = _wrap_outputs(self.name, kernel, inputs, variables, *outputs)
        return output


OPS: dict[str, Op] = {}  # the ops of this package
COMPOSITES: dict[str, Composite] = {}  # the composites of this package


def op(forward: Callable[..., Any]) -> Op:
    """Declare an op: a decorator for its forward.

    >>> from tinytorch import Tensor
    >>> from tinytorch.ops.op import op
    >>> @op
    ... def cube(xp, x):
    ...     return x * x * x, (x,)
    >>> @cube.gradient
    ... def cube_gradient(xp, g, x):
    ...     return g * 3 * x * x
    >>> cube(Tensor([1.0, 2.0]))
    Tensor([1., 8.])
    """
    return Op(forward)


def composite(function: Callable[..., "Tensor"]) -> Composite:
    """Declare a composite: a decorator for a function of tensors."""
    return Composite(function)


def unwrap(name: str, inputs: Sequence[Any]) -> tuple[list[Any], list[Variable], Backend]:
    """The inputs as arrays, the tensors among them, and the backend of these tensors."""
    arrays: list[Any] = []
    variables: list[Variable] = []
    for value in inputs:
        if isinstance(value, Variable):
            variables.append(value)
            arrays.append(value._array)
            if value._backend is not variables[0]._backend:
                raise _mixed_backends(name, variables[0]._backend, value._backend)
        else:
            arrays.append(value)
    if not variables:
        raise TypeError(f"{name} needs a Tensor among its arguments")
    return arrays, variables, variables[0]._backend


def _is_of_this_package(module: str) -> bool:
    return module.partition(".")[0] == __name__.partition(".")[0]


def _mixed_backends(name: str, first: Backend, other: Backend) -> BackendError:
    return BackendError(
        f"{name}: one tensor is on {first.name!r} and another on {other.name!r};"
        f' move one of them, as in x.to("{first.name}")'
    )


def _wrap_outputs(
    name: str,
    kernel: Kernel,
    inputs: Sequence[Any],
    variables: list[Variable],
    result: Any,
    saved: tuple[Any, ...],
) -> Any:
    """Wrap the result of a kernel, one or several arrays, in tensors; add the call to the graph."""
    backend = variables[0]._backend
    if type(result) is tuple:
        outputs = results = tuple([_wrap(r, variables, backend) for r in result])
    else:
        outputs = _wrap(result, variables, backend)
        results = (outputs,)
    if is_grad_enabled() and kernel.gradient and any(v._requires_grad for v in variables):
        add_node(name, kernel.gradient, backend, inputs, results, saved)
    return outputs


def _wrap(array: Array, variables: list[Variable], backend: Backend) -> Any:
    """Wrap one output array of an op on `variables` in a tensor."""
    if type(array) is not backend.array_type:  # NumPy returns scalars instead of 0-d arrays
        array = backend.xp.asarray(array)
    result = wrap_array(variables[0]._result_class, array, backend)
    # A view shares the version counter of the tensor whose memory it uses.
    memory = backend.xp.storage(array)
    for variable in variables:
        other = variable._array
        if other is memory or (memory is not array and backend.xp.storage(other) is memory):
            result._version = variable._version
    return result
