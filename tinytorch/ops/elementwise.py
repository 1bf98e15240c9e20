"""Elementwise ops, each with its gradient right under it. Shapes broadcast as in NumPy."""

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
    is_square = isinstance(y, int | float) and y == 2  # many times faster than the general power
    result = x * x if is_square else x**y
    return result, (x, y, result)


@power.gradient
def power_gradient(
    xp: Namespace, g: Array, x: Array | float, y: Array | float, result: Array
) -> Any:
    def base() -> Array:
        if isinstance(y, int | float):
            if y == 0:  # x**0 is 1 everywhere, also at x = 0, where the formula says 0 * inf
                return xp.zeros_like(g)
            return g * y * (x if y == 2 else x ** (y - 1))
        constant = y == 0
        slope = y * x ** xp.where(constant, xp.ones_like(y), y - 1)
        return g * xp.where(constant, xp.zeros_like(slope), slope)

    def exponent() -> Array:
        # At x = 0 the limit is 0 for positive exponents, where the formula says 0 * -inf.
        if isinstance(x, int | float):
            return g * result * (math.log(x) if x > 0 else 0.0)
        return g * result * xp.log(xp.where(x > 0, x, xp.ones_like(x)))

    return base, exponent


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
    """The larger of x and y; where they are equal, each gets half of the gradient."""
    return xp.maximum(x, y), (x, y)


@maximum.gradient
def maximum_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    first = _share(xp, g, x > y, x == y)
    return first, g - first


@op
def minimum(xp: Namespace, x: Array, y: Array) -> Any:
    """The smaller of x and y; where they are equal, each gets half of the gradient."""
    return xp.minimum(x, y), (x, y)


@minimum.gradient
def minimum_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    first = _share(xp, g, x < y, x == y)
    return first, g - first


def _share(xp: Namespace, g: Array, wins: Array, ties: Array) -> Array:
    return g * (xp.astype(wins, g.dtype) + 0.5 * xp.astype(ties, g.dtype))


@op
def clip(xp: Namespace, x: Array, *, min: float | None = None, max: float | None = None) -> Any:
    """x kept within [min, max]; the gradient is 0 outside and 1 within, bounds included."""
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
    """x where the boolean `condition` holds, else y."""
    return xp.where(condition, x, y), (condition,)


@where.gradient
def where_gradient(xp: Namespace, g: Array, condition: Array) -> Any:
    zero = xp.zeros_like(g)
    return None, lambda: xp.where(condition, g, zero), lambda: xp.where(condition, zero, g)


@op
def cast(xp: Namespace, x: Array, *, dtype: Any) -> Any:
    """x with another dtype, given itself or by name; the gradient goes back in x's own."""
    return xp.astype(x, getattr(xp, dtype) if isinstance(dtype, str) else dtype), ()


@cast.gradient
def cast_gradient(xp: Namespace, g: Array) -> Any:
    return g  # autograd casts it to the dtype of the input
