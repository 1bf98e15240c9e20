"""Lesson 01: what operators do before an op runs, and comparisons, which have no gradient."""

from typing import TYPE_CHECKING, Any

from ..arguments import DtypeError, ShapeError
from ..autograd import Variable, wrap_array
from ..backends.base import Array
from . import linalg
from .op import unwrap
from .promotion import is_floating, promote_arrays

if TYPE_CHECKING:
    from ..tensor import Tensor


def matmul(x: "Tensor", y: Any) -> "Tensor":
    """The matrix product (..., M, K) @ (..., K, N); a vector counts as one row or one column.

    Raises:
        ValueError: an operand has no axes, or the inner sizes differ.

    >>> from tinytorch import Tensor, matmul
    >>> matmul(Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([1.0, 1.0]))
    Tensor([3., 7.])
    """
    x = x if isinstance(x, Variable) else same_backend(y, x)
    y = same_backend(x, y)
    left, right = x._array.shape, y._array.shape
    if not left or not right:
        raise ShapeError("matmul needs operands with at least one axis; use * for scalars")
    inner = right[0] if len(right) == 1 else right[-2]
    if left[-1] != inner:
        raise ShapeError(f"matmul cannot multiply {left} by {right}: {left[-1]} != {inner}")
    return linalg.matmul(x, y)


_ORDER = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">="}
_LOGIC = {"__and__": "&", "__or__": "|", "__xor__": "^", "__lshift__": "<<", "__rshift__": ">>"}
_SYMBOLS = {"__eq__": "==", "__ne__": "!=", **_ORDER, **_LOGIC}


def compare(method: str, x: "Tensor", other: Any) -> "Tensor":
    """Apply `method`, a comparison or logical operator of arrays, to x and `other`; no gradient."""
    (left, right), _, backend = unwrap(_SYMBOLS[method], (x, other))
    xp, is_number = backend.xp, isinstance(right, int | float)
    if left.dtype != (xp.float32 if is_number else right.dtype) or left.dtype == xp.bool:
        mode = "number" if method in _ORDER else "common"  # the standard does not order booleans
        if is_number and method not in _LOGIC:
            mode = "sum"  # int64 can be compared with a number that does not fit a small dtype
        (left, right), *_ = promote_arrays(xp, [left, right], mode)
    if method in _LOGIC and is_floating(left.dtype):
        raise DtypeError(f"{_LOGIC[method]} needs integers or booleans; compare first, as in x > 0")
    if method in ("__lshift__", "__rshift__") and left.dtype == xp.bool:
        raise DtypeError(f"{_LOGIC[method]} needs integers, not booleans")
    return constant(x, getattr(left, method)(right))


def same_backend(tensor: "Tensor", value: Any, dtype: Any = None) -> "Tensor":
    """`value` as a tensor on the backend of `tensor`; a number, an array or a list is copied there.

    A copy has the dtype `dtype`, if it is given.

    Raises:
        BackendError: `value` is a tensor on another backend.
    """
    if not isinstance(value, Variable):
        return tensor._result_class(value, dtype=dtype, backend=tensor._backend)
    if value._backend is not tensor._backend:
        unwrap("the operation", (tensor, value))  # raises an error that names both backends
    return value  # type: ignore[return-value]


def constant(like: "Tensor", array: Array) -> "Tensor":
    """Wrap an array of like's backend in a tensor outside the graph."""
    if type(array) is not like._backend.array_type:  # a scalar that NumPy returned
        array = like._backend.xp.asarray(array)
    return wrap_array(like._result_class, array, like._backend)
