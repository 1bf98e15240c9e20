"""Lesson 04: loss functions, averaged over the batch."""

import math
from typing import Any

from .backends.base import Array, Namespace
from .nn.module import Module
from .ops.op import op
from .tensor import Tensor


@op
def log_softmax(xp: Namespace, x: Array, *, axis: int = -1) -> Any:
    """log(softmax(x)) over `axis`, computed without overflow."""
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    y = shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))
    return y, (y, axis)


@log_softmax.gradient
def log_softmax_gradient(xp: Namespace, g: Array, y: Array, axis: int) -> Any:
    return g - xp.exp(y) * xp.sum(g, axis=axis, keepdims=True)


@op
def cross_entropy(xp: Namespace, logits: Array, targets: Array, *, ignore_index: int = -100) -> Any:
    """Mean of -log(softmax(logits)[target]), for logits (..., V) and integer targets (...).

    Targets equal to `ignore_index` contribute neither to the sum nor to the count of the mean.
    """
    rows = xp.reshape(logits, (-1, logits.shape[-1]))  # (N, V)
    classes = xp.reshape(targets, (-1, 1))  # (N, 1)
    counted = xp.astype(classes != ignore_index, rows.dtype)
    shifted = rows - xp.max(rows, axis=-1, keepdims=True)
    log_p = shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    # A comparison instead of indexing, which could read out of bounds on a device.
    indices = xp.astype(xp.arange(rows.shape[-1]), classes.dtype)
    hit = xp.astype(indices == classes, rows.dtype)  # (N, V), one-hot
    hit = hit * counted  # rows of ignored targets are zero
    loss = -xp.sum(xp.where(hit > 0, log_p, xp.zeros_like(log_p))) / xp.sum(counted)
    return loss, (log_p, hit, counted, logits.shape)


@cross_entropy.gradient
def cross_entropy_gradient(
    xp: Namespace, g: Array, log_p: Array, hit: Array, counted: Array, shape: tuple[int, ...]
) -> Any:
    count = xp.sum(counted)
    count = xp.maximum(count, xp.ones_like(count))  # all ignored: zero gradients, as in PyTorch
    d = (xp.exp(log_p) - hit) * (counted * (g / count))
    return xp.reshape(d, shape), None


class CrossEntropyLoss(Module):
    """Mean of -log(softmax(logits)[target]), with the classes on the last axis.

    Args:
        ignore_index: target that is left out of the mean.

    Source: C. Bishop, "Pattern Recognition and Machine Learning" (2006), equation 4.108.

    >>> from tinytorch import CrossEntropyLoss, Tensor
    >>> round(CrossEntropyLoss()(Tensor([[0.0, 0.0], [0.0, 0.0]]), Tensor([1, 0])).item(), 4)
    0.6931
    """

    def __init__(self, ignore_index: int = -100) -> None:
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (..., V) and integer targets (...) -> scalar, in nats.

        Raises:
            ValueError: the shapes do not match, or the targets are not integers.
        """
        if targets.is_floating_point() or logits.shape[:-1] != targets.shape:
            raise ValueError(
                "cross entropy needs logits (..., V) and integer targets (...), got"
                f" {logits.shape} and {targets.shape} with dtype {targets.dtype}"
            )
        return cross_entropy(logits, targets, ignore_index=self.ignore_index)

    def count_targets(self, targets: Tensor) -> Tensor:
        """Number of targets in the mean, a 0-d tensor: all but those equal to `ignore_index`."""
        return (targets != self.ignore_index).to("int64").sum()


class MSELoss(Module):
    """Mean squared error, the mean of (prediction - target) ** 2; the shapes must be equal."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        _check_shapes("MSELoss", prediction, target)
        difference = prediction - target
        return (difference * difference).mean()


@op
def binary_cross_entropy(xp: Namespace, p: Array, target: Array) -> Any:
    """Mean of -(t log p + (1 - t) log(1 - p)), with logarithms limited to -100 as in PyTorch."""
    log_p = xp.maximum(_log(xp, p), xp.full_like(p, -100.0))
    log_q = xp.maximum(_log(xp, 1 - p), xp.full_like(p, -100.0))
    return -xp.mean(target * log_p + (1 - target) * log_q), (p, target)


@binary_cross_entropy.gradient
def binary_cross_entropy_gradient(xp: Namespace, g: Array, p: Array, target: Array) -> Any:
    spread = p * (1 - p)
    floor = xp.full_like(spread, 1e-12)
    return g * (p - target) / xp.maximum(spread, floor) / math.prod(p.shape), None


def _log(xp: Namespace, x: Array) -> Array:
    """log(x), with -inf and no warning for x <= 0."""
    positive = x > 0
    safe = xp.where(positive, x, xp.ones_like(x))
    return xp.where(positive, xp.log(safe), xp.full_like(x, -math.inf))


class BinaryCrossEntropyLoss(Module):
    """Mean of -(t log p + (1 - t) log(1 - p)) for probabilities p and targets t in [0, 1]."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        _check_shapes("BinaryCrossEntropyLoss", prediction, target)
        return binary_cross_entropy(prediction, target)


def _check_shapes(name: str, prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape:
        raise ValueError(
            f"{name} needs prediction and target of the same shape, got {prediction.shape} and"
            f" {target.shape}"
        )
