"""Differentiable ops: a forward, its gradient, and the backend kernel that may replace both."""

import inspect
import re
from collections.abc import Callable, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..arguments import ShapeError
from ..autograd import Variable, add_node, is_grad_enabled, wrap_array
from ..backends import Backend, BackendError, trace
from ..backends.base import Array, Kernel, is_own
from ..backends.float_errors import ignore, restore
from ..backends.indices import is_basic
from .promotion import MODES, is_floating, promote_arrays
from .views import Step, share

if TYPE_CHECKING:
    from ..tensor import Tensor


class Op:
    """A differentiable function of arrays, called with tensors.

    Created by the decorator `op`. Positional arguments are tensors, Python numbers, or NumPy arrays
    and lists, which are copied; keyword arguments are settings without a gradient. Its arrays are
    cast as the op declares (see `promotion`). Infinities and NaN give no warnings, as in PyTorch.

    Attributes:
        name: used in messages.
        key: key in a backend's kernels: the name for an op of this package, else module and name,
            so that an op defined elsewhere, such as in a notebook, runs as written.
        forward: the readable reference, ``forward(xp, *arrays, **settings) -> (result, saved)``.
        reference: forward and gradient as a pair.
        promote: the mode of type promotion, or None.
        view: whether the results are views of the first array, unless it is indexed by arrays.
        settings: the names of the keyword arguments.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        promote: str | None = None,
        keep: Sequence[str] = (),
        view: bool = False,
    ) -> None:
        self.name: str = forward.__name__
        own = is_own(forward)
        self.key = self.name if own else f"{forward.__module__}.{self.name}"
        self.forward = forward
        self.__doc__ = forward.__doc__
        self.__name__ = self.name
        self.__module__ = forward.__module__
        self.__wrapped__ = forward
        self.reference = Kernel(forward, None, own)
        self.promote = promote
        self.view = view
        self._keep = _positions(forward, promote, keep)
        parameters = list(inspect.signature(forward).parameters.values())[1:]
        self.settings = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        self._required = sum(p.default is p.empty and p.kind in _POSITIONAL for p in parameters)
        self._settled: Any = None  # a floating dtype: tensors of it need no promotion
        if own:
            if self.name in OPS:
                raise ValueError(f"an op named {self.name!r} already exists")
            OPS[self.name] = self

    def gradient(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Declare the gradient: a decorator, used directly below the op."""
        self.reference = Kernel(self.forward, function, bool(function) and is_own(function))
        return function

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> str:
        return self.name  # pickled by reference, as functions are

    def __call__(self, *inputs: Any, **settings: Any) -> "Tensor":
        arrays, variables, backend = unwrap(self.name, inputs)
        result_dtype = None
        if self.promote is not None:
            settled = self._settled
            for variable in variables:
                if variable._array.dtype is not settled:
                    arrays, result_dtype = _promote(self, arrays, variables, backend)
                    if result_dtype is not None and is_floating(result_dtype):
                        return self._in_float32(inputs, arrays, settings, result_dtype)
                    break
        kernel = backend.kernels.get(self.key) or self.reference
        if trace.active:
            ran = "reference" if kernel is self.reference else "kernel"
            kernel = trace.timed_kernel(kernel, self.key, backend.name, ran)
        warnings = ignore()
        try:
            outputs = kernel.forward(backend.xp, *arrays, **settings)
            if outputs is NotImplemented:  # the kernel does not support these dtypes or shapes
                kernel = self.reference
                outputs = kernel.forward(backend.xp, *arrays, **settings)
            result, saved = outputs
        except ShapeError:
            raise
        except (ValueError, TypeError, RuntimeError, AttributeError) as error:
            self._explain(error, inputs, arrays)
            raise
        finally:
            restore(warnings)
        if result_dtype is not None:  # booleans, computed as integers
            result = backend.xp.astype(result, result_dtype)
        # For several outputs it is a tuple of tensors; typed as a tensor, which unpacks as well.
        wrapped = _wrap_outputs(self.name, kernel, inputs, variables, result, saved)
        if self.view and not backend.mutable and is_basic(settings.get("key")):
            for i, view in enumerate(wrapped if type(wrapped) is tuple else (wrapped,)):
                share(view, inputs[0], Step(self.forward, settings, i))
        output: Tensor = wrapped
        return output

    def _explain(self, error: Exception, inputs: Sequence[Any], arrays: Sequence[Any]) -> None:
        """Raise a clearer error for one of the array library, if its cause is known."""
        if isinstance(error, ValueError | RuntimeError) and _NO_BROADCAST.search(str(error)):
            raise ShapeError(f"{self.name}: {_mismatch(arrays, error)}") from error
        if isinstance(error, TypeError | AttributeError) and any(
            x is None for x in inputs[: self._required]
        ):
            raise TypeError(f"{self.name} takes tensors and numbers, not None") from error

    def _in_float32(
        self, inputs: Sequence[Any], arrays: Sequence[Any], settings: dict[str, Any], dtype: Any
    ) -> "Tensor":
        """The op computed in float32 and rounded to `dtype`, float16; the casts have gradients.

        Args:
            arrays: the inputs as arrays, cast to float32; used for inputs that are no tensors.
        """
        pairs = zip(inputs, arrays, strict=True)
        wide = [_cast(x, "float32") if isinstance(x, Variable) else a for x, a in pairs]
        output: Tensor = _cast(self(*wide, **settings), dtype)
        return output


