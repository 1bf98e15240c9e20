"""Lessons 01 and 06: elementwise ops with broadcasting, each followed by its gradient."""

import math
from typing import Any

from ..backends.base import Array, DType, Namespace
from .op import op


@op(promote="number")
def add(xp: Namespace, x: Array, y: Array) -> Any:
    """x + y."""
    return x + y, ()


@add.gradient
def add_gradient(xp: Namespace, g: Array) -> Any:
    return g, g


@op(promote="common")
def subtract(xp: Namespace, x: Array, y: Array) -> Any:
    """x - y."""
    return x - y, ()


@subtract.gradient
def subtract_gradient(xp: Namespace, g: Array) -> Any:
    return g, lambda: -g


@op(promote="number")
def multiply(xp: Namespace, x: Array, y: Array) -> Any:
    """x * y."""
    return x * y, (x, y)


@multiply.gradient
def multiply_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    return lambda: g * y, lambda: g * x


@op(promote="float")
def divide(xp: Namespace, x: Array, y: Array) -> Any:
    """x / y."""
    return x / y, (x, y)


@divide.gradient
def divide_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    return lambda: g / y, lambda: -g * (x / y / y)  # y * y could overflow or become 0


@op(promote="common")
def negative(xp: Namespace, x: Array) -> Any:
    """-x."""
    return -x, ()


@negative.gradient
def negative_gradient(xp: Namespace, g: Array) -> Any:
    return -g


@op(promote="number")
def power(xp: Namespace, x: Array | float, y: Array | float) -> Any:
    """x ** y."""
    is_square = isinstance(y, int | float) and y == 2  # x * x is many times faster than x**2
    result = x * x if is_square else x**y
    return result, (x, y, result)


@power.gradient
def power_gradient(
    xp: Namespace, g: Array, x: Array | float, y: Array | float, result: Array
) -> Any:
    def base_gradient() -> Array:
        if isinstance(y, int | float):
            if y == 0:  # x**0 is constant; at x = 0 the formula would give 0 * inf
                return xp.zeros_like(g)
            return g * y * (x if y == 2 else x ** (y - 1))
        constant = y == 0
        slope = y * x ** xp.where(constant, xp.ones_like(y), y - 1)
        return g * xp.where(constant, xp.zeros_like(slope), slope)

    def exponent_gradient() -> Array:
        # At x = 0 the formula gives 0 * -inf; its limit is 0 for exponents from 0.
        if isinstance(x, int | float):
            if x == 0:
                positive: Any = y >= 0
                return g * xp.where(positive, xp.zeros_like(result), -result)
            return g * result * (math.log(x) if x > 0 else math.nan)
        constant: Any = (x == 0) & (y >= 0)
        return g * xp.where(constant, xp.zeros_like(result), result * xp.log(x))

    return base_gradient, exponent_gradient


@op(promote="float")
def exp(xp: Namespace, x: Array) -> Any:
    """e to the power of x."""
    y = xp.exp(x)
    return y, (y,)


@exp.gradient
def exp_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return g * y


@op(promote="float")
def log(xp: Namespace, x: Array) -> Any:
    """The natural logarithm."""
    return xp.log(x), (x,)


@log.gradient
def log_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g / x


@op(promote="float")
def sqrt(xp: Namespace, x: Array) -> Any:
    """The square root."""
    y = xp.sqrt(x)
    return y, (y,)


@sqrt.gradient
def sqrt_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return g * 0.5 / y


@op(promote="number")
def abs(xp: Namespace, x: Array) -> Any:
    """The absolute value; its gradient at 0 is 0, and NaN at NaN (PyTorch: 0)."""
    return xp.abs(x), (x,)


@abs.gradient
def abs_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g * xp.sign(x)


@op(promote="float")
def sin(xp: Namespace, x: Array) -> Any:
    """The sine of x in radians."""
    return xp.sin(x), (x,)


@sin.gradient
def sin_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g * xp.cos(x)


@op(promote="float")
def cos(xp: Namespace, x: Array) -> Any:
    """The cosine of x in radians."""
    return xp.cos(x), (x,)


@cos.gradient
def cos_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return -g * xp.sin(x)


