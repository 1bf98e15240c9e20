"""Losses of classes: cross-entropy and negative log-likelihood, with the classes on axis 1.

Source: PyTorch's `torch.nn.functional.cross_entropy` for the layout and the arguments.
"""

from .. import losses
from ..activations import log_softmax as _log_softmax
from ..arguments import DtypeError, ShapeError, warn
from ..losses import _tensors
from ..ops.elementwise import where
from ..ops.losses import pick_classes
from ..ops.movement import permute
from ..ops.reductions import sum as _sum
from ..tensor import Tensor
from .reduction import check_reduction, reduce_values


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
    reduction = check_reduction("cross_entropy", reduction, size_average, reduce)
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
    reduction = check_reduction("nll_loss", reduction, size_average, reduce)
    input, target = _tensors("nll_loss", input, target)
    _check_classes("nll_loss", input, target)
    loss, counted = _negative_log_likelihood(_classes_last(input), target, weight, ignore_index)
    return _class_mean(loss, counted, reduction)


def _class_mean(loss: Tensor, counted: Tensor, reduction: str) -> Tensor:
    """The losses reduced; the mean divides by the sum of the targets' weights."""
    return _sum(loss) / counted if reduction == "mean" else reduce_values(loss, reduction)


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
    return reduce_values(loss, reduction)


def _classes_last(x: Tensor) -> Tensor:
    """(N, C, d1, ...) -> (N, d1, ..., C)."""
    return x if x.ndim < 3 else permute(x, axes=(0, *range(2, x.ndim), 1))


def _check_classes(name: str, input: Tensor, target: Tensor) -> None:
    """Check that integer targets fit scores with the classes on axis 1."""
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
    if fits_last:
        warn(
            f"{name} takes axis 1 of the input {scores} as the classes, as PyTorch does; the target"
            f" {shape} would also fit classes on the last axis. If they are there, flatten both:"
            f" {name}(input.view(-1, {scores[-1]}), target.view(-1))"
        )