class Composite:
    """A function of tensors, written with ops, that a backend may compute with one fused kernel.

    Created by the decorator `composite`. A backend's kernel of that name replaces forward and
    gradient. It returns NotImplemented for arguments that it does not support; for these, as on
    backends without the kernel, the function runs op by op.
    """

    def __init__(
        self,
        function: Callable[..., "Tensor"],
        promote: str | None = None,
        keep: Sequence[str] = (),
    ) -> None:
        self.name: str = function.__name__
        self.promote, self._keep = promote, _positions(function, promote, keep, first=0)
        self.function = function
        self.__doc__ = function.__doc__
        self.__name__ = self.name
        self.__module__ = function.__module__
        self.__wrapped__ = function
        self._own = is_own(function)
        self._settled: Any = None  # a floating dtype: tensors of it need no promotion
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
        if self.promote is not None:
            settled = self._settled
            for variable in variables:
                if variable._array.dtype is not settled:
                    arrays, result_dtype = _promote(self, arrays, variables, backend)
                    if result_dtype is not None:  # float16: the function's ops compute in float32
                        return self.function(*inputs, **settings)
                    break
        warnings = ignore()
        try:
            outputs = kernel.forward(backend.xp, *arrays, **settings)
        finally:
            restore(warnings)
        if outputs is NotImplemented:
            return self.function(*inputs, **settings)
        output: Tensor = _wrap_outputs(self.name, kernel, inputs, variables, *outputs)
        return output


# What array libraries raise for shapes and keys that do not fit.
MISFIT = (ValueError, TypeError, RuntimeError, IndexError)
_NO_BROADCAST = re.compile("broadcast|size of tensor")  # of NumPy, CuPy and JAX; of PyTorch


def _mismatch(arrays: Sequence[Any], error: Exception) -> str:
    """Name the shapes of inputs that do not broadcast; else return the error of the op's code."""
    shapes = [tuple(a.shape) for a in arrays if hasattr(a, "shape")]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return f"the shapes {' and '.join(map(str, shapes))} do not broadcast"
    return str(error)


def _promote(
    op: Op | Composite, arrays: list[Any], variables: list[Variable], backend: Backend
) -> tuple[list[Any], Any]:
    """The arrays cast to the dtype to compute in; the result's dtype if it is another."""
    assert op.promote is not None
    promoted, dtype, result_dtype = promote_arrays(backend.xp, arrays, op.promote, op._keep)
    if is_floating(dtype) and all(v._array.dtype == dtype for v in variables):
        op._settled = variables[0]._array.dtype
    return promoted, result_dtype


OPS: dict[str, Op] = {}  # the ops of this package
COMPOSITES: dict[str, Composite] = {}  # the composites of this package


@overload
def op(forward: Callable[..., Any], /) -> Op: ...
@overload
def op(
    *, promote: str | None = None, keep: Sequence[str] = (), view: bool = False
) -> Callable[[Callable[..., Any]], Op]: ...
def op(
    forward: Callable[..., Any] | None = None,
    /,
    *,
    promote: str | None = None,
    keep: Sequence[str] = (),
    view: bool = False,
) -> Any:
    """Declare an op: a decorator for its forward.

    Args:
        forward: ``forward(xp, *arrays, **settings) -> (result, saved)``.
        promote: how the arrays are cast before the call, one of `promotion.MODES`: "float" for an
            op that needs floats, "common" for one that also takes integers. By default no array is
            cast.
        keep: names of arrays that do not determine the dtype, and that are left as they are if they
            are integers or booleans, such as ids or a mask.
        view: whether the result is a view of the first array, as far as the library can make one:
            where arrays are immutable, writes to either are then seen by the other.

    >>> from tinytorch import Tensor
    >>> from tinytorch.ops.op import op
    >>> @op(promote="float")
    ... def cube(xp, x):
    ...     return x * x * x, (x,)
    >>> @cube.gradient
    ... def cube_gradient(xp, g, x):
    ...     return g * 3 * x * x
    >>> cube(Tensor([1, 2]))
    Tensor([1., 8.])
    """
    if forward is None:
        return lambda function: Op(function, promote, keep, view)
    return Op(forward)


