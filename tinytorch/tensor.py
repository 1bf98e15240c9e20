"""Lesson 01: Tensor, an array that records how it was computed.

Its methods call the ops in `ops/`, where each op is defined together with its gradient. Names and
argument order follow PyTorch, except for `axis` and `keepdims`, the array API's names.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import numpy as np

from . import autograd
from .arguments import DtypeError, ShapeError, check_shape, shown
from .autograd import Variable, wrap_array
from .backends import Backend, BackendError, get, of
from .backends.arrays import Array
from .functions.conversion import host, print_options
from .functions.gradients import NO_SECOND
from .functions.names import accepts_names
from .methods import Methods
from .ops import elementwise, movement
from .ops.dtypes import resolve_dtype
from .ops.elementwise import add, divide, multiply, negative, power, subtract
from .ops.op import MISFIT
from .ops.operators import compare, constant, matmul
from .ops.promotion import is_floating
from .ops.views import share

Scalar = int | float | bool


class Arithmetic(Methods):
    """The operators of tensors that call ops of lesson 01."""

    __slots__ = ()

    def __add__(self, other: Any) -> "Tensor":
        return add(self, other)

    def __radd__(self, other: Any) -> "Tensor":
        return add(other, self)

    def __sub__(self, other: Any) -> "Tensor":
        return subtract(self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return subtract(other, self)

    def __mul__(self, other: Any) -> "Tensor":
        return multiply(self, other)

    def __rmul__(self, other: Any) -> "Tensor":
        return multiply(other, self)

    def __truediv__(self, other: Any) -> "Tensor":
        return divide(self, other)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return divide(other, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return matmul(self, other)  # type: ignore[arg-type]

    def __rmatmul__(self, other: Any) -> "Tensor":
        return matmul(other, self)

    def __neg__(self) -> "Tensor":
        return negative(self)


class Tensor(Arithmetic):
    """A multi-dimensional array on one backend that supports automatic differentiation.

    Args:
        data: nested lists, a number, a NumPy array or another tensor. It is always copied, so the
            tensor shares its memory with nothing else.
        requires_grad: whether `backward` computes a gradient for this tensor.
        dtype: a dtype of the backend, or its name. By default, Python floats become float32,
            Python integers int64, and arrays keep their dtype.
        device: "cpu" or "cuda", PyTorch's names, in place of `backend`.
        backend: "numpy", "cupy", ...; by default the backend of `data` if it is on a device, else
            the one that the environment variable TT_BACKEND names.

    Raises:
        TypeError: the data are not numbers, or `requires_grad` is set for integers.

    >>> from tinytorch import Tensor
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4., 6.])
    """

    __slots__ = ()
    __array_priority__ = 1000

    def __init__(
        self,
        data: Any,
        requires_grad: bool = False,
        *,
        dtype: Any = None,
        device: Any = None,
        backend: str | Backend | None = None,
    ) -> None:
        backend = device if backend is None else backend
        if isinstance(data, Variable):
            backend = data._backend if backend is None else get(backend, data._backend)
            data = data._array if backend is data._backend else host(data)
        self._backend = _infer_backend(data) if backend is None else get(backend)
        self._array = self._backend.asarray(data, dtype=resolve_dtype(dtype, self._backend))
        self._grad = None
        self._hooks = None
        self._node = None
        self._output_nr = 0
        self._version = autograd.Version()
        self._requires_grad = False
        if requires_grad is not False:
            self.requires_grad = requires_grad

    # Attributes

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._array.shape)

    @property
    def ndim(self) -> int:
        return len(self._array.shape)

    @property
    def dtype(self) -> Any:
        return self._array.dtype

    @property
    def backend(self) -> Backend:
        return self._backend

    @property
    def T(self) -> "Tensor":  # noqa: N802
        """A view with the order of all axes reversed: the transpose of a matrix."""
        return self.permute(*reversed(range(self.ndim)))

    @property
    def mT(self) -> "Tensor":  # noqa: N802
        """A view with the last two axes swapped: the transpose of each matrix in a stack."""
        return self.transpose(-2, -1)

    @property
    def is_leaf(self) -> bool:
        """True for a tensor that is not the result of an op in the graph."""
        return self._node is None

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool | np.bool_):
            raise TypeError(
                f"requires_grad must be True or False, not {shown(value)}; a dtype is given as"
                " Tensor(data, dtype=...), and zeros(2, 3) is a tensor of that shape"
            )
        if value and not self.is_floating_point():
            raise DtypeError(f"only floating tensors can require a gradient, not {self.dtype}")
        if not self.is_leaf and not value:
            raise RuntimeError("requires_grad of a computed tensor cannot be cleared; use detach()")
        self._requires_grad = bool(value)

    @property
    def grad(self) -> "Tensor | None":
        """The accumulated gradient; None before the first `backward`."""
        return self._grad

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if value is not None:
            _check_matches(self, value, "a gradient")
            if value.dtype != self.dtype:
                raise TypeError(f"a gradient of {value.dtype} cannot be that of a {self.dtype}")
        self._grad = value

    def is_floating_point(self) -> bool:
        return is_floating(self._array.dtype)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor with no axes has no length")
        return self.shape[0]

    def __iter__(self) -> "Iterator[Tensor]":
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        values = np.array2string(host(self), separator=", ", prefix="Tensor(", **print_options)
        notes = []
        if self.dtype != self._backend.xp.float32 and self.dtype != self._backend.xp.int64:
            notes.append(f"dtype={str(self.dtype).rsplit('.', 1)[-1]}")
        if self.size == 0 or self.size > print_options["threshold"]:
            notes.append(f"shape={self.shape}")
        if self._backend.name != "numpy":
            notes.append(f"backend={self._backend.name!r}")
        if self._node is not None:
            notes.append(f"op={self._node.name}")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return f"{type(self).__name__}({', '.join([values, *notes])})"

    # Conversion

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: a read-only view of host memory, or a copy from a device.

        Use ``.numpy().copy()`` to get a writable array.
        """
        values = host(self)
        if isinstance(self._array, np.ndarray):
            values = values.view()
            values.flags.writeable = False
        return values

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return host(self).tolist()

    # Autograd

    def backward(
        self,
        gradient: "Tensor | None" = None,
        retain_graph: bool | None = False,
        create_graph: bool = False,
    ) -> None:
        """Add the gradients of this tensor to `grad` of every leaf that requires one.

        Args:
            gradient: of the loss with respect to this tensor, with its shape; by default 1, for a
                tensor with one element.
            retain_graph: keep the saved values, so that backward can be called again.
            create_graph: not supported.

        Raises:
            RuntimeError: this tensor does not require a gradient, the graph was freed by an
                earlier backward, a tensor that a gradient needs was modified in place, or
                `gradient` is missing for a tensor with several elements.
        """
        if create_graph:
            raise NotImplementedError(NO_SECOND)
        if not self._requires_grad:
            raise RuntimeError("backward needs a tensor computed from one with requires_grad=True")
        if gradient is None:
            if self.size != 1:
                raise RuntimeError(
                    f"backward of a tensor of shape {self.shape} needs its gradient as an argument;"
                    " it defaults to 1 only for a tensor with one element"
                )
            array = self._backend.xp.ones_like(self._array)
        else:
            _check_matches(self, gradient, "the gradient")
            array = gradient._array
        autograd.run_backward(self, array, bool(retain_graph))

    def detach(self) -> "Tensor":
        """A tensor with the same memory and version counter, outside the graph."""
        result = wrap_array(Tensor, self._array, self._backend)
        share(result, self)
        return result

    def clone(self) -> "Tensor":
        """A copy; gradients flow through it."""
        return elementwise.copy(self)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` in place and return the tensor."""
        self.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        """Set `grad` to None."""
        self._grad = None

    # In-place writes

    def _write(self, key: Any, value: Any) -> None:
        """Write an array or a number to the memory of this tensor; counts as an in-place write."""
        if not self._backend.is_writable(self._array):
            raise ValueError("an expanded or read-only tensor cannot be written to; clone() it")
        try:
            array = self._backend.xp.index_set(self._array, key, value)
        except MISFIT as error:
            raise movement.assignment_error(self.shape, value, error) from None
        if array is not self._array and self._backend.mutable:
            raise BackendError(
                f"index_set of backend {self._backend.name!r} returned a new array, which views of"
                " the tensor would not see; it must return x, or set `mutable = False`"
            )
        self._set_array(array)

    def _set_array(self, array: Array) -> None:
        """Replace the array by one of the same shape and backend; counts as an in-place write."""
        if self._version.memory is not None:
            self._version.memory.write(self, array)
        self._array = array
        self._version.count += 1

    # Further arithmetic

    def __pow__(self, other: Any) -> "Tensor":
        return power(self, other)

    def __rpow__(self, other: Any) -> "Tensor":
        return power(other, self)

    def __abs__(self) -> "Tensor":
        return self.abs()

    def matmul(self, other: Any) -> "Tensor":
        return matmul(self, other)

    # Comparison: boolean tensors outside the graph

    # For an operand that is no number, Python then compares by identity: x == None is False.

    def __eq__(self, other: object) -> "Tensor":  # type: ignore[override]
        return compare("__eq__", self, other) if _is_numeric(other) else NotImplemented

    def __ne__(self, other: object) -> "Tensor":  # type: ignore[override]
        return compare("__ne__", self, other) if _is_numeric(other) else NotImplemented

    def __lt__(self, other: Any) -> "Tensor":
        return compare("__lt__", self, other) if _is_numeric(other) else NotImplemented

    def __le__(self, other: Any) -> "Tensor":
        return compare("__le__", self, other) if _is_numeric(other) else NotImplemented

    def __gt__(self, other: Any) -> "Tensor":
        return compare("__gt__", self, other) if _is_numeric(other) else NotImplemented

    def __ge__(self, other: Any) -> "Tensor":
        return compare("__ge__", self, other) if _is_numeric(other) else NotImplemented

    def __contains__(self, value: Any) -> bool:
        """Whether any element equals `value`."""
        return _is_numeric(value) and bool((self == value).any())

    __hash__ = object.__hash__  # by identity, since == compares elements

    def __invert__(self) -> "Tensor":
        if self.is_floating_point():
            raise TypeError("~ needs integers or booleans; compare first, as in ~(x > 0)")
        return constant(self, ~self._array)

    def __and__(self, other: Any) -> "Tensor":
        return compare("__and__", self, other)

    def __or__(self, other: Any) -> "Tensor":
        return compare("__or__", self, other)

    __rand__, __ror__ = __and__, __or__

    # Shape

    def reshape(self, *shape: Any) -> "Tensor":
        """The same elements in another shape; a size of -1 is inferred.

        >>> from tinytorch import zeros
        >>> zeros(6).reshape(2, -1).shape, zeros(6).reshape((3, 2)).shape
        ((2, 3), (3, 2))
        """
        result = movement.reshape(self, shape=check_shape(shape))
        if result._version is self._version and result._requires_grad == self._requires_grad:
            result._view_of = self, "reshape"
        return result

    def permute(self, *axes: Any) -> "Tensor":
        """A view with the axes in the given order."""
        axes = check_shape(axes)
        result = movement.permute(self, axes=axes)
        if result._version is self._version and result._requires_grad == self._requires_grad:
            result._view_of = self, ("permute", *axes)
        return result

    @accepts_names(dim0="first", dim1="second")
    def transpose(self, first: int = 0, second: int = 1) -> "Tensor":
        """A view with two axes swapped."""
        axes = list(range(self.ndim))
        try:
            axes[first], axes[second] = axes[second], axes[first]
        except IndexError:
            raise IndexError(
                f"axes {first} and {second} cannot be swapped in a tensor of shape {self.shape}"
            ) from None
        return self.permute(*axes)


autograd.Variable._result_class = Tensor


def _infer_backend(data: Any) -> Backend:
    """The backend whose array `data` is; the default backend for host data."""
    if hasattr(data, "__dlpack__") and not isinstance(data, np.ndarray | np.generic):
        with suppress(BackendError):  # an array of another library
            return of(data)
    return get(None)


def _is_numeric(value: Any) -> bool:
    """Whether `value` can be an operand: a number, an array or a tensor, or a list of them."""
    kinds = (Variable, int, float, np.generic, list, tuple)
    return isinstance(value, kinds) or hasattr(value, "__dlpack__")


def _check_matches(tensor: Tensor, other: Any, what: str) -> None:
    if not isinstance(other, Tensor):
        raise TypeError(f"{what} must be a Tensor, not {type(other).__name__}")
    if other.shape != tensor.shape:
        raise ShapeError(f"{what} has shape {other.shape}, its tensor {tensor.shape}")
    if other._backend is not tensor._backend:
        raise ValueError(
            f"{what} is on {other.backend.name!r}, its tensor on {tensor.backend.name!r}"
        )
