"""Comparisons, logic and bits of each element; they have no gradient."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import DtypeError
from ..autograd import Variable
from ..backends.float_errors import ignored
from ..ops.operators import compare, constant, same_backend
from ..ops.promotion import is_floating
from .conversion import host
from .names import accepts_names

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "eq",
    "equal",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isin",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "not_equal",
    "signbit",
]


def _comparison(method: str, name: str, doc: str) -> "Callable[[Tensor, Any], Tensor]":
    def function(x: "Tensor", other: Any) -> "Tensor":
        return compare(method, x, other)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


eq = _comparison("__eq__", "eq", "x == other, element by element.")
ne = not_equal = _comparison("__ne__", "ne", "x != other, element by element.")
lt = less = _comparison("__lt__", "lt", "x < other, element by element.")
le = less_equal = _comparison("__le__", "le", "x <= other, element by element.")
gt = greater = _comparison("__gt__", "gt", "x > other, element by element.")
ge = greater_equal = _comparison("__ge__", "ge", "x >= other, element by element.")
bitwise_and = _comparison("__and__", "bitwise_and", "x & other, of integers or booleans.")
bitwise_or = _comparison("__or__", "bitwise_or", "x | other, of integers or booleans.")
bitwise_xor = _comparison("__xor__", "bitwise_xor", "x ^ other, of integers or booleans.")
bitwise_left_shift = _comparison("__lshift__", "bitwise_left_shift", "x << other, of integers.")
bitwise_right_shift = _comparison("__rshift__", "bitwise_right_shift", "x >> other, of integers.")


def bitwise_not(x: "Tensor") -> "Tensor":
    """~x, of integers or booleans."""
    return ~x


def _boolean(x: Any, like: "Tensor") -> "Tensor":
    """Which elements of x, a tensor, an array or a number, are not 0."""
    x = same_backend(like, x)
    return x if x.dtype == x._backend.xp.bool else compare("__ne__", x, 0)


@accepts_names()
def logical_not(x: "Tensor") -> "Tensor":
    """Which elements are 0 or False."""
    return ~_boolean(x, x)


@accepts_names()
def logical_and(x: "Tensor", other: Any) -> "Tensor":
    """Whether both are true; numbers are, unless they are 0."""
    return _boolean(x, x) & _boolean(other, x)


@accepts_names()
def logical_or(x: "Tensor", other: Any) -> "Tensor":
    """Whether one or both are true; numbers are, unless they are 0."""
    return _boolean(x, x) | _boolean(other, x)


@accepts_names()
def logical_xor(x: "Tensor", other: Any) -> "Tensor":
    """Whether exactly one is true; numbers are, unless they are 0."""
    return _boolean(x, x) != _boolean(other, x)


def _test(x: "Tensor", name: str, of_integers: bool) -> "Tensor":
    """A test of the standard; integers and booleans all have the result `of_integers`."""
    xp, array = x._backend.xp, x._array
    if not is_floating(array.dtype):
        return constant(x, xp.full(array.shape, of_integers, dtype=xp.bool))
    return constant(x, getattr(xp, name)(array))


@accepts_names()
def isnan(x: "Tensor") -> "Tensor":
    """Which elements are NaN."""
    return _test(x, "isnan", False)


@accepts_names()
def isinf(x: "Tensor") -> "Tensor":
    """Which elements are infinite."""
    return _test(x, "isinf", False)


@accepts_names()
def isfinite(x: "Tensor") -> "Tensor":
    """Which elements are neither infinite nor NaN."""
    return _test(x, "isfinite", True)


def isposinf(x: "Tensor") -> "Tensor":
    """Which elements are positive infinity."""
    return compare("__eq__", x, float("inf"))


def isneginf(x: "Tensor") -> "Tensor":
    """Which elements are negative infinity."""
    return compare("__eq__", x, float("-inf"))


@accepts_names()
def signbit(x: "Tensor") -> "Tensor":
    """Which elements are negative; -0.0 is."""
    if is_floating(x._array.dtype):
        return constant(x, x._backend.xp.signbit(x._array))
    return compare("__lt__", x, 0)


@accepts_names()
@ignored()
def isclose(
    x: "Tensor", other: "Tensor", rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> "Tensor":
    """Whether abs(x - other) <= atol + rtol * abs(other), element by element."""
    other = _same_dtype("isclose", x, other)
    xp, a, b = x._backend.xp, x._array, other._array
    close = compare("__eq__", x, other)._array
    if is_floating(a.dtype) or a.dtype != xp.bool:
        a = a if is_floating(a.dtype) else xp.astype(a, xp.float64)
        b = b if is_floating(b.dtype) else xp.astype(b, xp.float64)
        near: Any = xp.abs(a - b) <= atol + rtol * xp.abs(b)
        close = close | (near & xp.isfinite(a - b) & xp.isfinite(b))
        if equal_nan:
            close = close | (xp.isnan(a) & xp.isnan(b))
    return constant(x, close)


def allclose(
    x: "Tensor", other: "Tensor", rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close; see `isclose`."""
    return bool(host(isclose(x, other, rtol, atol, equal_nan)).all())


def equal(x: "Tensor", other: "Tensor") -> bool:
    """Whether both have one shape and the same elements, as a Python boolean."""
    if not isinstance(other, Variable):
        raise TypeError(f"equal compares two tensors, not {type(other).__name__}")
    same_backend(x, other)
    return x.shape == other.shape and np.array_equal(host(x), host(other))


def isin(x: Any, test_elements: Any, *, invert: bool = False) -> "Tensor":
    """Which elements of x are among `test_elements`; the values are compared on the host."""
    like: Any = x if isinstance(x, Variable) else test_elements
    known = host(same_backend(like, test_elements))
    found = np.isin(host(same_backend(like, x)), known, invert=invert)
    return same_backend(like, np.asarray(found))


def _same_dtype(name: str, x: "Tensor", other: Any) -> "Tensor":
    if not isinstance(other, Variable):
        raise TypeError(f"{name} compares two tensors, not {type(other).__name__}")
    tensor = same_backend(x, other)
    if tensor.dtype != x.dtype:
        raise DtypeError(
            f"{name} needs tensors of one dtype, not {x.dtype} and {tensor.dtype};"
            " cast one of them with to()"
        )
    return tensor