@overload
def composite(function: Callable[..., "Tensor"], /) -> Composite: ...
@overload
def composite(
    *, promote: str | None = None, keep: Sequence[str] = ()
) -> Callable[[Callable[..., "Tensor"]], Composite]: ...
def composite(
    function: Callable[..., "Tensor"] | None = None,
    /,
    *,
    promote: str | None = None,
    keep: Sequence[str] = (),
) -> Any:
    """Declare a composite: a decorator for a function of tensors. Its arguments are those of `op`;
    only a kernel's arrays are cast.
    """
    if function is None:
        return lambda f: Composite(f, promote, keep)
    return Composite(function)


def unwrap(name: str, inputs: Sequence[Any]) -> tuple[list[Any], list[Variable], Backend]:
    """The inputs as arrays, the tensors among them, and the backend of these tensors."""
    arrays: list[Any] = []
    variables: list[Variable] = []
    backend: Backend | None = None
    foreign = False
    for value in inputs:
        if isinstance(value, Variable):
            variables.append(value)
            arrays.append(value._array)
            if value._backend is not backend:
                if backend is not None:
                    raise _mixed_backends(name, backend, value._backend)
                backend = value._backend
        else:
            arrays.append(value)
            foreign = foreign or type(value) not in _PLAIN
    if backend is None:
        given = type(inputs[0]).__name__ if inputs else "no arguments"
        raise TypeError(f"{name} takes tensors, not {given}")
    if foreign:
        tensor = variables[0]
        for i, value in enumerate(inputs):
            if not isinstance(value, Variable):
                arrays[i] = _native(name, value, tensor)
                if type(arrays[i]) not in _NUMBERS:  # an array counts as a tensor from here on
                    variables.append(wrap_array(tensor._result_class, arrays[i], backend))
    return arrays, variables, backend


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_PLAIN = {int, float, NoneType}
_NUMBERS = {int, float, bool, NoneType}


def _cast(value: Any, dtype: Any) -> Any:
    """A floating tensor, or several, as `dtype`; another one as it is."""
    if isinstance(value, tuple):
        return tuple([_cast(v, dtype) for v in value])
    return OPS["cast"](value, dtype=dtype) if is_floating(value._array.dtype) else value


def _native(name: str, value: Any, like: Variable) -> Any:
    """A NumPy scalar as a Python number; a NumPy array or a list as a new array of the backend."""
    backend = like._backend
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) and like._array.dtype != backend.xp.bool:
        return int(value)  # the standard mixes Python booleans with boolean arrays only
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):  # of a subclass, such as that of x.size
        return int(value) if isinstance(value, int) else float(value)
    try:
        return backend.asarray(value)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def _positions(
    function: Callable[..., Any], promote: str | None, keep: Sequence[str], first: int = 1
) -> frozenset[int]:
    """The positions of the parameters `keep`, where the parameter `first` counts as 0."""
    if promote is not None and promote not in MODES:
        raise ValueError(f"promote must be one of {', '.join(MODES)}, not {promote!r}")
    names = list(inspect.signature(function).parameters) if keep else []
    return frozenset([names.index(name) - first for name in keep])


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
    if kernel.gradient and is_grad_enabled():
        for variable in variables:
            if variable._requires_grad:
                add_node(name, kernel.gradient, kernel.own, backend, inputs, results, saved)
                break
    return outputs


def _wrap(array: Array, variables: list[Variable], backend: Backend) -> Any:
    """Wrap one output array of an op on `variables` in a tensor."""
    if type(array) is not backend.array_type:  # NumPy returns scalars instead of 0-d arrays
        array = backend.xp.asarray(array)
    result = wrap_array(variables[0]._result_class, array, backend)
    if not backend.mutable:
        return result  # the op says which are views
    # A view shares the version counter of the tensor whose memory it uses.
    memory = backend.xp.storage(array)
    for variable in variables:
        other = variable._array
        if other is memory or (memory is not array and backend.xp.storage(other) is memory):
            result._version = variable._version
    return result
