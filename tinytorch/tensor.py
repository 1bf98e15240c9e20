"""Lesson 01: the Tensor, an array that state_names how it was computed.

Its operators call the ops of `elementwise`, `reductions` and `shaping`, where the gradients
stand. Names and argument order are PyTorch's, `axis` and `keepdims` the array API's.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Self

import numpy as np

from . import autograd
from .autograd import Variable, no_grad, wrap_array
from .backends import Backend, BackendError, get, of
from .backends.base import Array
from .ops import elementwise, movement, reductions
from .ops.dtypes import destination, resolve_dtype
from .ops.promotion import (
    binary,
    compare,
    constant,
    floating_unary,
    is_floating,
    matmul,
    promote,
    same_backend,
    where,
)
from .ops.reductions import Axis

Scalar = int | float | bool


class Tensor(Variable):
    """An array of numbers on some backend, with a gradient.

    Args:
        data: nested lists, a number, a NumPy array or another tensor; always copied, so that
            nobody else can write to the tensor's memory.
        requires_grad: record what is computed from it, so that `backward` fills `grad`.
        dtype: a dtype of the backend or its name; without it Python floats become float32,
            Python integers int64, and arrays keep theirs.
        backend: "numpy", "cupy", ...; without it that of `data`, or what TT_BACKEND names.

    Raises:
        TypeError: the data are no numbers, or a gradient is asked for integers.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4., 6.])
    """

    __slots__ = ()
    __array_priority__ = 1000
    __array_ufunc__ = None  # NumPy leaves `array + tensor` to the tensor

    def __init__(
        self,
        data: Any,
        requires_grad: bool = False,
        *,
        dtype: Any = None,
        backend: str | Backend | None = None,
    ) -> None:
        if isinstance(data, Variable):
            backend = data._backend if backend is None else get(backend)
            data = data._array if backend is data._backend else _host(data)
        home = _home(data) if backend is None else get(backend)
        self._array = home.asarray(data, dtype=resolve_dtype(dtype, home))
        self._backend = home
        self._grad = None
        self._node = None
        self._output_nr = 0
        self._version = autograd.Version()
        self._requires_grad = False
        self.requires_grad = requires_grad

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._array.shape)

    @property
    def ndim(self) -> int:
        return len(self._array.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self._array.shape)

    @property
    def dtype(self) -> Any:
        return self._array.dtype

    @property
    def backend(self) -> Backend:
        return self._backend

    @property
    def T(self) -> "Tensor":  # noqa: N802
        """The transpose of a matrix; of more axes, with their order reversed."""
        return self.permute(*reversed(range(self.ndim)))

    @property
    def mT(self) -> "Tensor":  # noqa: N802
        """The last two axes exchanged."""
        return self.transpose(-2, -1)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op computed it."""
        return self._node is None

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and not self.is_floating_point():
            raise TypeError(f"only floating tensors have gradients, not {self.dtype}")
        if not self.is_leaf and not value:
            raise RuntimeError("a computed tensor cannot stop requiring a gradient; use detach()")
        self._requires_grad = bool(value)

    @property
    def grad(self) -> "Tensor | None":
        """The gradient that `backward` has summed here, None before."""
        return self._grad

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if value is not None:
            _check_fits(self, value, "a gradient")
        self._grad = value

    @property
    def data(self) -> Array:
        """The backend's array behind it, on NumPy as a read-only view.

        Writing behind autograd's back would make wrong gradients. Write with
        ``tensor[...] = values`` under `no_grad`, or set ``tensor.data = array``.
        """
        if isinstance(self._array, np.ndarray):
            view = self._array.view()
            view.flags.writeable = False
            return view
        return self._array

    @data.setter
    def data(self, value: Any) -> None:
        with no_grad():
            self[...] = value

    def is_floating_point(self) -> bool:
        return is_floating(self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no length")
        return self.shape[0]

    def __iter__(self) -> "Iterator[Tensor]":
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        values = np.array2string(_host(self), separator=", ", prefix="Tensor(", threshold=1000)
        notes = []
        if self.dtype != self._backend.xp.float32 and self.dtype != self._backend.xp.int64:
            notes.append(f"dtype={str(self.dtype).rsplit('.', 1)[-1]}")
        if self.size == 0 or self.size > 1000:
            notes.append(f"shape={self.shape}")
        if self._backend.name != "numpy":
            notes.append(f"backend={self._backend.name!r}")
        if self._node is not None:
            notes.append(f"op={self._node.name}")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return f"{type(self).__name__}({', '.join([values, *notes])})"

    # To and from the host

    def numpy(self) -> np.ndarray[Any, Any]:
        """A NumPy array: a read-only view on the host's memory, or a copy from a device.

        Call ``.numpy().copy()`` for one to write to.
        """
        host = _host(self)
        if isinstance(self._array, np.ndarray):
            host = host.view()
            host.flags.writeable = False
        return host

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        host = self.numpy()
        if copy or (dtype is not None and host.dtype != dtype):
            if copy is False:
                raise ValueError(f"no view of a {host.dtype} tensor as {dtype}")
            return host.astype(host.dtype if dtype is None else dtype, copy=True)
        return host

    def __dlpack__(self, **keywords: Any) -> Any:
        """Share the memory with another library; writing to it there is not noticed here."""
        return self._array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item() needs one element, this tensor has shape {self.shape}")
        return _host(self).item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return _host(self).tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is ambiguous: use any() or all()"
            )
        return bool(self.item())

    def __index__(self) -> int:
        if self.is_floating_point():
            raise TypeError("only an integer tensor can be an index")
        return int(self.item())

    def __reduce__(self) -> Any:
        """Copies and pickles hold the values on the host; what was recorded they do not hold."""
        if not self.is_leaf:
            raise RuntimeError("a computed tensor cannot be copied or pickled: detach() it first")
        return _restore, (
            type(self), self.numpy(), self._requires_grad, self._grad, self._backend.name
        )  # fmt: skip

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec else str(self), spec)

    def to(self, target: Any = None, *, dtype: Any = None, backend: Any = None) -> "Tensor":
        """This tensor with another dtype or on another backend.

        Between dtypes the gradient flows; a tensor on another backend is a new leaf.

        >>> x.to("float64"); x.to("cupy"); x.to(dtype="float32", backend="numpy")
        """
        dtype, backend = destination(target, dtype, backend)
        home = self._backend if backend is None else get(backend)
        result = self
        if home is not self._backend:
            result = Tensor(_host(self), self._requires_grad, backend=home)
        dtype = resolve_dtype(dtype, home)
        if dtype is not None and dtype != result.dtype:
            result = elementwise.cast(result, dtype=dtype)
        return result

    # Autograd

    def backward(self, gradient: "Tensor | None" = None, retain_graph: bool = False) -> None:
        """Add the gradients of this tensor to `grad` of every leaf that requires one.

        Args:
            gradient: of the loss with respect to this tensor, of its shape; 1 for a scalar.
            retain_graph: keep the graph, to call backward again.

        Raises:
            RuntimeError: nothing was recorded, the graph was freed, an array that a gradient
                needs was written to, or `gradient` is missing for a tensor that is no scalar.
        """
        if not self._requires_grad:
            raise RuntimeError("backward needs a tensor computed from one with requires_grad=True")
        if gradient is None:
            if self.size != 1:
                raise RuntimeError(
                    f"backward of a tensor of shape {self.shape} needs its gradient; only a"
                    " scalar has a default, 1"
                )
            array = self._backend.xp.ones_like(self._array)
        else:
            _check_fits(self, gradient, "the gradient")
            array = gradient._array
        autograd.backward(self, array, retain_graph)

    def detach(self) -> "Tensor":
        """The same memory, cut off from the graph."""
        result = wrap_array(Tensor, self._array, self._backend)
        result._version = self._version
        return result

    def clone(self) -> "Tensor":
        """A copy through which the gradient flows."""
        return self * 1

    def requires_grad_(self, value: bool = True) -> Self:
        """Set `requires_grad` in place and return the tensor."""
        self.requires_grad = value
        return self

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self._grad = None

    # Writing in place

    def __setitem__(self, key: Any, value: Any) -> None:
        if autograd.is_grad_enabled():
            if self._requires_grad:
                raise RuntimeError(
                    "in-place writes are not recorded: write under no_grad(), or compute a new"
                    " tensor with where()"
                )
            if isinstance(value, Tensor) and value._requires_grad:
                raise RuntimeError(
                    "an in-place write would lose the gradient of the value: detach() it, or"
                    " use where(), concat() or stack()"
                )
        if not isinstance(value, int | float):
            value = same_backend(self, value)._array
            if value.dtype != self.dtype:
                value = self._backend.xp.astype(value, self.dtype)
        self._backend.xp.index_set(self._array, self._key(key), value)
        self._version.count += 1

    def _set_array(self, array: Array) -> None:
        """Hold `array`, of the same shape and backend, instead; counts as an in-place write."""
        self._array = array
        self._version.count += 1

    replace = _set_array

    def copy_(self, source: Any) -> Self:
        """Write `source` over this tensor's elements; the shapes must broadcast."""
        self[...] = source
        return self

    def fill_(self, value: Scalar) -> Self:
        """Write one number to every element."""
        self[...] = value
        return self

    def zero_(self) -> Self:
        """Write 0 to every element."""
        return self.fill_(0)

    def _key(self, key: Any) -> Any:
        """An index with the backend's own arrays in it, copied, so that none can change later."""
        if isinstance(key, slice | int):
            return key
        if isinstance(key, tuple):
            return tuple([self._key(k) for k in key])
        if isinstance(key, Tensor):
            same_backend(self, key)
            if key.is_floating_point():
                raise IndexError("an index must be of integers or booleans, not floats")
            return self._backend.xp.asarray(key._array, copy=True)
        if isinstance(key, list):
            key = np.asarray(key, dtype=None if key else np.int64)
        return self._backend.asarray(key) if isinstance(key, np.ndarray) else key

    def __getitem__(self, key: Any) -> "Tensor":
        return movement.getitem(self, key=self._key(key))

    # Arithmetic

    def __add__(self, other: Any) -> "Tensor":
        return binary(elementwise.add, self, other)

    def __radd__(self, other: Any) -> "Tensor":
        return binary(elementwise.add, self, other, reflected=True)

    def __sub__(self, other: Any) -> "Tensor":
        return binary(elementwise.subtract, self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return binary(elementwise.subtract, self, other, reflected=True)

    def __mul__(self, other: Any) -> "Tensor":
        return binary(elementwise.multiply, self, other)

    def __rmul__(self, other: Any) -> "Tensor":
        return binary(elementwise.multiply, self, other, reflected=True)

    def __truediv__(self, other: Any) -> "Tensor":
        return binary(elementwise.divide, self, other, to_float=True)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return binary(elementwise.divide, self, other, to_float=True, reflected=True)

    def __pow__(self, other: Any) -> "Tensor":
        return binary(elementwise.power, self, other)

    def __rpow__(self, other: Any) -> "Tensor":
        return binary(elementwise.power, self, other, reflected=True)

    def __matmul__(self, other: Any) -> "Tensor":
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return matmul(same_backend(self, other), self)

    def __neg__(self) -> "Tensor":
        return elementwise.negative(self)

    def __abs__(self) -> "Tensor":
        return self.abs()

    def matmul(self, other: Any) -> "Tensor":
        return matmul(self, other)

    def exp(self) -> "Tensor":
        return floating_unary(elementwise.exp, self)

    def log(self) -> "Tensor":
        return floating_unary(elementwise.log, self)

    def sqrt(self) -> "Tensor":
        return floating_unary(elementwise.sqrt, self)

    def sin(self) -> "Tensor":
        return floating_unary(elementwise.sin, self)

    def cos(self) -> "Tensor":
        return floating_unary(elementwise.cos, self)

    def abs(self) -> "Tensor":
        return elementwise.abs(self)

    def clip(self, min: float | None = None, max: float | None = None) -> "Tensor":
        """Each element kept within [min, max]; integers between floats become float32."""
        x = promote(self, next((b for b in (min, max) if is_floating(b)), 0))[0]
        return elementwise.clip(x, min=min, max=max)

    def masked_fill(self, mask: "Tensor", value: float) -> "Tensor":
        """`value` where `mask` holds, this tensor elsewhere."""
        return where(mask, value, self)

    # Comparison: boolean tensors without gradient

    def __eq__(self, other: object) -> "Tensor":  # type: ignore[override]
        return compare("__eq__", self, other)

    def __ne__(self, other: object) -> "Tensor":  # type: ignore[override]
        return compare("__ne__", self, other)

    def __lt__(self, other: Any) -> "Tensor":
        return compare("__lt__", self, other)

    def __le__(self, other: Any) -> "Tensor":
        return compare("__le__", self, other)

    def __gt__(self, other: Any) -> "Tensor":
        return compare("__gt__", self, other)

    def __ge__(self, other: Any) -> "Tensor":
        return compare("__ge__", self, other)

    __hash__ = object.__hash__  # by identity, since == compares elements

    def __invert__(self) -> "Tensor":
        return constant(self, ~self._array)

    def __and__(self, other: Any) -> "Tensor":
        return compare("__and__", self, other)

    def __or__(self, other: Any) -> "Tensor":
        return compare("__or__", self, other)

    __rand__, __ror__ = __and__, __or__

    # Reductions

    def sum(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return reductions.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return floating_unary(reductions.mean, self, axis=axis, keepdims=keepdims)

    def var(self, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> "Tensor":
        return floating_unary(
            reductions.var, self, axis=axis, correction=correction, keepdims=keepdims
        )

    def std(self, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> "Tensor":
        return self.var(axis, correction, keepdims).sqrt()

    def max(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return reductions.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return reductions.min(self, axis=axis, keepdims=keepdims)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return floating_unary(reductions.logsumexp, self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> "Tensor":
        """The index of the largest element, the first of equal ones."""
        return constant(self, self._backend.xp.argmax(self._array, axis=axis, keepdims=keepdims))

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> "Tensor":
        """The index of the smallest element, the first of equal ones."""
        return constant(self, self._backend.xp.argmin(self._array, axis=axis, keepdims=keepdims))

    def any(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return constant(self, self._backend.xp.any(self._array, axis=axis, keepdims=keepdims))

    def all(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return constant(self, self._backend.xp.all(self._array, axis=axis, keepdims=keepdims))

    # Shape

    def _axis(self, axis: int) -> int:
        """`axis` counted from the front; a tensor without axes counts as one number in a row."""
        count = self.ndim or 1
        if not -count <= axis < count:
            raise IndexError(f"axis {axis} does not exist in a tensor of shape {self.shape}")
        return axis % count

    def reshape(self, *shape: Any) -> "Tensor":
        """The same elements in another shape; one size may be -1.

        >>> x.reshape(2, -1); x.reshape((2, 3))
        """
        return movement.reshape(self, shape=_sequence(shape))

    view = reshape

    def flatten(self, start: int = 0, end: int = -1) -> "Tensor":
        """Axes `start` to `end`, both included, as one."""
        start, end = self._axis(start), self._axis(end)
        size = math.prod(self.shape[start : end + 1])
        return self.reshape(*self.shape[:start], size, *self.shape[end + 1 :])

    def permute(self, *axes: Any) -> "Tensor":
        """The axes in another order."""
        return movement.permute(self, axes=_sequence(axes))

    def transpose(self, first: int = 0, second: int = 1) -> "Tensor":
        """Two axes exchanged."""
        axes = list(range(self.ndim))
        try:
            axes[first], axes[second] = axes[second], axes[first]
        except IndexError:
            raise IndexError(
                f"axes {first} and {second} cannot be exchanged in shape {self.shape}"
            ) from None
        return self.permute(*axes)

    def squeeze(self, axis: int | None = None) -> "Tensor":
        """Without `axis`, or without all axes of size 1; another size is left as it is."""
        chosen = range(self.ndim) if axis is None else [self._axis(axis)]
        return self.reshape(*(n for a, n in enumerate(self.shape) if n != 1 or a not in chosen))

    def unsqueeze(self, axis: int) -> "Tensor":
        """With a new axis of size 1 at `axis`."""
        if not -self.ndim - 1 <= axis <= self.ndim:
            raise IndexError(f"no place {axis} for an axis in shape {self.shape}")
        at = axis % (self.ndim + 1)
        return self.reshape(*self.shape[:at], 1, *self.shape[at:])

    def expand(self, *shape: Any) -> "Tensor":
        """Repeated to `shape` without a copy; -1 keeps an axis."""
        sizes = _sequence(shape)
        extra = len(sizes) - self.ndim
        if extra < 0 or -1 in sizes[:extra]:
            raise ValueError(f"a tensor of shape {self.shape} cannot be expanded to {sizes}")
        target = tuple(self.shape[a - extra] if n == -1 else n for a, n in enumerate(sizes))
        return movement.broadcast_to(self, shape=target)

    def split(self, sizes: int | Sequence[int], axis: int = 0) -> "tuple[Tensor, ...]":
        """Pieces along `axis`: of one size (the last may be smaller), or of the sizes given."""
        length = self.shape[axis]
        if isinstance(sizes, int):
            sizes = [min(sizes, length - start) for start in range(0, length, sizes)]
        pieces: Any = movement.split(self, sizes=tuple(sizes), axis=axis)
        return pieces if isinstance(pieces, tuple) else (pieces,)


Tensor._result_class = Tensor


def _restore(
    cls: type[Tensor],
    values: np.ndarray[Any, Any],
    requires_grad: bool,
    grad: Tensor | None,
    backend: str,
) -> Tensor:
    """A tensor from what `Tensor.__reduce__` kept of it."""
    home = get(backend)
    result = wrap_array(cls, home.asarray(values), home)
    result._requires_grad, result._grad = requires_grad, grad
    return result


def _home(data: Any) -> Backend:
    """The backend on whose device `data` lie; the default one for what lies on the host."""
    if hasattr(data, "__dlpack__") and not isinstance(data, np.ndarray | np.generic):
        with suppress(BackendError):  # another library's array
            return of(data)
    return get(None)


def _host(variable: Variable) -> np.ndarray[Any, Any]:
    return variable._backend.to_numpy(variable._array)


def _sequence(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """The sizes of ``f(2, 3)`` or of ``f((2, 3))``."""
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    return tuple(map(int, sizes))


def _check_fits(tensor: Tensor, other: Any, what: str) -> None:
    if not isinstance(other, Tensor):
        raise TypeError(f"{what} must be a Tensor, not {type(other).__name__}")
    if other.shape != tensor.shape:
        raise ValueError(f"{what} of shape {other.shape} does not fit shape {tensor.shape}")
    if other._backend is not tensor._backend:
        raise ValueError(f"{what} is on {other.backend.name!r}, not {tensor.backend.name!r}")


# Functions of tensors


def concat(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors one after the other along an axis that they have."""
    return movement.concat(*tensors, axis=axis)


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors one after the other along a new axis."""
    return movement.stack(*tensors, axis=axis)


def zeros(*shape: Any, dtype: Any = "float32", backend: Any = None, **keywords: Any) -> Tensor:
    """A tensor of zeros."""
    return _filled("zeros", shape, dtype, backend, **keywords)


def ones(*shape: Any, dtype: Any = "float32", backend: Any = None, **keywords: Any) -> Tensor:
    """A tensor of ones."""
    return _filled("ones", shape, dtype, backend, **keywords)


def _filled(
    name: str, shape: tuple[Any, ...], dtype: Any, backend: Any, requires_grad: bool = False
) -> Tensor:
    home = get(backend)
    array = getattr(home.xp, name)(_sequence(shape), dtype=resolve_dtype(dtype, home))
    result = wrap_array(Tensor, array, home)
    result.requires_grad = requires_grad
    return result


def from_dlpack(source: Any, backend: str | Backend | None = None) -> Tensor:
    """A tensor that shares the memory of another library's array, through DLPack.

    Args:
        source: anything with ``__dlpack__``, on the device of `backend`.
        backend: whose arrays the memory becomes; the default backend without it.
    """
    home = get(backend)
    return wrap_array(Tensor, home.xp.from_dlpack(source), home)
