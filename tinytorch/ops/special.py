"""The error function, which the array API standard lacks."""

import math
from typing import Any

from ..backends.arrays import Array, Namespace
from .op import op

# erf(x) = x P(x^2) / Q(x^2) for |x| <= 4, fitted with relative errors of at most 3e-8.
_P = (1.12837914, 0.193531977, 0.0530997157, 0.00388269918, 0.000284538017, 1.986712e-06)
_Q = (1.0, 0.504845808, 0.115344321, 0.0152059716, 0.0011853896, 3.74179744e-05)
_TAYLOR = [
    2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(20)
]


@op(promote="float")
def erf(xp: Namespace, x: Array) -> Any:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return erf_array(xp, x), (x,)


@erf.gradient
def erf_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    return g * (2 / math.sqrt(math.pi)) * xp.exp(-x * x)


def erf_array(xp: Namespace, x: Array) -> Array:
    """erf of an array, for ops that contain it."""
    if x.dtype == xp.float32:
        small = xp.where(x > 4, xp.full_like(x, 4), xp.where(x < -4, xp.full_like(x, -4), x))
        square = small * small
        y = small * _polynomial(_P, square) / _polynomial(_Q, square)
        return xp.where(y > 1, xp.ones_like(y), xp.where(y < -1, xp.full_like(y, -1), y))
    # The power series up to 1, and beyond the trapezoidal rule of step 1/2 for erfc's integral.
    z, one = xp.abs(x), xp.ones_like(x)
    series = x * _polynomial(_TAYLOR, xp.where(z < 1, x * x, one))
    far = xp.where(z < 1, one, xp.where(z > 6, 6 * one, z))
    total = 1 / (far * far)
    for n in range(1, 14):
        total = total + 2 * math.exp(-n * n / 4) / (n * n / 4 + far * far)
    tail = xp.exp(-far * far) * far * total / (2 * math.pi) - 2 / xp.expm1(4 * math.pi * far)
    return xp.where(z >= 1, xp.sign(x) * (1 - tail), series)  # NaN stays NaN in the series


def _polynomial(coefficients: Any, x: Array) -> Array:
    """The sum of coefficients[n] x^n, by Horner's rule."""
    lower, last = coefficients[:-1], coefficients[-1]
    result: Array = x * last
    for c in reversed(lower[1:]):
        result = (result + c) * x
    result = result + lower[0]
    return result
