"""Losses of numbers, probabilities and distances, as functions.

They take `input` and `target`, and `reduction`: "mean", "sum" or "none".
"""

import math

from .. import losses
from ..activations import softplus
from ..arguments import DtypeError, ShapeError
from ..losses import _check_shapes, _tensors
from ..ops.elementwise import abs as _abs
from ..ops.elementwise import clip, exp, log, minimum, where
from ..ops.elementwise import sqrt as _sqrt
from ..ops.losses import binary_cross_entropy_terms
from ..ops.reductions import vector_norm
from ..tensor import Tensor
from .reduction import check_reduction, reduce_values, weighted, weighted_mean


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target) ** 2; the shapes must be equal."""
    reduction = check_reduction("mse_loss", reduction, size_average, reduce)
    input, target = _check_shapes("mse_loss", input, target)
    difference = input - target
    return weighted_mean(difference * difference, weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|; the shapes must be equal."""
    reduction = check_reduction("l1_loss", reduction, size_average, reduce)
    input, target = _check_shapes("l1_loss", input, target)
    return weighted_mean(_abs(input - target), weight, reduction)


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
    reduction = check_reduction("smooth_l1_loss", reduction, size_average, reduce)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must be at least 0, not {beta}")
    input, target = _check_shapes("smooth_l1_loss", input, target)
    distance = _abs(input - target)
    if beta == 0:
        return reduce_values(distance, reduction)
    square = 0.5 / beta * distance * distance
    return reduce_values(where(distance < beta, square, distance - 0.5 * beta), reduction)


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
    reduction = check_reduction("huber_loss", reduction)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, not {delta}")
    input, target = _check_shapes("huber_loss", input, target)
    distance = _abs(input - target)
    far = delta * (distance - 0.5 * delta)
    values = where(distance <= delta, 0.5 * distance * distance, far)
    return weighted_mean(values, weight, reduction)


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
    reduction = check_reduction("binary_cross_entropy", reduction, size_average, reduce)
    input, target = _check_shapes("binary_cross_entropy", input, target)
    _check_floating("binary_cross_entropy", target)
    losses.check_probabilities("binary_cross_entropy", "the input", input)
    losses.check_probabilities("binary_cross_entropy", "the target", target)
    if weight is None and reduction == "mean":
        return losses.binary_cross_entropy(input, target)
    return weighted(binary_cross_entropy_terms(input, target), weight, reduction)


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
    reduction = check_reduction(name, reduction, size_average, reduce)
    input, target = _check_shapes(name, input, target)
    _check_floating(name, target)
    positive = softplus(-input)  # the loss of a target 1; that of 0 is larger by the input
    if pos_weight is not None:
        positive = (1 + (pos_weight - 1) * target) * positive
    return weighted((1 - target) * input + positive, weight, reduction)


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
    reduction = check_reduction("kl_div", "sum" if batch_mean else reduction, size_average, reduce)
    input, target = _tensors("kl_div", input, target)
    if log_target:
        values = exp(target) * (target - input)
    else:
        zero = target == 0  # 0 log 0 is 0
        values = where(zero, 0.0, target * log(where(zero, 1.0, target))) - target * input
    total = reduce_values(values, reduction)
    return total / (input.shape[0] if input.ndim else 1) if batch_mean else total


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
    reduction = check_reduction("cosine_embedding_loss", reduction, size_average, reduce)
    if input1.ndim != target.ndim + 1 or input1.ndim > 2 or input1.shape != input2.shape:
        raise ShapeError(
            "cosine_embedding_loss needs inputs (N, D) and targets (N,), got"
            f" {input1.shape}, {input2.shape} and {target.shape}"
        )
    # PyTorch adds this constant to the squares here, unlike in cosine_similarity.
    squares = ((input1 * input1).sum(axis=-1) + 1e-12) * ((input2 * input2).sum(axis=-1) + 1e-12)
    cosine = (input1 * input2).sum(axis=-1) / _sqrt(squares)
    apart = where(target == -1, clip(cosine - margin, min=0), 0.0)
    return reduce_values(where(target == 1, 1 - cosine, apart), reduction)


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
    reduction = check_reduction("margin_ranking_loss", reduction, size_average, reduce)
    if input1.ndim != input2.ndim or input1.ndim != target.ndim:
        raise ShapeError(
            "margin_ranking_loss needs inputs and target with the same number of axes, got"
            f" {input1.shape}, {input2.shape} and {target.shape}"
        )
    return reduce_values(clip(-target * (input1 - input2) + margin, min=0), reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The input for target 1, and max(0, margin - input) for target -1."""
    reduction = check_reduction("hinge_embedding_loss", reduction, size_average, reduce)
    input, target = _tensors("hinge_embedding_loss", input, target)
    apart = where(target == 1, 0.0, clip(margin - input, min=0))
    return reduce_values(where(target == -1, 0.0, input) + apart, reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target * input)) for targets 1 and -1."""
    reduction = check_reduction("soft_margin_loss", reduction, size_average, reduce)
    input, target = _tensors("soft_margin_loss", input, target)
    return reduce_values(softplus(-target * input), reduction)


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
    reduction = check_reduction("triplet_margin_loss", reduction, size_average, reduce)
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduce_values(clip(near - far + margin, min=0), reduction)


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
    reduction = check_reduction("gaussian_nll_loss", reduction)
    if not isinstance(var, Tensor):
        var = input.detach() * 0 + var
    if var.ndim == input.ndim - 1 and var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    var = var + clip(eps - var.detach(), min=0)  # the gradient flows as if var was not limited
    values = 0.5 * (log(var) + (input - target) ** 2 / var)
    return reduce_values(values + 0.5 * math.log(2 * math.pi) if full else values, reduction)


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
    reduction = check_reduction("poisson_nll_loss", reduction, size_average, reduce)
    values = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        safe = where(target > 1, target, 1.0)
        stirling = safe * log(safe) - safe + 0.5 * log(2 * math.pi * safe)
        values = values + where(target > 1, stirling, 0.0)
    return reduce_values(values, reduction)
