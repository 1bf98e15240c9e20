"""Lessons 01 and 06: elementwise ops with broadcasting, each followed by its gradient."""

import math
from typing import Any

from ..backends.base import Array, Namespace
from .op import op


@op
def add(xp: Namespace, x: Array, y: Array) -> Any:
    """x + y."""
    return x + y, ()


@add.gradient
def add_gradient(xp: Namespace, g: Array) -> Any:
    return g, g


@op
def subtract(xp: Namespace, x: Array, y: Array) -> Any:
    """x - y."""
    return x - y, ()


@subtract.gradient
def subtract_gradient(xp: Namespace, g: Array) -> Any:
    return g, lambda: -g


@op
def multiply(xp: Namespace, x: Array, y: Array) -> Any:
    """x * y."""
    return x * y, (x, y)


@multiply.gradient
def multiply_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    return lambda: g * y, lambda: g * x


@op
def divide(xp: Namespace, x: Array, y: Array) -> Any:
    """x / y."""
    return x / y, (x, y)


@divide.gradient
def divide_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    return lambda: g / y, lambda: -g * x / (y * y)


@op
def negative(xp: Namespace, x: Array) -> Any:
    """-x."""
    return -x, ()


@negative.gradient
def negative_gradient(xp: Namespace, g: Array) -> Any:
    return -g


@op
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
        # At x = 0 the formula gives 0 * -inf; its limit is 0 for positive exponents.
        if isinstance(x, int | float):
            return g * result * (math.log(x) if x > 0 else 0.0)
        return g * result * xp.log(xp.where(x > 0, x, xp.ones_like(x)))

    return base_gradient, exponent_gradient


@op
def exp(xp: Namespace, x: Array) -> Any:
    """e to the power of x."""
    y = xp.exp(x)
    return y, (y,)


@exp.gradient
def exp_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return g * y


@op
def log(xp: Namespace, x: Array) -> Any:
    """The natural logarithm."""
    return xp.log(x), (x,)


@log.gradient
def log_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g / x


@op
def sqrt(xp: Namespace, x: Array) -> Any:
    """The square root."""
    y = xp.sqrt(x)
    return y, (y,)


@sqrt.gradient
def sqrt_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return g * 0.5 / y


@op
def abs(xp: Namespace, x: Array) -> Any:
    """The absolute value; its gradient at 0 is 0."""
    return xp.abs(x), (x,)


@abs.gradient
def abs_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g * xp.sign(x)


@op
def sin(xp: Namespace, x: Array) -> Any:
    """The sine of x in radians."""
    return xp.sin(x), (x,)


@sin.gradient
def sin_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g * xp.cos(x)


@op
def cos(xp: Namespace, x: Array) -> Any:
    """The cosine of x in radians."""
    return xp.cos(x), (x,)


@cos.gradient
def cos_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return -g * xp.sin(x)


@op
def maximum(xp: Namespace, x: Array, y: Array) -> Any:
    """The larger of x and y; equal elements get half of the gradient each."""
    return xp.maximum(x, y), (x, y)


@maximum.gradient
def maximum_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    dx = _route_gradient(xp, g, x > y, x == y)
    return dx, g - dx


@op
def minimum(xp: Namespace, x: Array, y: Array) -> Any:
    """The smaller of x and y; equal elements get half of the gradient each."""
    return xp.minimum(x, y), (x, y)


@minimum.gradient
def minimum_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    dx = _route_gradient(xp, g, x < y, x == y)
    return dx, g - dx


def _route_gradient(xp: Namespace, g: Array, selected: Array, ties: Array) -> Array:
    """g where `selected` is true, half of it at ties, and 0 elsewhere."""
    return g * (xp.astype(selected, g.dtype) + 0.5 * xp.astype(ties, g.dtype))


@op
def clip(xp: Namespace, x: Array, *, min: float | None = None, max: float | None = None) -> Any:
    """x limited to [min, max]; its derivative is 1 inside, bounds included, and 0 outside."""
    y = x
    if min is not None:
        y = xp.where(y < min, xp.full_like(y, min), y)
    if max is not None:
        y = xp.where(y > max, xp.full_like(y, max), y)
    return y, (x == y,)


@clip.gradient
def clip_gradient(xp: Namespace, g: Array, inside: Array) -> Any:
    return g * xp.astype(inside, g.dtype)


@op
def where(xp: Namespace, condition: Array, x: Array, y: Array) -> Any:
    """x where the boolean `condition` is true, else y."""
    return xp.where(condition, x, y), (condition,)


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
