"""Lesson 01: what an operator makes of its two sides, whatever each of them is.

An op wants tensors on one backend, of dtypes that the array API can mix. A side of `+`, `@` or
`where` may also be a Python number, a NumPy array or a list, and integers meet floats.
"""

from typing import Any, TypeVar

import numpy as np

from ..autograd import Variable, no_grad, wrap_array
from ..backends.base import Array
from . import elementwise, linalg
from .dtypes import resolve_dtype
from .op import Op, unwrap

T = TypeVar("T", bound=Variable)


def binary(op: Op, x: T, y: Any, to_float: bool = False, reflected: bool = False) -> T:
    """`op` of a tensor and another side, as floats if `to_float`; `reflected`: y is on the left."""
    left: Any = x
    alike = (
        isinstance(y, Variable) and x._backend is y._backend and x._array.dtype == y._array.dtype
    )
    if to_float or not alike:
        left, y = promote(x, _operand(x, y), to_float)
    result: T = op(y, left) if reflected else op(left, y)
    return result


def floating_unary(op: Op, x: T, **settings: Any) -> T:
    """`op` of x; integers are turned into float32 first."""
    result: T = op(x if is_floating(x) else _cast(x, "float32"), **settings)
    return result


def compare(method: str, x: T, other: Any) -> T:
    """An elementwise comparison or logical operator, outside of autograd."""
    with no_grad():
        x, other = promote(x, _operand(x, other))
    if isinstance(other, Variable):
        other = same_backend(x, other)._array
    return plain(x, getattr(x._array, method)(other))


def matmul(x: T, y: Any) -> T:
    """The product of matrices (..., M, K) @ (..., K, N); a vector is one row or one column."""
    y = same_backend(x, y)
    left, right = x._array.shape, y._array.shape
    if not left or not right:
        raise ValueError("matmul needs at least one axis on both sides; use * for scalars")
    inner = right[0] if len(right) == 1 else right[-2]
    if left[-1] != inner:
        raise ValueError(f"matmul cannot multiply {left} by {right}: {left[-1]} != {inner}")
    result: T = linalg.matmul(*promote(x, y))
    return result


def where(condition: T, x: Any, y: Any) -> T:
    """x where the boolean tensor `condition` holds, else y; all three broadcast."""
    like = next((v for v in (x, y) if isinstance(v, Variable)), None)
    if like is None:
        like = x = _tensor(condition, x)
    x, y = promote(_broadcastable(like, x), _broadcastable(like, y))
    result: T = elementwise.where(condition, x, y)
    return result


def maximum(x: T, y: Any) -> T:
    """The larger of both, element by element."""
    return binary(elementwise.maximum, x, _broadcastable(x, y))


def minimum(x: T, y: Any) -> T:
    """The smaller of both, element by element."""
    return binary(elementwise.minimum, x, _broadcastable(x, y))


def promote(x: Any, y: Any, to_float: bool = False) -> tuple[Any, Any]:
    """The mixes of kinds that the standard leaves open, resolved as PyTorch does.

    An integer tensor beside a floating one takes the dtype of the latter; beside a Python float,
    or in a true division, float32. Everything else the standard defines.
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
    """Whether it is a Python float or a tensor of floats."""
    if isinstance(value, Variable):
        return bool(value._backend.xp.isdtype(value._array.dtype, "real floating"))
    return isinstance(value, float)


def same_backend(tensor: T, value: Any) -> T:
    """`value` as a tensor on the backend of `tensor`; a NumPy array or list is copied there."""
    if isinstance(value, Variable) and value._backend is not tensor._backend:
        unwrap("the operation", (tensor, value))  # raises, naming both backends
    home: Any = value if isinstance(value, Variable) else _tensor(tensor, value)
    result: T = home
    return result


def plain(like: T, array: Array) -> T:
    """A tensor around a result that no gradient goes through."""
    if type(array) is not like._backend.array_type:
        array = like._backend.xp.asarray(array)
    result: T = wrap_array(like._result_class, array, like._backend)
    return result


def _operand(like: Variable, value: Any) -> Any:
    """A side of an operator as a tensor or a Python number."""
    if isinstance(value, np.generic):  # a NumPy scalar counts as a Python number
        return value.item()
    return value if isinstance(value, Variable | int | float) else _tensor(like, value)


def _broadcastable(x: Variable, y: Any) -> Any:
    """A scalar as a tensor of x's dtype, for functions that the standard gives arrays only."""
    y = _operand(x, y)
    if isinstance(y, Variable):
        return y
    integer_beside_float = isinstance(y, float) and not is_floating(x)
    return _tensor(x, y, "float32" if integer_beside_float else x._array.dtype)


def _tensor(like: Variable, value: Any, dtype: Any = None) -> Any:
    """A new tensor on the backend of another."""
    return like._result_class(value, dtype=dtype, backend=like._backend)  # type: ignore[call-arg]


def _cast(x: Variable, dtype: Any) -> Any:
    dtype = resolve_dtype(dtype, x._backend)
    return x if x._array.dtype == dtype else elementwise.cast(x, dtype=dtype)
