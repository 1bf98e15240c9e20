"""Powers, exponentials, logarithms and trigonometric functions that no lesson needs."""

import math
from typing import Any

from ..backends.base import Array, Namespace
from .elementwise import as_arrays
from .op import op


@op(promote="float")
def reciprocal(xp: Namespace, x: Array) -> Any:
    """1 / x."""
    y: Any = 1 / x
    return y, (y,)


@reciprocal.gradient
def reciprocal_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return -g * y * y


@op(promote="float")
def rsqrt(xp: Namespace, x: Array) -> Any:
    """1 / sqrt(x)."""
    y: Any = 1 / xp.sqrt(x)
    return y, (y,)


@rsqrt.gradient
def rsqrt_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return -0.5 * g * y * y * y


@op(promote="float")
def exp2(xp: Namespace, x: Array) -> Any:
    """2 to the power of x."""
    y: Any = 2.0**x
    return y, (y,)


@exp2.gradient
def exp2_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return g * y * math.log(2)


@op(promote="float")
def expm1(xp: Namespace, x: Array) -> Any:
    """exp(x) - 1, exact for small x too."""
    y = xp.expm1(x)
    return y, (y,)


@expm1.gradient
def expm1_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return g * (y + 1)


@op(promote="float")
def log1p(xp: Namespace, x: Array) -> Any:
    """log(1 + x), exact for small x too."""
    return xp.log1p(x), (x,)


@log1p.gradient
def log1p_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g / (1 + x)


@op(promote="float")
def log2(xp: Namespace, x: Array) -> Any:
    """The logarithm to the base 2."""
    return xp.log2(x), (x,)


@log2.gradient
def log2_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g / (x * math.log(2))


@op(promote="float")
def log10(xp: Namespace, x: Array) -> Any:
    """The logarithm to the base 10."""
    return xp.log10(x), (x,)


@log10.gradient
def log10_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g / (x * math.log(10))


@op(promote="float")
def tan(xp: Namespace, x: Array) -> Any:
    """The tangent of x in radians."""
    y = xp.tan(x)
    return y, (y,)


@tan.gradient
def tan_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return g * (1 + y * y)


@op(promote="float")
def asin(xp: Namespace, x: Array) -> Any:
    """The inverse of the sine, in radians."""
    return xp.asin(x), (x,)


@asin.gradient
def asin_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g / xp.sqrt(1 - x * x)


@op(promote="float")
def acos(xp: Namespace, x: Array) -> Any:
    """The inverse of the cosine, in radians."""
    return xp.acos(x), (x,)


@acos.gradient
def acos_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return -g / xp.sqrt(1 - x * x)


@op(promote="float")
def atan(xp: Namespace, x: Array) -> Any:
    """The inverse of the tangent, in radians."""
    return xp.atan(x), (x,)


@atan.gradient
def atan_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g / (1 + x * x)


@op(promote="float")
def atan2(xp: Namespace, y: Array | float, x: Array | float) -> Any:
    """The angle of the point (x, y), in radians."""
    y, x = as_arrays(xp, y, x)
    return xp.atan2(y, x), (y, x)


@atan2.gradient
def atan2_gradient(xp: Namespace, g: Array, y: Array, x: Array) -> Any:
    scale: Any = g / (x * x + y * y)
    return lambda: scale * x, lambda: scale * -y


@op(promote="float")
def sinh(xp: Namespace, x: Array) -> Any:
    """The hyperbolic sine."""
    return xp.sinh(x), (x,)


@sinh.gradient
def sinh_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g * xp.cosh(x)


@op(promote="float")
def cosh(xp: Namespace, x: Array) -> Any:
    """The hyperbolic cosine."""
    return xp.cosh(x), (x,)


@cosh.gradient
def cosh_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g * xp.sinh(x)


@op(promote="float")
def asinh(xp: Namespace, x: Array) -> Any:
    """The inverse of the hyperbolic sine."""
    return xp.asinh(x), (x,)


@asinh.gradient
def asinh_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g / xp.sqrt(x * x + 1)


@op(promote="float")
def acosh(xp: Namespace, x: Array) -> Any:
    """The inverse of the hyperbolic cosine."""
    return xp.acosh(x), (x,)


@acosh.gradient
def acosh_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g / xp.sqrt(x * x - 1)


@op(promote="float")
def atanh(xp: Namespace, x: Array) -> Any:
    """The inverse of the hyperbolic tangent."""
    return xp.atanh(x), (x,)


@atanh.gradient
def atanh_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g / (1 - x * x)
