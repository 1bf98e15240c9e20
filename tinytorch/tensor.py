"""Lesson 01: Tensor, an array that records how it was computed.

Its methods call the ops in `ops/`, where each op is defined together with its gradient. Names and
argument order follow PyTorch, except for `axis` and `keepdims`, the array API's names.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import index
from typing import Any, Self

import numpy as np

from . import autograd
from .arguments import shown
from .autograd import Variable, no_grad, wrap_array
from .backends import Backend, BackendError, get, of
from .backends.arrays import Array, Axis
from .ops import elementwise, movement, reductions
from .ops.dtypes import parse_target, resolve_dtype
from .ops.operators import compare, constant, matmul, same_backend
from .ops.promotion import is_floating

Scalar = int | float | bool

# NumPy's function for an operator -> the method that computes `array operator tensor`.
_REFLECTED = {
    "add": "__radd__",
    "subtract": "__rsub__",
    "multiply": "__rmul__",
    "divide": "__rtruediv__",
    "floor_divide": "__rfloordiv__",
    "remainder": "__rmod__",
    "power": "__rpow__",
    "matmul": "__rmatmul__",
    "equal": "__eq__",
    "not_equal": "__ne__",
    "less": "__gt__",
    "less_equal": "__ge__",
    "greater": "__lt__",
    "greater_equal": "__le__",
    "bitwise_and": "__rand__",
    "bitwise_or": "__ror__",
}


class Tensor(Variable):
    """A multi-dimensional array on one backend that supports automatic differentiation.

    Args:
        data: nested lists, a number, a NumPy array or another tensor. It is always copied, so the
            tensor shares its memory with nothing else.
        requires_grad: whether `backward` computes a gradient for this tensor.
        dtype: a dtype of the backend, or its name. By default, Python floats become float32,
            Python integers int64, and arrays keep their dtype.
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
        backend: str | Backend | None = None,
    ) -> None:
        if isinstance(data, Variable):
            backend = data._backend if backend is None else get(backend)
            data = data._array if backend is data._backend else _host(data)
        self._backend = _infer_backend(data) if backend is None else get(backend)
        self._array = self._backend.asarray(data, dtype=resolve_dtype(dtype, self._backend))
        self._grad = None
        self._node = None
        self._output_nr = 0
        self._version = autograd.Version()
        self._requires_grad = False
        self.requires_grad = requires_grad

    # Attributes

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
            raise TypeError(f"only floating tensors can require a gradient, not {self.dtype}")
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

    @property
    def data(self) -> Array:
        """The backend's array; on NumPy a read-only view of it.

        It is no tensor: it has no `zero_` or `fill_`, and autograd does not detect writes to it,
        which could make gradients wrong. To write, use ``tensor -= values`` or ``tensor[...] =
        values`` under `no_grad`, or assign an array, a tensor or a list of the same shape, or a
        number: ``tensor.data = values`` copies them into the tensor's memory.
        """
        if isinstance(self._array, np.ndarray):
            view = self._array.view()
            view.flags.writeable = False
            return view
        return self._array

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, int | float):
            value = same_backend(self, value, self.dtype)
            if value.shape and value.shape != self.shape:
                raise ValueError(
                    f"data of shape {value.shape} does not fit a tensor of shape {self.shape};"
                    " use tensor[...] = values to broadcast, or create a new tensor"
                )
        with no_grad():
            self[...] = value

    def is_floating_point(self) -> bool:
        return is_floating(self._array.dtype)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor with no axes has no length")
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

    # Conversion

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: a read-only view of host memory, or a copy from a device.

        Use ``.numpy().copy()`` to get a writable array.
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
                raise ValueError(f"a {host.dtype} tensor cannot become {dtype} without a copy")
            return host.astype(host.dtype if dtype is None else dtype, copy=True)
        return host

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **keywords: Any
    ) -> "Tensor":
        """Make ``array + tensor`` the same as ``tensor + array``, with gradients.

        Raises:
            TypeError: another NumPy function was called with a tensor, or ``array += tensor``.
        """
        if out is not None:
            raise TypeError(
                "a NumPy array cannot be updated in place with a tensor: use tensor.numpy(), and"
                " instead of p.data -= lr * p.grad write p -= lr * p.grad under no_grad()"
            )
        operator = getattr(self, _REFLECTED.get(ufunc.__name__, ""), None)
        if method != "__call__" or keywords or operator is None or inputs[1] is not self:
            raise TypeError(
                f"np.{ufunc.__name__} cannot be applied to a tensor; use a function of tinytorch,"
                " or NumPy on tensor.numpy()"
            )
        result: Tensor = operator(inputs[0])
        return result

    def __dlpack__(self, **keywords: Any) -> Any:
        """Share the memory with another library, whose writes autograd does not detect."""
        return self._array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item() needs a tensor with one element, not shape {self.shape}")
        return _host(self).item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return _host(self).tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is ambiguous; use any() or all()"
            )
        return bool(self.item())

    def __index__(self) -> int:
        if self.is_floating_point():
            raise TypeError("only an integer tensor can be used as an index")
        return int(self.item())

    def __reduce__(self) -> Any:
        """Copy and pickle the values, `grad` and the backend's name, but not the graph."""
        if not self.is_leaf:
            raise RuntimeError("a computed tensor cannot be copied or pickled; detach() it first")
        values = type(self), self.numpy(), self._requires_grad, self._grad, self._backend.name
        return _restore, values, getattr(self, "__dict__", None)  # attributes of a subclass

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec else str(self), spec)

    def to(self, target: Any = None, *, dtype: Any = None, backend: Any = None) -> "Tensor":
        """Cast this tensor to a dtype, copy it to a backend, or both.

        Gradients flow through a cast to floats. A tensor on another backend is a new leaf.

        Args:
            target: a dtype or a backend, or the name of one.
            dtype: a dtype or its name.
            backend: a backend or its name.

        Returns:
            This tensor itself if it has that dtype and backend already.

        >>> from tinytorch import Tensor
        >>> Tensor([1, 2]).to("float64")
        Tensor([1., 2.], dtype=float64)
        >>> Tensor([1, 2]).to(dtype="int32", backend="numpy")
        Tensor([1, 2], dtype=int32)
        """
        dtype, backend = parse_target(target, dtype, backend)
        backend = self._backend if backend is None else get(backend)
        result = self
        if backend is not self._backend:
            result = Tensor(_host(self), self._requires_grad, backend=backend)
        dtype = resolve_dtype(dtype, backend)
        if dtype is not None and dtype != result.dtype:
            source = result if is_floating(dtype) else result.detach()
            result = elementwise.cast(source, dtype=dtype)
        return result

    # Autograd

    def backward(self, gradient: "Tensor | None" = None, retain_graph: bool = False) -> None:
        """Add the gradients of this tensor to `grad` of every leaf that requires one.

        Args:
            gradient: of the loss with respect to this tensor, with its shape; by default 1, for a
                tensor with one element.
            retain_graph: keep the saved values, so that backward can be called again.

        Raises:
            RuntimeError: this tensor does not require a gradient, the graph was freed by an
                earlier backward, a tensor that a gradient needs was modified in place, or
                `gradient` is missing for a tensor with several elements.
        """
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
        autograd.backward(self, array, retain_graph)

    def detach(self) -> "Tensor":
        """A tensor with the same memory and version counter, outside the graph."""
        result = wrap_array(Tensor, self._array, self._backend)
        result._version = self._version
        return result

    def clone(self) -> "Tensor":
        """A copy; gradients flow through it."""
        return elementwise.copy(self)

    def requires_grad_(self, value: bool = True) -> Self:
        """Set `requires_grad` in place and return the tensor."""
        self.requires_grad = value
        return self

    def zero_grad(self) -> None:
        """Set `grad` to None."""
        self._grad = None

    # In-place writes

    def __setitem__(self, key: Any, value: Any) -> None:
        if autograd.is_grad_enabled():
            if self._requires_grad:
                raise RuntimeError(
                    "in-place writes have no gradient; write under no_grad(), or compute a new"
                    " tensor with where()"
                )
            if isinstance(value, Tensor) and value._requires_grad:
                raise RuntimeError(
                    "an in-place write would lose the gradient of the value; detach() it, or use"
                    " where(), concat() or stack()"
                )
        key = self._key(key)
        if not isinstance(value, int | float):
            value = same_backend(self, value, self.dtype).detach().to(self.dtype)._array
            if value.size == 1:  # fits wherever it goes, also where x[key] has fewer axes
                value = self._backend.xp.reshape(value, ())
        self._write(key, value)

    def _write(self, key: Any, value: Any) -> None:
        """Write an array or a number to the memory of this tensor; counts as an in-place write."""
        if not self._backend.is_writable(self._array):
            raise ValueError("an expanded or read-only tensor cannot be written to; clone() it")
        try:
            # A library with immutable arrays returns a new one.
            self._array = self._backend.xp.index_set(self._array, key, value)
        except (IndexError, ValueError) as error:
            kind = IndexError if isinstance(error, IndexError) else ValueError
            raise kind(f"cannot assign to x[key], x of shape {self.shape}: {error}") from None
        self._version.count += 1

    def _update(self, result: "Tensor") -> Self:
        """Store `result`, which an in-place operator computed from this tensor, in this tensor.

        Without a gradient, it is written to this tensor's memory, so that views see it too. In the
        graph, this tensor becomes `result`, with its memory and its node, so that values that a
        gradient needs stay as they were. Views would not see that, so they are an error.

        Raises:
            RuntimeError: this tensor is a leaf that requires a gradient, or a view of a tensor, or
                the tensor of a view, that is in use.
            TypeError: `result` is floating and this tensor is not, or it is boolean.
            ValueError: `result` has another shape, because the operand has more axes or elements.
        """
        if result.shape != self.shape:
            raise ValueError(
                f"an in-place operator cannot change the shape {self.shape} to {result.shape};"
                " write x = x + y instead of x += y"
            )
        if result.dtype != self.dtype:
            if _kind(result) > _kind(self):
                raise TypeError(
                    f"an in-place operator cannot store {result.dtype} in a tensor of {self.dtype};"
                    " write x = x + y instead of x += y"
                )
            result = elementwise.cast(result, dtype=self.dtype)
        if not (autograd.is_grad_enabled() and (self._requires_grad or result._requires_grad)):
            self._write(..., result._array)
            return self
        if self._requires_grad and self._node is None:
            raise RuntimeError(
                "a leaf that requires a gradient cannot be updated in place, which has no gradient;"
                " update it under no_grad(), or write x = x + y instead of x += y"
            )
        # The count includes the reference that is passed to getrefcount.
        if sys.getrefcount(self._version) > 2:
            raise RuntimeError(
                "an in-place operator with a gradient cannot update a tensor that shares its memory"
                " with a view or detach() of it; write x = x + y instead of x += y, or where(...)"
            )
        self._array, self._version = result._array, result._version
        self._node, self._output_nr = result._node, result._output_nr
        self._requires_grad = result._requires_grad
        return self

    def __iadd__(self, other: Any) -> Self:
        return self._update(self + other)

    def __isub__(self, other: Any) -> Self:
        return self._update(self - other)

    def __imul__(self, other: Any) -> Self:
        return self._update(self * other)

    def __itruediv__(self, other: Any) -> Self:
        return self._update(self / other)

    def __ipow__(self, other: Any) -> Self:
        return self._update(self**other)

    def __iand__(self, other: Any) -> Self:
        return self._update(self & other)

    def __ior__(self, other: Any) -> Self:
        return self._update(self | other)

    # x @= y is x = x @ y, which may change the shape, as in PyTorch.

    add_, sub_, mul_, div_, pow_ = __iadd__, __isub__, __imul__, __itruediv__, __ipow__

    def clamp_(self, min: float | None = None, max: float | None = None) -> Self:
        """Limit each element to [min, max] in place.

        Raises:
            ValueError: there is neither a minimum nor a maximum.
        """
        if min is None and max is None:
            raise ValueError("clamp_ needs a minimum or a maximum")
        return self._update(self.clip(min, max))

    def _set_array(self, array: Array) -> None:
        """Replace the array by one of the same shape and backend; counts as an in-place write."""
        self._array = array
        self._version.count += 1

    def copy_(self, source: Any) -> Self:
        """Set all elements to `source`, broadcast to this tensor's shape."""
        self[...] = source
        return self

    def fill_(self, value: Scalar) -> Self:
        """Set every element to `value`."""
        self[...] = value
        return self

    def zero_(self) -> Self:
        """Set every element to 0."""
        return self.fill_(0)

    def _key(self, key: Any) -> Any:
        """`key` with tensors, lists and NumPy arrays copied to arrays of the backend.

        They are copied because the gradient uses them later, and they may have changed by then.
        """
        if isinstance(key, slice | int):
            return key
        if isinstance(key, tuple):
            return tuple([self._key(k) for k in key])
        if isinstance(key, Tensor):
            same_backend(self, key)
            if key.is_floating_point():
                raise IndexError(
                    "an index must have an integer or boolean dtype, not a floating one"
                )
            return self._backend.xp.asarray(key._array, copy=True)
        if isinstance(key, list | np.ndarray):
            return self._backend.asarray(_index_array(key))
        if key is None or key is ... or isinstance(key, np.integer | np.bool_):
            return key
        raise IndexError(f"a tensor cannot be indexed with {type(key).__name__} {shown(key)}")

    def __getitem__(self, key: Any) -> "Tensor":
        """x[key], by NumPy's rules.

        Args:
            key: integers, slices, None, `...`, integer arrays and boolean masks, or a tuple of
                them. Slices and integers give a view, arrays and masks a copy.

        An integer next to an array counts as an array, as in NumPy: for x (4, 5, 6),
        ``x[0, :, [1, 2]]`` is (2, 5), where PyTorch has (5, 2).
        """
        return movement.getitem(self, key=self._key(key))

    # Arithmetic

    def __add__(self, other: Any) -> "Tensor":
        return elementwise.add(self, other)

    def __radd__(self, other: Any) -> "Tensor":
        return elementwise.add(other, self)

    def __sub__(self, other: Any) -> "Tensor":
        return elementwise.subtract(self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return elementwise.subtract(other, self)

    def __mul__(self, other: Any) -> "Tensor":
        return elementwise.multiply(self, other)

    def __rmul__(self, other: Any) -> "Tensor":
        return elementwise.multiply(other, self)

    def __truediv__(self, other: Any) -> "Tensor":
        return elementwise.divide(self, other)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return elementwise.divide(other, self)

    def __pow__(self, other: Any) -> "Tensor":
        return elementwise.power(self, other)

    def __rpow__(self, other: Any) -> "Tensor":
        return elementwise.power(other, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return matmul(other, self)

    def __neg__(self) -> "Tensor":
        return elementwise.negative(self)

    def __abs__(self) -> "Tensor":
        return self.abs()

    def matmul(self, other: Any) -> "Tensor":
        return matmul(self, other)

    def exp(self) -> "Tensor":
        return elementwise.exp(self)

    def log(self) -> "Tensor":
        return elementwise.log(self)

    def sqrt(self) -> "Tensor":
        return elementwise.sqrt(self)

    def sin(self) -> "Tensor":
        return elementwise.sin(self)

    def cos(self) -> "Tensor":
        return elementwise.cos(self)

    def abs(self) -> "Tensor":
        return elementwise.abs(self)

    def clip(self, min: float | None = None, max: float | None = None) -> "Tensor":
        """Limit each element to [min, max]; integers with floating limits become float32.

        Limits that are tensors are written ``minimum(maximum(x, low), high)``.
        """
        low, high = _limit(min), _limit(max)
        x = self
        if isinstance(low, float) or isinstance(high, float):
            x = x if x.is_floating_point() else x.to("float32")
        return elementwise.clip(x, min=low, max=high)

    def masked_fill(self, mask: "Tensor", value: float) -> "Tensor":
        """`value` where the boolean `mask` is true, this tensor elsewhere; the dtype stays."""
        fill = same_backend(self, value, self.dtype).to(self.dtype)
        return elementwise.where(mask, fill, self)

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

    # Reductions

    def sum(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return reductions.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return reductions.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> "Tensor":
        return reductions.var(self, axis=axis, correction=correction, keepdims=keepdims)

    def std(self, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> "Tensor":
        return reductions.std(self, axis=axis, correction=correction, keepdims=keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return reductions.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return reductions.min(self, axis=axis, keepdims=keepdims)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return reductions.logsumexp(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int) -> "Tensor":
        return reductions.cumsum(self, axis=axis)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> "Tensor":
        """The index of the largest element along `axis`; the first one of equal elements."""
        return self._choose("argmax", axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> "Tensor":
        """The index of the smallest element along `axis`; the first one of equal elements."""
        return self._choose("argmin", axis, keepdims)

    def _choose(self, name: str, axis: int | None, keepdims: bool) -> "Tensor":
        """argmax or argmin; booleans are compared as integers."""
        axis = reductions.nonempty_axis(name, self._array, axis)
        xp = self._backend.xp
        array = self._array if self.dtype != xp.bool else xp.astype(self._array, xp.uint8)
        return constant(self, getattr(xp, name)(array, axis=axis, keepdims=keepdims))

    def any(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        axes = reductions._axes(self._array, axis)
        return constant(self, self._backend.xp.any(self._array, axis=axes, keepdims=keepdims))

    def all(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        axes = reductions._axes(self._array, axis)
        return constant(self, self._backend.xp.all(self._array, axis=axes, keepdims=keepdims))

    # Shape

    def _axis(self, axis: int) -> int:
        """`axis` as a non-negative number; a scalar is treated as having one axis."""
        count, axis = self.ndim or 1, reductions.axis_index(axis)
        if not -count <= axis < count:
            raise IndexError(f"axis {axis} does not exist in a tensor of shape {self.shape}")
        return axis % count

    def reshape(self, *shape: Any) -> "Tensor":
        """The same elements in another shape; a size of -1 is inferred.

        >>> from tinytorch import zeros
        >>> zeros(6).reshape(2, -1).shape, zeros(6).reshape((3, 2)).shape
        ((2, 3), (3, 2))
        """
        return movement.reshape(self, shape=_sequence(shape))

    view = reshape

    def flatten(self, start: int = 0, end: int = -1) -> "Tensor":
        """Merge the axes from `start` to `end`, inclusive."""
        start, end = self._axis(start), self._axis(end)
        if start > end:
            raise ValueError(f"flatten({start}, {end}): the first axis comes after the last one")
        size = math.prod(self.shape[start : end + 1])
        return self.reshape(*self.shape[:start], size, *self.shape[end + 1 :])

    def permute(self, *axes: Any) -> "Tensor":
        """A view with the axes in the given order."""
        return movement.permute(self, axes=_sequence(axes))

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

    def squeeze(self, axis: int | None = None) -> "Tensor":
        """Remove `axis` if its size is 1, by default all axes of size 1."""
        chosen = range(self.ndim) if axis is None else [self._axis(axis)]
        return self.reshape(*(n for a, n in enumerate(self.shape) if n != 1 or a not in chosen))

    def unsqueeze(self, axis: int) -> "Tensor":
        """Insert an axis of size 1 at position `axis`."""
        if not -self.ndim - 1 <= axis <= self.ndim:
            raise IndexError(
                f"a new axis cannot be inserted at {axis} in a tensor of shape {self.shape}"
            )
        at = axis % (self.ndim + 1)
        return self.reshape(*self.shape[:at], 1, *self.shape[at:])

    def expand(self, *shape: Any) -> "Tensor":
        """A view that repeats axes of size 1 up to `shape`; a size of -1 keeps an axis."""
        sizes = _sequence(shape)
        extra = len(sizes) - self.ndim
        if extra < 0 or -1 in sizes[:extra] or min(sizes, default=0) < -1:
            raise ValueError(f"a tensor of shape {self.shape} cannot be expanded to {sizes}")
        target = tuple(self.shape[a - extra] if n == -1 else n for a, n in enumerate(sizes))
        return movement.broadcast_to(self, shape=target)

    def split(self, sizes: int | Sequence[int], axis: int = 0) -> "tuple[Tensor, ...]":
        """Split along `axis` into pieces of one size (the last may be smaller) or given sizes."""
        if not self.shape:
            raise ValueError("a tensor without axes cannot be split")
        axis = self._axis(axis)
        length = self.shape[axis]
        if not isinstance(sizes, list | tuple):
            size = index(sizes)  # type: ignore[arg-type]
            if size < 0 or (size == 0 and length > 0):
                raise ValueError(f"split({size}): the size of a piece must be at least 1")
            sizes = [min(size, length - start) for start in range(0, length, size or 1)] or [0]
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
    """Rebuild a tensor from the values that `Tensor.__reduce__` returned."""
    owner = get(backend)
    result = wrap_array(cls, owner.asarray(values), owner)
    result._requires_grad, result._grad = requires_grad, grad
    return result


def _infer_backend(data: Any) -> Backend:
    """The backend whose array `data` is; the default backend for host data."""
    if hasattr(data, "__dlpack__") and not isinstance(data, np.ndarray | np.generic):
        with suppress(BackendError):  # an array of another library
            return of(data)
    return get(None)


def _kind(tensor: Tensor) -> int:
    """0 for booleans, 1 for integers, 2 for floats; a tensor cannot store a higher kind."""
    return 2 if is_floating(tensor.dtype) else int(tensor.dtype != tensor._backend.xp.bool)


def _host(variable: Variable) -> np.ndarray[Any, Any]:
    return variable._backend.to_numpy(variable._array)


def _limit(value: Any) -> int | float | None:
    """A limit of clip as a Python number; NumPy scalars and tensors of one element are read."""
    if getattr(value, "size", 0) == 1:
        value = value.item()
    if value is None or isinstance(value, int | float):
        return value
    raise TypeError(
        f"clip needs numbers as min and max, not {type(value).__name__};"
        " with tensors write minimum(maximum(x, low), high)"
    )


def _sequence(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """The sizes of ``f(2, 3)`` or of ``f((2, 3))``."""
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    try:
        return tuple(map(index, sizes))
    except TypeError:
        raise TypeError(
            f"a shape consists of integers, not {shown(sizes)}; dtype and backend are given by"
            " keyword, as in zeros(2, 3, dtype='float64')"
        ) from None


def _is_numeric(value: Any) -> bool:
    """Whether `value` can be an operand: a number, an array or a tensor, or a list of them."""
    kinds = (Variable, int, float, np.generic, list, tuple)
    return isinstance(value, kinds) or hasattr(value, "__dlpack__")


def _index_array(key: Any) -> np.ndarray[Any, Any]:
    """A list or an array as an array of indices or a mask."""
    try:
        array = np.asarray(key, dtype=np.int64 if isinstance(key, list) and not key else None)
    except ValueError:
        raise IndexError(
            f"a tensor cannot be indexed with the irregular list {shown(key)}"
        ) from None
    if array.dtype.kind not in "biu":
        raise IndexError(f"an index must have an integer or boolean dtype, not {array.dtype}")
    return array


def _check_matches(tensor: Tensor, other: Any, what: str) -> None:
    if not isinstance(other, Tensor):
        raise TypeError(f"{what} must be a Tensor, not {type(other).__name__}")
    if other.shape != tensor.shape:
        raise ValueError(f"{what} has shape {other.shape}, its tensor {tensor.shape}")
    if other._backend is not tensor._backend:
        raise ValueError(
            f"{what} is on {other.backend.name!r}, its tensor on {tensor.backend.name!r}"
        )


# Functions of tensors


def concat(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors along an existing axis: ``concat([x, y])``."""
    return movement.concat(*_several("concat", tensors), axis=_index("concat", axis))


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis: ``stack([x, y])``."""
    return movement.stack(*_several("stack", tensors), axis=_index("stack", axis))


def _several(name: str, tensors: Any) -> list[Any]:
    if isinstance(tensors, Variable | np.ndarray):
        raise TypeError(f"{name} takes a list of tensors: {name}([x, y])")
    several = list(tensors)
    if not several:
        raise ValueError(f"{name} needs at least one tensor")
    if any(tensor is None for tensor in several):
        raise TypeError(f"{name} takes tensors, not None")
    return several


def _index(name: str, axis: Any) -> int:
    if isinstance(axis, Variable | bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"{name} takes a list of tensors and an axis: {name}([x, y], axis=0)")
    return index(axis)


def zeros(*shape: Any, dtype: Any = "float32", backend: Any = None, **keywords: Any) -> Tensor:
    """A tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    return _filled("zeros", shape, dtype, backend, **keywords)


def ones(*shape: Any, dtype: Any = "float32", backend: Any = None, **keywords: Any) -> Tensor:
    """A tensor of ones: ``ones(2, 3)`` or ``ones((2, 3))``."""
    return _filled("ones", shape, dtype, backend, **keywords)


def _filled(
    name: str, shape: tuple[Any, ...], dtype: Any, backend: Any, requires_grad: bool = False
) -> Tensor:
    backend, sizes = get(backend), _sequence(shape)
    if min(sizes, default=0) < 0:
        raise ValueError(f"{name}{sizes}: a size cannot be negative")
    array = getattr(backend.xp, name)(sizes, dtype=resolve_dtype(dtype, backend))
    result = wrap_array(Tensor, array, backend)
    result.requires_grad = requires_grad
    return result


def from_dlpack(source: Any, backend: str | Backend | None = None) -> Tensor:
    """A tensor that shares the memory of another library's array, through DLPack.

    Args:
        source: an object with ``__dlpack__`` on the device of `backend`.
        backend: the backend of the tensor; the default backend if None.
    """
    backend = get(backend)
    return wrap_array(Tensor, backend.xp.from_dlpack(source), backend)
