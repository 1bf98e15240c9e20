"""Batch normalisation: with the statistics of a batch in training, with running ones afterwards.

Source: S. Ioffe and C. Szegedy, "Batch Normalization" (2015), algorithm 1.
"""

from typing import Any

from ..backends.arrays import Array, Namespace
from .op import op
from .reductions import _mean


@op(promote="float")
def batch_normalization(
    xp: Namespace, x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float
) -> Any:
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel of x (N, C, ...).

    Mean and variance are those of the channel in the whole batch, and are returned too.
    """
    axes, C = (0, *range(2, x.ndim)), x.shape[1]
    mean = _mean(xp, x, axes)  # (1, C, 1, ...)
    centred = x - mean
    variance = _mean(xp, centred * centred, axes)
    scale = 1 / xp.sqrt(variance + eps)
    normal = centred * scale
    y = normal if weight is None else normal * xp.reshape(weight, mean.shape)
    if bias is not None:
        y = y + xp.reshape(bias, mean.shape)
    statistics = xp.reshape(mean, (C,)), xp.reshape(variance, (C,))
    return (y, *statistics), (normal, scale, weight)


@batch_normalization.gradient
def batch_normalization_gradient(
    xp: Namespace, gs: Any, normal: Array, scale: Array, weight: Array | None
) -> Any:
    g, g_mean, g_variance = gs  # of y, mean and variance; None where the loss does not depend on it
    g = xp.zeros_like(normal) if g is None else g
    axes, count = (0, *range(2, g.ndim)), g.size // max(1, g.shape[1])

    def x_gradient() -> Array:
        d = g if weight is None else g * xp.reshape(weight, scale.shape)
        dx = (d - _mean(xp, d, axes) - normal * _mean(xp, d * normal, axes)) * scale
        if g_mean is not None:
            dx = dx + xp.reshape(g_mean, scale.shape) / count
        if g_variance is not None:
            dx = dx + normal / scale * xp.reshape(g_variance, scale.shape) * (2 / count)
        return dx

    return x_gradient, lambda: xp.sum(g * normal, axis=axes), lambda: xp.sum(g, axis=axes)


def move_statistics(
    running: tuple[Any, Any], mean: Any, variance: Any, count: int, momentum: Any
) -> None:
    """Move the running mean and variance towards those of a batch, in place.

    Args:
        running: the running mean and variance (C,); None for one that is not kept.
        mean: of the batch (C,).
        variance: of the batch (C,), the mean of the squares.
        count: the number of values of each channel in the batch, more than 1.
        momentum: the fraction of the way to go, from 0 to 1.

    The running variance is an estimate for all data, which divides by count - 1.
    """
    unbiased = variance * (count / (count - 1))
    for kept, now in zip(running, (mean, unbiased), strict=True):
        if kept is not None:
            kept += momentum * (now - kept)


def scale_and_shift(
    mean: Any, variance: Any, weight: Any, bias: Any, eps: float
) -> tuple[Any, Any]:
    """Batch norm with fixed statistics as x * scale + shift: two tensors (C,).

    Each argument but eps is (C,); weight and bias may be None.
    """
    scale = (variance + eps) ** -0.5
    scale = scale if weight is None else scale * weight
    return scale, -mean * scale if bias is None else bias - mean * scale
