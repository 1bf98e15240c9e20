"""Rounding and division with rounding; the gradient of a rounded number is 0."""

from typing import Any

from ..arguments import DtypeError
from ..backends.base import Array, Namespace
from .elementwise import as_arrays
from .op import op
from .promotion import is_floating


@op(promote="common")
def floor(xp: Namespace, x: Array) -> Any:
    """The largest integer that is not above x, in the dtype of x."""
    return _rounded(xp, "floor", x), ()


@op(promote="common")
def ceil(xp: Namespace, x: Array) -> Any:
    """The smallest integer that is not below x, in the dtype of x."""
    return _rounded(xp, "ceil", x), ()


@op(promote="common")
def trunc(xp: Namespace, x: Array) -> Any:
    """x without its fractional part."""
    return _rounded(xp, "trunc", x), ()


@op(promote="common")
def round(xp: Namespace, x: Array) -> Any:
    """The integer nearest to x; halves are rounded to the even one."""
    return _rounded(xp, "round", x), ()


@op(promote="number")
def sign(xp: Namespace, x: Array) -> Any:
    """-1, 0 or 1; 0 for NaN, as in PyTorch."""
    y = xp.sign(x)
    return xp.where(x != x, xp.zeros_like(x), y) if is_floating(x.dtype) else y, ()


@op(promote="common")
def trunc_divide(xp: Namespace, x: Array | float, y: Array | float) -> Any:
    """x / y rounded towards zero."""
    x, y = as_arrays(xp, x, y)
    if is_floating(x.dtype):
        return xp.trunc(x / y), ()
    if x.dtype == xp.bool:
        raise DtypeError("div with rounding needs numbers, not booleans")
    quotient = xp.abs(x) // xp.abs(y)
    return xp.where((x < 0) ^ (y < 0), -quotient, quotient), ()


@op(promote="common")
def floor_divide(xp: Namespace, x: Array | float, y: Array | float) -> Any:
    """x / y rounded down."""
    x, y = as_arrays(xp, x, y)
    if x.dtype == xp.bool:
        raise DtypeError("// needs numbers, not booleans")
    quotient = x // y
    if is_floating(x.dtype):  # an exact quotient of NumPy, which has NaN where x is infinite
        quotient = xp.where(y == 0, x / y, quotient)
    return quotient, ()


def _zero_gradient(xp: Namespace, g: Array) -> Any:
    return xp.zeros_like(g)


def _zero_gradients(xp: Namespace, g: Array) -> Any:
    return lambda: xp.zeros_like(g), lambda: xp.zeros_like(g)


for _op in (floor, ceil, trunc, round, sign):
    _op.gradient(_zero_gradient)
for _op in (trunc_divide, floor_divide):
    _op.gradient(_zero_gradients)


@op(promote="common")
def remainder(xp: Namespace, x: Array | float, y: Array | float) -> Any:
    """x modulo y, with the sign of y."""
    x, y = as_arrays(xp, x, y)
    if x.dtype == xp.bool:
        raise DtypeError("% needs numbers, not booleans")
    return x % y, (x, y)


@remainder.gradient
def remainder_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    return g, lambda: -g * xp.floor(x / y)


@op(promote="common")
def fmod(xp: Namespace, x: Array | float, y: Array | float) -> Any:
    """x modulo y, with the sign of x, as in C."""
    x, y = as_arrays(xp, x, y)
    if x.dtype == xp.bool:
        raise DtypeError("fmod needs numbers, not booleans")
    size = xp.abs(x) % xp.abs(y)
    return xp.where(x < 0, -size, size), (x, y)


@fmod.gradient
def fmod_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    return g, lambda: -g * xp.trunc(x / y)


def _rounded(xp: Namespace, name: str, x: Array) -> Array:
    """x rounded by a function of the standard; integers are copied."""
    result: Array = getattr(xp, name)(x) if is_floating(x.dtype) else xp.asarray(x, copy=True)
    return result
