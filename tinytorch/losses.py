"""Lesson 04: loss functions, averaged over the batch."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .activations import log_softmax as log_softmax
from .arguments import ShapeError, check_integer
from .backends.arrays import Array, Namespace
from .modules.module import Module
from .ops.op import op
from .ops.operators import same_backend
from .tensor import Tensor


def log_probabilities(xp: Namespace, rows: Array) -> Array:
    """log(softmax(row)) of each row, (N, V) -> (N, V), computed without overflow."""
    shifted = rows - xp.max(rows, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def look_up_classes(xp: Namespace, classes: Array, counted: Array, V: int) -> Array:
    """Return the classes (N, 1), with 0 in place of those that are not counted.

    The lookup checks them where this does not make the host wait.

    Raises:
        IndexError: a counted class is outside of [0, V).
    """
    try:
        return xp.take_rows(xp.arange(V), xp.where(counted, classes, xp.zeros_like(classes)))
    except IndexError as error:
        raise IndexError(f"cross entropy: a target is outside of the {V} classes") from error


def one_hot_targets(
    xp: Namespace, targets: Array, V: int, ignore_index: int, dtype: Any
) -> tuple[Array, Array]:
    """Return the targets as one-hot rows (N, V), and whether each counts, (N, 1), as 1 or 0.

    A target equal to `ignore_index` does not count, and its row is zero.
    """
    classes = xp.astype(xp.reshape(targets, (targets.size, 1)), xp.int64)
    counted = classes != ignore_index
    hit = xp.arange(V) == look_up_classes(xp, classes, counted, V)
    return xp.astype(hit & counted, dtype), xp.astype(counted, dtype)


@op(promote="float", keep=("targets",))
def cross_entropy(xp: Namespace, logits: Array, targets: Array, *, ignore_index: int = -100) -> Any:
    """Mean of -log(softmax(logits)[target]), for logits (..., V) and integer targets (...).

    Targets equal to `ignore_index` contribute neither to the sum nor to the count of the mean.
    """
    V = logits.shape[-1]
    log_p = log_probabilities(xp, xp.reshape(logits, (targets.size, V)))
    hit, counted = one_hot_targets(xp, targets, V, ignore_index, logits.dtype)
    chosen = xp.where(hit > 0, log_p, xp.zeros_like(log_p))  # not a product: 0 * -inf is NaN
    return -xp.sum(chosen) / xp.sum(counted), (log_p, hit, counted, logits.shape)


@cross_entropy.gradient
def cross_entropy_gradient(
    xp: Namespace, g: Array, log_p: Array, hit: Array, counted: Array, shape: tuple[int, ...]
) -> Any:
    count = xp.sum(counted)
    count = xp.maximum(count, xp.ones_like(count))  # all ignored: zero gradients, as in PyTorch
    d = (xp.exp(log_p) - hit) * (counted * (g / count))
    return xp.reshape(d, shape), None


def _check_classes(logits: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors, logits (..., V) and integer targets (...)."""
    logits, targets = _tensors("cross entropy", logits, targets)
    if targets.dtype == logits.backend.xp.bool:
        raise TypeError("cross entropy needs integer targets, not bool; cast with to('int64')")
    if targets.is_floating_point() or not logits.shape or logits.shape[:-1] != targets.shape:
        raise ValueError(
            "cross entropy needs logits (..., V) and integer targets (...), got"
            f" {logits.shape} and {targets.shape} with dtype {targets.dtype}"
        )
    return logits, targets


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
        check_integer("CrossEntropyLoss: ignore_index", ignore_index, -(2**63))
        self.ignore_index = int(ignore_index)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (..., V) and integer targets (...) -> scalar, in nats.

        Raises:
            ValueError: the shapes do not match, or the targets are not integers.
            IndexError: a target is outside of [0, V); on a device, raised at the next copy to host.
        """
        logits, targets = _check_classes(logits, targets)
        return cross_entropy(logits, targets, ignore_index=self.ignore_index)

    def count_targets(self, targets: Tensor) -> Tensor:
        """Number of targets in the mean, a 0-d tensor: all but those equal to `ignore_index`."""
        return (targets != self.ignore_index).sum()


class MSELoss(Module):
    """Mean squared error, the mean of (prediction - target) ** 2; the shapes must be equal."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = _check_shapes("MSELoss", prediction, target)
        difference = prediction - target
        return (difference * difference).mean()


