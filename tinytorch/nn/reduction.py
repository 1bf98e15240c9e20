"""The `reduction` of PyTorch's losses: "mean", "sum" or "none"."""

from typing import Any

from ..arguments import shown, warn
from ..ops.reductions import sum as _sum
from ..tensor import Tensor

_REDUCTIONS = ("mean", "sum", "none")


def reduce_values(values: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return values.mean()
    return _sum(values) if reduction == "sum" else values


def check_reduction(name: str, reduction: str, size_average: Any = None, reduce: Any = None) -> str:
    """`reduction`, checked; or what the flags mean that it has replaced in PyTorch."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warn(f"{name}: instead of size_average and reduce, pass reduction={reduction!r}")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{name}: reduction must be one of {_REDUCTIONS}, not {shown(reduction)}")
    return reduction


def weighted(values: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return reduce_values(values if weight is None else values * weight, reduction)


def weighted_mean(values: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Like `weighted`, but the mean divides by the sum of the weights."""
    if weight is None or reduction != "mean":
        return weighted(values, weight, reduction)
    weight = weight.expand(values.shape)
    return _sum(values * weight) / _sum(weight)
