"""Activation functions of PyTorch that lesson 02 does not build, each followed by its gradient."""

import math
from typing import Any

from ..backends.arrays import Array, Namespace
from .elementwise import as_arrays
from .op import op
from .special import erf_array


@op(promote="float")
def gelu_erf(xp: Namespace, x: Array) -> Any:
    """x * Phi(x), where Phi is the standard normal CDF, computed with the error function.

    Source: D. Hendrycks and K. Gimpel, "Gaussian Error Linear Units" (2016).
    """
    cdf = 0.5 + 0.5 * erf_array(xp, x * math.sqrt(0.5))
    return x * cdf, (x, cdf)


@gelu_erf.gradient
def gelu_erf_gradient(xp: Namespace, g: Array, x: Array, cdf: Array) -> Any:
    return g * (cdf + x * xp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))


@op(promote="common")
def leaky_relu(xp: Namespace, x: Array, *, negative_slope: float) -> Any:
    """x where it is positive, else negative_slope * x."""
    positive = x > 0
    return xp.where(positive, x, negative_slope * x), (positive, negative_slope)


@leaky_relu.gradient
def leaky_relu_gradient(xp: Namespace, g: Array, positive: Array, negative_slope: float) -> Any:
    return xp.where(positive, g, negative_slope * g)


@op(promote="float")
def elu(xp: Namespace, x: Array, *, alpha: float, scale: float = 1.0, rate: float = 1.0) -> Any:
    """scale * x where x is positive, else scale * alpha * (exp(rate * x) - 1).

    Source: D.-A. Clevert et al., "Fast and Accurate Deep Network Learning by ELUs" (2015).
    """
    positive = x > 0
    curve = alpha * xp.expm1(rate * xp.where(positive, xp.zeros_like(x), x))
    return scale * xp.where(positive, x, curve), (positive, curve, alpha, scale, rate)


@elu.gradient
def elu_gradient(
    xp: Namespace, g: Array, positive: Array, curve: Array, alpha: float, scale: float, rate: float
) -> Any:
    slope = scale * rate * (curve + alpha)
    return g * xp.where(positive, xp.full_like(g, scale), slope)


@op(promote="common")
def hardtanh(xp: Namespace, x: Array, *, low: float, high: float) -> Any:
    """x limited to [low, high]; unlike that of clip, its derivative at the limits is 0."""
    y = xp.where(x <= low, xp.full_like(x, low), xp.where(x >= high, xp.full_like(x, high), x))
    return y, ((x <= low) | (x >= high),)


@hardtanh.gradient
def hardtanh_gradient(xp: Namespace, g: Array, outside: Array) -> Any:
    return xp.where(outside, xp.zeros_like(g), g)


@op(promote="float")
def hardswish(xp: Namespace, x: Array) -> Any:
    """x * min(max(x + 3, 0), 6) / 6.

    Source: A. Howard et al., "Searching for MobileNetV3" (2019).
    """
    y = xp.where(x <= -3, xp.zeros_like(x), xp.where(x >= 3, x, x * (x + 3) / 6))
    return y, (x,)


@hardswish.gradient
def hardswish_gradient(xp: Namespace, g: Array, x: Array) -> Any:
    inner = xp.where(x >= 3, g, g * (x / 3 + 0.5))
    return xp.where(x <= -3, xp.zeros_like(g), inner)


@op(promote="float")
def swiglu(xp: Namespace, gate: Array, x: Array) -> Any:
    """silu(gate) * x, the hidden layer of a gated MLP.

    Source: N. Shazeer, "GLU Variants Improve Transformer" (2020), equation 6.
    """
    gate, x = as_arrays(xp, gate, x)
    s = 1 / (1 + xp.exp(-gate))
    return gate * s * x, (gate, x, s)


@swiglu.gradient
def swiglu_gradient(xp: Namespace, g: Array, gate: Array, x: Array, s: Array) -> Any:
    return lambda: g * x * s * (1 + gate * (1 - s)), lambda: g * gate * s