@op(promote="float")
def binary_cross_entropy(xp: Namespace, p: Array, target: Array) -> Any:
    """Mean of -(t log p + (1 - t) log(1 - p)), with logarithms limited to -100 as in PyTorch.

    NaN, and any p outside of [0, 1], gives NaN.
    """
    floor = xp.full_like(p, -100.0)
    log_p, log_q = xp.maximum(xp.log(p), floor), xp.maximum(xp.log(1 - p), floor)
    losses = -(target * log_p + (1 - target) * log_q)
    return xp.sum(losses) / p.size, (p, target)


@binary_cross_entropy.gradient
def binary_cross_entropy_gradient(xp: Namespace, g: Array, p: Array, target: Array) -> Any:
    def p_gradient() -> Array:
        spread = p * (1 - p)
        return g * (p - target) / xp.maximum(spread, xp.full_like(spread, 1e-12)) / p.size

    return p_gradient, lambda: g * (xp.log(1 - p) - xp.log(p)) / p.size


def check_probabilities(name: str, what: str, tensor: Tensor) -> None:
    """Check that all elements are in [0, 1]; not on a device, where this would make it wait."""
    array = tensor._array
    if isinstance(array, np.ndarray) and ((array < 0) | (array > 1)).any():
        raise ValueError(f"{name} needs {what} between 0 and 1; for scores, apply Sigmoid first")


class BinaryCrossEntropyLoss(Module):
    """Mean of -(t log p + (1 - t) log(1 - p)) for probabilities p and targets t in [0, 1].

    Raises:
        ValueError: the shapes differ, or a number is outside of [0, 1]. On a device, where this
            check would make the host wait, such a probability gives NaN; targets are not checked.

    >>> from tinytorch import BinaryCrossEntropyLoss, Tensor
    >>> round(BinaryCrossEntropyLoss()(Tensor([0.5]), Tensor([1])).item(), 4)
    0.6931
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = _check_shapes("BinaryCrossEntropyLoss", prediction, target)
        check_probabilities("BinaryCrossEntropyLoss", "predictions", prediction)
        check_probabilities("BinaryCrossEntropyLoss", "targets", target)
        return binary_cross_entropy(prediction, target)


def perplexity(losses: Sequence[float], counts: Sequence[int]) -> float:
    """exp of the mean cross entropy per target, over several batches.

    A model of perplexity 10 is as uncertain as a fair choice among 10 classes. It is infinite if it
    is too large for a float.

    Args:
        losses: the mean of each batch, in nats.
        counts: the number of targets in each mean; a batch without any is left out.

    Raises:
        ValueError: there are no targets.

    >>> from tinytorch.losses import perplexity
    >>> round(perplexity([2.302585, 2.302585], [3, 5]), 3)
    10.0
    """
    batches = [(loss, n) for loss, n in zip(losses, counts, strict=True) if n > 0]
    if not batches:
        raise ValueError("perplexity needs at least one target")
    try:
        return math.exp(sum(loss * n for loss, n in batches) / sum(n for _, n in batches))
    except OverflowError:  # the mean is above 709.78
        return math.inf


def _tensors(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors: a NumPy array or a list as target is copied to prediction's backend."""
    if not isinstance(prediction, Tensor):
        raise TypeError(f"{name} needs a Tensor as prediction, not {type(prediction).__name__}")
    try:
        return prediction, same_backend(prediction, target)
    except TypeError as error:
        raise TypeError(f"{name}: the target: {error}") from None


def _check_shapes(name: str, prediction: Tensor, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape."""
    prediction, target = _tensors(name, prediction, target)
    if prediction.shape != target.shape:
        raise ShapeError(
            f"{name} needs prediction and target of the same shape, got {prediction.shape} and"
            f" {target.shape}; change one of them, as with target.reshape(prediction.shape)"
        )
    return prediction, target
