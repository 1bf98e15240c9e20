"""Lesson 01: type promotion for operators.

An op takes tensors on one backend, with dtypes that the array API can mix. An operand of `+`, `@`
or `where` may also be a Python number, a NumPy array or a list, and integers may be mixed with
floats: the functions in this file convert such operands before they call the op.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Variable, no_grad, wrap_array
from ..backends.base import Array
from . import elementwise, linalg
from .dtypes import resolve_dtype
from .op import Op, unwrap

if TYPE_CHECKING:
    from ..tensor import Tensor


def binary(
    op: Op, x: "Tensor", y: Any, to_float: bool = False, reflected: bool = False
) -> "Tensor":
    """op(x, y), or op(y, x) if `reflected`; two integer operands become floats if `to_float`."""
    left: Any = x
    alike = (
        isinstance(y, Variable) and x._backend is y._backend and x._array.dtype == y._array.dtype
    )
    if to_float or not alike:
        left, y = promote(x, _operand(x, y), to_float)
    return op(y, left) if reflected else op(left, y)


def floating_unary(op: Op, x: "Tensor", **settings: Any) -> "Tensor":
    """op(x), with integers cast to float32 first."""
    return op(x if is_floating(x) else _cast(x, "float32"), **settings)


def compare(method: str, x: "Tensor", other: Any) -> "Tensor":
    """Apply `method`, a comparison or logical operator of arrays, to x and `other`; no gradient."""
    with no_grad():
        x, other = promote(x, _operand(x, other))
    if isinstance(other, Variable):
        other = same_backend(x, other)._array
    return constant(x, getattr(x._array, method)(other))


def matmul(x: "Tensor", y: Any) -> "Tensor":
    """The matrix product (..., M, K) @ (..., K, N); a vector counts as one row or one column.

    Raises:
        ValueError: an operand has no axes, or the inner sizes differ.

    >>> from tinytorch import Tensor, matmul
    >>> matmul(Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([1.0, 1.0]))
    Tensor([3., 7.])
    """
    y = same_backend(x, y)
    left, right = x._array.shape, y._array.shape
    if not left or not right:
        raise ValueError("matmul needs operands with at least one axis; use * for scalars")
    inner = right[0] if len(right) == 1 else right[-2]
    if left[-1] != inner:
        raise ValueError(f"matmul cannot multiply {left} by {right}: {left[-1]} != {inner}")
    return linalg.matmul(*promote(x, y))


def where(condition: "Tensor", x: Any, y: Any) -> "Tensor":
    """x where the boolean `condition` is true, else y, element by element; all three broadcast.

    >>> from tinytorch import Tensor, where
    >>> x = Tensor([-1.0, 2.0])
    >>> where(x > 0, x, 0.0)
    Tensor([0., 2.])
    """
    like = next((v for v in (x, y) if isinstance(v, Variable)), None)
    if like is None:
        like = x = _tensor_like(condition, x)
    x, y = promote(_broadcastable(like, x), _broadcastable(like, y))
    return elementwise.where(condition, x, y)


def maximum(x: "Tensor", y: Any) -> "Tensor":
    """The larger of x and y, element by element."""
    return binary(elementwise.maximum, x, _broadcastable(x, y))


def minimum(x: "Tensor", y: Any) -> "Tensor":
    """The smaller of x and y, element by element."""
    return binary(elementwise.minimum, x, _broadcastable(x, y))


def promote(x: Any, y: Any, to_float: bool = False) -> tuple[Any, Any]:
    """Convert x and y to dtypes that the array API can mix, with PyTorch's promotion rules.

    The standard leaves mixing integers with floats undefined. Here an integer tensor takes the
    dtype of a floating tensor; with a Python float, or if `to_float` (true division), it becomes
    float32.
    """
    x_float, y_float = is_floating(x), is_floating(y)
    if x_float is y_float and not (to_float and not x_float):
        return x, y
    floats = (v._array.dtype for v in (x, y) if isinstance(v, Variable) and is_floating(v))
    dtype = next(floats, "float32")

    def cast(value: Any) -> Any:
        return _cast(value, dtype) if isinstance(value, Variable) else value

    return cast(x), cast(y)


def is_floating(value: Any) -> bool:
    """True for a Python float and for a tensor with a floating dtype."""
    if isinstance(value, Variable):
        return value._backend.xp.isdtype(value._array.dtype, "real floating")
    return isinstance(value, float)


def same_backend(tensor: "Tensor", value: Any) -> "Tensor":
    """`value` as a tensor on the backend of `tensor`; a NumPy array or a list is copied there.

    Raises:
        BackendError: `value` is a tensor on another backend.
    """
    if not isinstance(value, Variable):
        return _tensor_like(tensor, value)
    if value._backend is not tensor._backend:
        unwrap("the operation", (tensor, value))  # raises an error that names both backends
    return value  # type: ignore[return-value]


def constant(like: "Tensor", array: Array) -> "Tensor":
    """Wrap an array of like's backend in a tensor outside the graph."""
    if type(array) is not like._backend.array_type:  # a scalar that NumPy returned
        array = like._backend.xp.asarray(array)
    return wrap_array(like._result_class, array, like._backend)


def _operand(like: Variable, value: Any) -> Any:
    """`value` as a tensor or a Python number; a NumPy scalar counts as a Python number."""
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, Variable | int | float) else _tensor_like(like, value)


def _broadcastable(x: Variable, y: Any) -> Any:
    """y as a tensor, for functions that take arrays only; a Python number gets the dtype of x."""
    y = _operand(x, y)
    if isinstance(y, Variable):
        return y
    integer_with_float = isinstance(y, float) and not is_floating(x)
    return _tensor_like(x, y, "float32" if integer_with_float else x._array.dtype)


def _tensor_like(like: Variable, value: Any, dtype: Any = None) -> "Tensor":
    """A new tensor on the backend of `like`."""
    return like._result_class(value, dtype=dtype, backend=like._backend)


def _cast(x: Any, dtype: Any) -> "Tensor":
    dtype = resolve_dtype(dtype, x._backend)
    return x if x._array.dtype == dtype else elementwise.cast(x, dtype=dtype)
