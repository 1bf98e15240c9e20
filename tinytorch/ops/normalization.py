"""Normalisations of PyTorch that lesson 03 does not build, each followed by its gradient."""

from typing import Any

from ..backends.arrays import Array, Namespace
from .op import op
from .reductions import _mean


@op(promote="float")
def standardize(xp: Namespace, x: Array, *, axes: tuple[int, ...], eps: float) -> Any:
    """(x - mean) / sqrt(variance + eps), with mean and variance over `axes`."""
    centred = x - _mean(xp, x, axes)
    scale = 1 / xp.sqrt(_mean(xp, centred * centred, axes) + eps)
    normal = centred * scale
    return normal, (normal, scale, axes)


@standardize.gradient
def standardize_gradient(
    xp: Namespace, g: Array, normal: Array, scale: Array, axes: tuple[int, ...]
) -> Any:
    return (g - _mean(xp, g, axes) - normal * _mean(xp, g * normal, axes)) * scale


@op(promote="float")
def rms_norm(xp: Namespace, x: Array, weight: Array | None = None, *, eps: float) -> Any:
    """x / sqrt(mean of squares + eps) * weight over the last axis, C.

    Source: B. Zhang and R. Sennrich, "Root Mean Square Layer Normalization" (2019), equation 4.
    """
    scale = 1 / xp.sqrt(_mean(xp, x * x) + eps)  # (..., 1)
    normal = x * scale
    return (normal if weight is None else normal * weight), (normal, scale, weight)


@rms_norm.gradient
def rms_norm_gradient(
    xp: Namespace, g: Array, normal: Array, scale: Array, weight: Array | None
) -> Any:
    d = g if weight is None else g * weight
    return (d - normal * _mean(xp, d * normal)) * scale, lambda: g * normal
