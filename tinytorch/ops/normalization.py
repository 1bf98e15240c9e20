"""Normalisations of PyTorch that lesson 03 does not build, each followed by its gradient."""

import math
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
def group_normalization(
    xp: Namespace,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    num_groups: int,
    eps: float,
) -> Any:
    """(x - mean) / sqrt(variance + eps) * weight + bias, for x (N, C, ...), weight and bias (C,).

    Mean and variance are those of C / num_groups channels of one example.
    """
    rows = xp.reshape(x, (x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups))
    centred = rows - _mean(xp, rows)
    scale = 1 / xp.sqrt(_mean(xp, centred * centred) + eps)  # (N, groups, 1)
    normal = xp.reshape(centred * scale, x.shape)
    y = normal if weight is None else normal * _per_channel(xp, weight, x.ndim)
    if bias is not None:
        y = y + _per_channel(xp, bias, x.ndim)
    return y, (normal, scale, weight)


@group_normalization.gradient
def group_normalization_gradient(
    xp: Namespace, g: Array, normal: Array, scale: Array, weight: Array | None
) -> Any:
    axes = (0, *range(2, g.ndim))

    def x_gradient() -> Array:
        shape = (*scale.shape[:2], math.prod(g.shape[1:]) // scale.shape[1])
        d = g if weight is None else g * _per_channel(xp, weight, g.ndim)
        d, n = xp.reshape(d, shape), xp.reshape(normal, shape)
        return xp.reshape((d - _mean(xp, d) - n * _mean(xp, d * n)) * scale, g.shape)

    return x_gradient, lambda: xp.sum(g * normal, axis=axes), lambda: xp.sum(g, axis=axes)


def _per_channel(xp: Namespace, x: Array, ndim: int) -> Array:
    """x (C,) as an array that broadcasts with (N, C, ...)."""
    return xp.reshape(x, (-1, *[1] * (ndim - 2)))


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
