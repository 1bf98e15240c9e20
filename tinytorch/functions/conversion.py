"""Convert tensors to Python numbers, arrays of other libraries, dtypes and backends."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import ShapeError
from ..autograd import Variable, wrap_array
from ..backends import get
from ..ops import elementwise
from ..ops.dtypes import parse_target, resolve_dtype
from ..ops.promotion import is_floating

if TYPE_CHECKING:
    from ..tensor import Tensor

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


def host(x: Variable) -> np.ndarray[Any, Any]:
    """The values of a tensor in host memory."""
    return x._backend.to_numpy(x._array)


def as_numpy(x: "Tensor", dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
    values = x.numpy()
    if copy or (dtype is not None and values.dtype != dtype):
        if copy is False:
            raise ValueError(f"a {values.dtype} tensor cannot become {dtype} without a copy")
        return values.astype(values.dtype if dtype is None else dtype, copy=True)
    return values


def apply_ufunc(
    x: "Tensor", ufunc: Any, method: str, *inputs: Any, out: Any = None, **keywords: Any
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
    operator = getattr(x, _REFLECTED.get(ufunc.__name__, ""), None)
    if method != "__call__" or keywords or operator is None or inputs[1] is not x:
        raise TypeError(
            f"np.{ufunc.__name__} cannot be applied to a tensor; use a function of tinytorch,"
            " or NumPy on tensor.numpy()"
        )
    result: Tensor = operator(inputs[0])
    return result


def dlpack(x: "Tensor", **keywords: Any) -> Any:
    """Share the memory with another library, whose writes autograd does not detect."""
    return x._array.__dlpack__(**keywords)


def dlpack_device(x: "Tensor") -> Any:
    return x._array.__dlpack_device__()


def item(x: "Tensor") -> Any:
    """The value of a tensor with one element, as a Python number."""
    if x.size != 1:
        raise ShapeError(f"item() needs a tensor with one element, not shape {x.shape}")
    return host(x).item()


def as_float(x: "Tensor") -> float:
    return float(x.item())


def as_int(x: "Tensor") -> int:
    return int(x.item())


def as_bool(x: "Tensor") -> bool:
    if x.size != 1:
        raise ShapeError(
            f"the truth of a tensor of shape {x.shape} is ambiguous; use any() or all()"
        )
    return bool(x.item())


def as_index(x: "Tensor") -> int:
    if x.is_floating_point():
        raise TypeError("only an integer tensor can be used as an index")
    return int(x.item())


def reduce(x: "Tensor") -> Any:
    """Copy and pickle the values, `grad` and the backend's name, but not the graph."""
    if not x.is_leaf:
        raise RuntimeError("a computed tensor cannot be copied or pickled; detach() it first")
    values = type(x), x.numpy(), x._requires_grad, x._grad, x._backend.name
    return _restore, values, getattr(x, "__dict__", None)  # attributes of a subclass


def as_format(x: "Tensor", spec: str) -> str:
    return format(x.item() if spec else str(x), spec)


def to(x: "Tensor", target: Any = None, *, dtype: Any = None, backend: Any = None) -> "Tensor":
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
    backend = x._backend if backend is None else get(backend)
    result = x
    if backend is not x._backend:
        result = x._result_class(host(x), x._requires_grad, backend=backend)
    dtype = resolve_dtype(dtype, backend)
    if dtype is not None and dtype != result.dtype:
        source = result if is_floating(dtype) else result.detach()
        result = elementwise.cast(source, dtype=dtype)
    return result


def _restore(
    cls: type["Tensor"],
    values: np.ndarray[Any, Any],
    requires_grad: bool,
    grad: "Tensor | None",
    backend: str,
) -> "Tensor":
    """Rebuild a tensor from the values that `Tensor.__reduce__` returned."""
    owner = get(backend)
    result = wrap_array(cls, owner.asarray(values), owner)
    result._requires_grad, result._grad = requires_grad, grad
    return result
