"""PyTorch's losses, each as a function and as a module.

The functions take `input` and `target`, and `reduction`: "mean", "sum" or "none".
"""

import math
from typing import Any

from .. import losses
from ..activations import softplus
from ..arguments import DtypeError, ShapeError, check_integer, shown, warn
from ..losses import _check_shapes, _tensors
from ..losses import log_softmax as _log_softmax
from ..modules.module import Module
from ..ops.elementwise import abs as _abs
from ..ops.elementwise import clip, exp, log, minimum, where
from ..ops.elementwise import sqrt as _sqrt
from ..ops.losses import binary_cross_entropy_terms, pick_classes
from ..ops.movement import permute
from ..ops.reductions import sum as _sum
from ..ops.reductions import vector_norm
from ..tensor import Tensor

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "NLLLoss",
    "PairwiseDistance",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
]

_REDUCTIONS = ("mean", "sum", "none")


def _reduce(values: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return values.mean()
    return _sum(values) if reduction == "sum" else values


def _reduction(name: str, reduction: str, size_average: Any = None, reduce: Any = None) -> str:
    """`reduction`, checked; or what the flags mean that it has replaced in PyTorch."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warn(f"{name}: instead of size_average and reduce, pass reduction={reduction!r}")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{name}: reduction must be one of {_REDUCTIONS}, not {shown(reduction)}")
    return reduction


# Classes


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log(softmax(input)[target]), with the classes on axis 1, or on axis 0 of a vector.

    Args:
        input: scores (C,), (N, C) or (N, C, d1, ...).
        target: integers (), (N,) or (N, d1, ...); or probabilities with the shape of `input`.
        weight: (C,), a factor for the loss of each class.
        ignore_index: target that is left out of sum and mean.
        reduction: "mean", which divides by the sum of the weights of the targets, "sum" or "none".
        label_smoothing: how much of a target's probability is divided evenly among all classes.

    Raises:
        ShapeError: the shapes do not fit; the message says so if the classes are on the last axis.
    """
    reduction = _reduction("cross_entropy", reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1], not {label_smoothing}")
    input, target = _tensors("cross_entropy", input, target)
    if target.is_floating_point() and target.shape == input.shape and input.ndim:
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    _check_classes("cross_entropy", input, target)
    rows = _classes_last(input)
    if weight is None and not label_smoothing and reduction == "mean":
        return losses.cross_entropy(rows, target, ignore_index=ignore_index)
    log_p = _log_softmax(rows)
    loss, counted = _negative_log_likelihood(log_p, target, weight, ignore_index)
    loss = _class_mean(loss, counted, reduction)
    if label_smoothing:
        even = -(log_p if weight is None else log_p * weight).sum(axis=-1)
        even = where(target == ignore_index, 0.0, even) / rows.shape[-1]
        even = _class_mean(even, counted, reduction)
        loss = (1 - label_smoothing) * loss + label_smoothing * even
    return loss


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input[target] for log-probabilities, such as those of `log_softmax`; see `cross_entropy`."""
    reduction = _reduction("nll_loss", reduction, size_average, reduce)
    input, target = _tensors("nll_loss", input, target)
    _check_classes("nll_loss", input, target)
    loss, counted = _negative_log_likelihood(_classes_last(input), target, weight, ignore_index)
    return _class_mean(loss, counted, reduction)


def _class_mean(loss: Tensor, counted: Tensor, reduction: str) -> Tensor:
    """The losses reduced; the mean divides by the sum of the targets' weights."""
    return _sum(loss) / counted if reduction == "mean" else _reduce(loss, reduction)


def _negative_log_likelihood(
    log_p: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """The loss of each target, and the sum of the targets' weights."""
    loss = -pick_classes(log_p, target, ignore_index=ignore_index)
    if weight is None:
        return loss, (target != ignore_index).sum()
    if weight.shape != log_p.shape[-1:]:
        raise ShapeError(
            f"the weight must have one number for each of the {log_p.shape[-1]} classes,"
            f" not shape {weight.shape}"
        )
    rows = weight.expand(log_p.shape)
    weights = pick_classes(rows, target, ignore_index=ignore_index)
    return loss * weights, _sum(weights)


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    """Cross-entropy with a probability of each class as target; the mean is over the batch."""
    rows, target = _classes_last(input), _classes_last(target)
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / rows.shape[-1]
    terms = target * _log_softmax(rows)
    loss = -(terms if weight is None else terms * weight).sum(axis=-1)
    return _reduce(loss, reduction)


def _classes_last(x: Tensor) -> Tensor:
    """(N, C, d1, ...) -> (N, d1, ..., C)."""
    return x if x.ndim < 3 else permute(x, axes=(0, *range(2, x.ndim), 1))


_warned = False  # of shapes that fit two layouts


def _check_classes(name: str, input: Tensor, target: Tensor) -> None:
    """Check that integer targets fit scores with the classes on axis 1."""
    global _warned
    scores, shape = input.shape, target.shape
    if target.is_floating_point() or target.dtype == target.backend.xp.bool:
        fix = f"; for class probabilities, its shape must be {scores}"
        fix = fix if target.is_floating_point() and name == "cross_entropy" else ""
        raise DtypeError(
            f"{name}: the target must have integers, not {target.dtype}; convert it with"
            f" target.long(){fix}"
        )
    if not input.is_floating_point():
        raise DtypeError(f"{name}: the input must have floats, not {input.dtype}")
    fits_last = len(scores) > 2 and shape == scores[:-1]
    if not scores or shape != (scores[:1] + scores[2:] if len(scores) > 1 else ()):
        fix = ""
        if fits_last:
            fix = (
                "; the classes seem to be on the last axis: flatten both,"
                f" {name}(input.view(-1, {scores[-1]}), target.view(-1)), move them to axis 1"
                " with input.transpose(1, -1), or use tinytorch.cross_entropy"
            )
        elif len(shape) == 2 and len(scores) == 2 and shape[1] == 1:
            fix = "; remove its last axis with target.squeeze(1)"
        raise ShapeError(
            f"{name} needs input (N, C, ...) and target (N, ...), got {scores} and {shape}{fix}"
        )
    if fits_last and not _warned:
        _warned = True
        warn(
            f"{name} takes axis 1 of the input {scores} as the classes, as PyTorch does; the target"
            f" {shape} would also fit classes on the last axis. If they are there, flatten both:"
            f" {name}(input.view(-1, {scores[-1]}), target.view(-1))"
        )


# Numbers


def _weighted(values: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return _reduce(values if weight is None else values * weight, reduction)


def _weighted_mean(values: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Like `_weighted`, but the mean divides by the sum of the weights."""
    if weight is None or reduction != "mean":
        return _weighted(values, weight, reduction)
    weight = weight.expand(values.shape)
    return _sum(values * weight) / _sum(weight)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target) ** 2; the shapes must be equal."""
    reduction = _reduction("mse_loss", reduction, size_average, reduce)
    input, target = _check_shapes("mse_loss", input, target)
    difference = input - target
    return _weighted_mean(difference * difference, weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|; the shapes must be equal."""
    reduction = _reduction("l1_loss", reduction, size_average, reduce)
    input, target = _check_shapes("l1_loss", input, target)
    return _weighted_mean(_abs(input - target), weight, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """0.5 d ** 2 / beta where d = |input - target| is below beta, else d - 0.5 beta.

    Source: R. Girshick, "Fast R-CNN" (2015), equation 3.
    """
    reduction = _reduction("smooth_l1_loss", reduction, size_average, reduce)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must be at least 0, not {beta}")
    input, target = _check_shapes("smooth_l1_loss", input, target)
    distance = _abs(input - target)
    if beta == 0:
        return _reduce(distance, reduction)
    square = 0.5 / beta * distance * distance
    return _reduce(where(distance < beta, square, distance - 0.5 * beta), reduction)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """0.5 d ** 2 where d = |input - target| is at most delta, else delta (d - 0.5 delta).

    Source: P. Huber, "Robust Estimation of a Location Parameter" (1964).
    """
    reduction = _reduction("huber_loss", reduction)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, not {delta}")
    input, target = _check_shapes("huber_loss", input, target)
    distance = _abs(input - target)
    far = delta * (distance - 0.5 * delta)
    values = where(distance <= delta, 0.5 * distance * distance, far)
    return _weighted_mean(values, weight, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) for probabilities p in `input`, with logs of at least -100.

    Raises:
        ValueError: a number is outside of [0, 1]. On a device, where this check would make the host
            wait, such a probability gives NaN; targets are not checked.
    """
    reduction = _reduction("binary_cross_entropy", reduction, size_average, reduce)
    input, target = _check_shapes("binary_cross_entropy", input, target)
    _check_floating("binary_cross_entropy", target)
    losses.check_probabilities("binary_cross_entropy", "the input", input)
    losses.check_probabilities("binary_cross_entropy", "the target", target)
    if weight is None and reduction == "mean":
        return losses.binary_cross_entropy(input, target)
    return _weighted(binary_cross_entropy_terms(input, target), weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(input), computed without overflow.

    Args:
        input: scores.
        target: probabilities with the shape of `input`.
        weight: factor of each loss; broadcasts.
        reduction: "mean", "sum" or "none".
        pos_weight: factor of the losses of positive targets; broadcasts.
    """
    name = "binary_cross_entropy_with_logits"
    reduction = _reduction(name, reduction, size_average, reduce)
    input, target = _check_shapes(name, input, target)
    _check_floating(name, target)
    positive = softplus(-input)  # the loss of a target 1; that of 0 is larger by the input
    if pos_weight is not None:
        positive = (1 + (pos_weight - 1) * target) * positive
    return _weighted((1 - target) * input + positive, weight, reduction)


def _check_floating(name: str, target: Tensor) -> None:
    if not target.is_floating_point():
        raise DtypeError(
            f"{name}: the target must have floats, not {target.dtype}; convert it with"
            " target.float()"
        )


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target * (log target - input), for `input` of log-probabilities.

    Args:
        input: log-probabilities.
        target: probabilities, or their logarithms if `log_target`.
        reduction: "batchmean" divides the sum by the size of axis 0, which gives the divergence;
            "mean" divides it by the number of elements.
        log_target: whether the target consists of logarithms.
    """
    batch_mean = reduction == "batchmean"
    reduction = _reduction("kl_div", "sum" if batch_mean else reduction, size_average, reduce)
    input, target = _tensors("kl_div", input, target)
    if log_target:
        values = exp(target) * (target - input)
    else:
        zero = target == 0  # 0 log 0 is 0
        values = where(zero, 0.0, target * log(where(zero, 1.0, target))) - target * input
    total = _reduce(values, reduction)
    return total / (input.shape[0] if input.ndim else 1) if batch_mean else total


# Distances


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between x1 and x2 along `dim`; norms count as at least `eps`."""
    squares = clip((x1 * x1).sum(axis=dim), min=eps * eps)
    others = clip((x2 * x2).sum(axis=dim), min=eps * eps)
    return (x1 * x2).sum(axis=dim) / (_sqrt(squares) * _sqrt(others))


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + eps over the last axis."""
    return vector_norm(x1 - x2 + eps, p=p, axis=-1, keepdims=keepdim)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cosine for target 1, and max(0, cosine - margin) for target -1."""
    reduction = _reduction("cosine_embedding_loss", reduction, size_average, reduce)
    if input1.ndim != target.ndim + 1 or input1.ndim > 2 or input1.shape != input2.shape:
        raise ShapeError(
            "cosine_embedding_loss needs inputs (N, D) and targets (N,), got"
            f" {input1.shape}, {input2.shape} and {target.shape}"
        )
    # PyTorch adds this constant to the squares here, unlike in cosine_similarity.
    squares = ((input1 * input1).sum(axis=-1) + 1e-12) * ((input2 * input2).sum(axis=-1) + 1e-12)
    cosine = (input1 * input2).sum(axis=-1) / _sqrt(squares)
    apart = where(target == -1, clip(cosine - margin, min=0), 0.0)
    return _reduce(where(target == 1, 1 - cosine, apart), reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target * (input1 - input2) + margin); the target 1 means input1 should be larger."""
    reduction = _reduction("margin_ranking_loss", reduction, size_average, reduce)
    if input1.ndim != input2.ndim or input1.ndim != target.ndim:
        raise ShapeError(
            "margin_ranking_loss needs inputs and target with the same number of axes, got"
            f" {input1.shape}, {input2.shape} and {target.shape}"
        )
    return _reduce(clip(-target * (input1 - input2) + margin, min=0), reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The input for target 1, and max(0, margin - input) for target -1."""
    reduction = _reduction("hinge_embedding_loss", reduction, size_average, reduce)
    input, target = _tensors("hinge_embedding_loss", input, target)
    apart = where(target == 1, 0.0, clip(margin - input, min=0))
    return _reduce(where(target == -1, 0.0, input) + apart, reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target * input)) for targets 1 and -1."""
    reduction = _reduction("soft_margin_loss", reduction, size_average, reduce)
    input, target = _tensors("soft_margin_loss", input, target)
    return _reduce(softplus(-target * input), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, distance to the positive - distance to the negative + margin), over the last axis.

    Args:
        anchor, positive, negative: (N, D).
        margin: how much farther away the negative should be.
        p: the norm of the distance.
        eps: added to each difference.
        swap: use the distance from the positive to the negative if it is the smaller one.
        reduction: "mean", "sum" or "none".
    """
    reduction = _reduction("triplet_margin_loss", reduction, size_average, reduce)
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return _reduce(clip(near - far + margin, min=0), reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """0.5 (log var + (input - target) ** 2 / var), with variances of at least `eps`.

    `full` adds the constant 0.5 log(2 pi).
    """
    reduction = _reduction("gaussian_nll_loss", reduction)
    if not isinstance(var, Tensor):
        var = input.detach() * 0 + var
    if var.ndim == input.ndim - 1 and var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    var = var + clip(eps - var.detach(), min=0)  # the gradient flows as if var was not limited
    values = 0.5 * (log(var) + (input - target) ** 2 / var)
    return _reduce(values + 0.5 * math.log(2 * math.pi) if full else values, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(input) - target * input; or, unless `log_input`, input - target * log(input + eps).

    `full` adds Stirling's approximation of log(target!) for targets above 1.
    """
    reduction = _reduction("poisson_nll_loss", reduction, size_average, reduce)
    values = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        safe = where(target > 1, target, 1.0)
        stirling = safe * log(safe) - safe + 0.5 * log(2 * math.pi * safe)
        values = values + where(target > 1, stirling, 0.0)
    return _reduce(values, reduction)


# Modules


class _Loss(Module):
    """Base class of the losses with a `reduction`."""

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.reduction = _reduction(type(self).__name__, reduction, size_average, reduce)

    def count_targets(self, target: Tensor) -> Any:
        """What the mean divides by; a `Trainer` needs a mean to divide a batch."""
        if self.reduction != "mean":
            raise ValueError(
                f"{type(self).__name__}: batches cannot be divided with reduction"
                f" {self.reduction!r}; use 'mean'"
            )
        return target.size


class _WeightedLoss(_Loss):
    """Base class of the losses with a factor for each class or element."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class _ClassLoss(_WeightedLoss):
    """Base class of the losses with classes as targets."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        check_integer(f"{type(self).__name__}: ignore_index", ignore_index, -(2**63))
        self.ignore_index = int(ignore_index)

    def count_targets(self, target: Tensor) -> Any:
        """The number or the weights of the targets that are not ignored."""
        size = super().count_targets(target)
        if target.is_floating_point():
            return size
        counted = target != self.ignore_index
        if self.weight is None:
            return counted.sum()
        rows = self.weight.expand((*target.shape, *self.weight.shape))
        return _sum(pick_classes(rows, target, ignore_index=self.ignore_index))


class NLLLoss(_ClassLoss):
    """-input[target] for log-probabilities (N, C, ...) and integer targets (N, ...)."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return nll_loss(input, target, self.weight, None, self.ignore_index, None, self.reduction)


class CrossEntropyLoss(_ClassLoss):
    """-log(softmax(input)[target]), with the classes on axis 1; see `cross_entropy`.

    `tinytorch.CrossEntropyLoss`, which the lessons build, has the classes on the last axis. For
    inputs (N, C) the two are the same.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction)
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class MSELoss(_Loss):
    """(input - target) ** 2."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """|input - target|."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Quadratic below `beta` and linear above; see `smooth_l1_loss`."""

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Quadratic up to `delta` and linear above; see `huber_loss`."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return huber_loss(input, target, self.reduction, self.delta)


class BCELoss(_WeightedLoss):
    """Binary cross-entropy of probabilities; see `binary_cross_entropy`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross-entropy of scores; see `binary_cross_entropy_with_logits`."""

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(Module):
    """Kullback-Leibler divergence; see `kl_div`."""

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__()
        if reduction != "batchmean":
            reduction = _reduction("KLDivLoss", reduction, size_average, reduce)
        self.reduction, self.log_target = reduction, log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class SoftMarginLoss(_Loss):
    """log(1 + exp(-target * input)) for targets 1 and -1."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return soft_margin_loss(input, target, reduction=self.reduction)


class _MarginLoss(_Loss):
    """Base class of the losses with a margin."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class CosineEmbeddingLoss(_MarginLoss):
    """1 - cosine for target 1, and max(0, cosine - margin) for target -1."""

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(_MarginLoss):
    """max(0, -target * (input1 - input2) + margin)."""

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class HingeEmbeddingLoss(_MarginLoss):
    """The input for target 1, and max(0, margin - input) for target -1."""

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class TripletMarginLoss(_Loss):
    """max(0, distance to the positive - distance to the negative + margin)."""

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        settings = self.margin, self.p, self.eps, self.swap
        return triplet_margin_loss(anchor, positive, negative, *settings, reduction=self.reduction)


class GaussianNLLLoss(_Loss):
    """0.5 (log var + (input - target) ** 2 / var); see `gaussian_nll_loss`."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(_Loss):
    """exp(input) - target * input; see `poisson_nll_loss`."""

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return poisson_nll_loss(
            log_input,
            target,
            self.log_input,
            self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


class CosineSimilarity(Module):
    """The cosine of the angle between two tensors along `dim`."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps over the last axis."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