@op(promote="number")
def maximum(xp: Namespace, x: Array | float, y: Array | float) -> Any:
    """The larger of x and y, element by element, or NaN; equal elements share the gradient."""
    x, y = as_arrays(xp, x, y)
    return xp.maximum(x, y), (x, y)


@maximum.gradient
def maximum_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    return lambda: _route(xp, g, x == y, x < y), lambda: _route(xp, g, x == y, x > y)


@op(promote="number")
def minimum(xp: Namespace, x: Array | float, y: Array | float) -> Any:
    """The smaller of x and y, element by element, or NaN; equal elements share the gradient."""
    x, y = as_arrays(xp, x, y)
    return xp.minimum(x, y), (x, y)


@minimum.gradient
def minimum_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    return lambda: _route(xp, g, x == y, x > y), lambda: _route(xp, g, x == y, x < y)


def _route(xp: Namespace, g: Array, ties: Array, lost: Array) -> Array:
    """g, half of it at ties, and 0 where the other operand was chosen."""
    return xp.where(lost, xp.zeros_like(g), xp.where(ties, 0.5 * g, g))


def _dtype_of(xp: Namespace, x: float, y: float) -> DType:
    """The dtype of two Python numbers."""
    kinds = {type(x), type(y)}
    return xp.float32 if float in kinds else xp.int64 if int in kinds else xp.bool


def as_arrays(xp: Namespace, x: Array | float, y: Array | float) -> tuple[Array, Array]:
    """x and y as arrays: a Python number gets the dtype of the other one."""
    if isinstance(x, int | float):
        assert not isinstance(y, int | float)
        return xp.full((), x, dtype=y.dtype), y
    if y is None:  # NumPy would make an array of objects
        raise TypeError("None is not a number")
    return x, xp.full((), y, dtype=x.dtype) if isinstance(y, int | float) else y


@op
def clip(xp: Namespace, x: Array, *, min: float | None = None, max: float | None = None) -> Any:
    """x limited to [min, max]; its derivative is 1 inside, bounds included, and 0 outside.

    NaN stays NaN, and a bound that is NaN makes all elements NaN.
    """
    y = x
    if min is not None:
        y = xp.where((y < min) | (min != min), xp.full_like(y, min), y)
    if max is not None:
        y = xp.where((y > max) | (max != max), xp.full_like(y, max), y)
    return y, (x == y,)


@clip.gradient
def clip_gradient(xp: Namespace, g: Array, inside: Array) -> Any:
    return g * xp.astype(inside, g.dtype)


@op(promote="common", keep=("condition",))
def where(xp: Namespace, condition: Array, x: Array | float, y: Array | float) -> Any:
    """x where the boolean `condition` is true, else y, element by element; all three broadcast.

    >>> from tinytorch import Tensor, where
    >>> x = Tensor([-1.0, 2.0])
    >>> where(x > 0, x, 0.0)
    Tensor([0., 2.])
    """
    if condition.dtype != xp.bool:
        raise TypeError(f"where needs a boolean condition, not {condition.dtype}")
    if isinstance(x, int | float) and isinstance(y, int | float):
        x = xp.full((), x, dtype=_dtype_of(xp, x, y))
    return xp.where(condition, *as_arrays(xp, x, y)), (condition,)


@where.gradient
def where_gradient(xp: Namespace, g: Array, condition: Array) -> Any:
    zero = xp.zeros_like(g)
    return None, lambda: xp.where(condition, g, zero), lambda: xp.where(condition, zero, g)


@op
def cast(xp: Namespace, x: Array, *, dtype: Any) -> Any:
    """x as another dtype, given as an object or by name; the gradient has the dtype of x."""
    return xp.astype(x, getattr(xp, dtype) if isinstance(dtype, str) else dtype), ()


@cast.gradient
def cast_gradient(xp: Namespace, g: Array) -> Any:
    return g  # autograd casts it to the dtype of x


@op
def copy(xp: Namespace, x: Array) -> Any:
    """A copy of x."""
    return xp.asarray(x, copy=True), ()


@copy.gradient
def copy_gradient(xp: Namespace, g: Array) -> Any:
    return g
