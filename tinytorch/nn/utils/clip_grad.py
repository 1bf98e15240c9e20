"""Clip gradients by their norm or their value."""

import math
from collections.abc import Iterable
from typing import Any

from ...arguments import check_number
from ...autograd import no_grad
from ...functions.joining import concat
from ...tensor import Tensor
from ...training import clip_grad_norm

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]

Tensors = Tensor | Iterable[Tensor]


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients together so that their norm is at most `max_norm`.

    Args:
        parameters: tensors; those without a gradient are skipped.
        max_norm: the maximum.
        norm_type: the order of the norm; `math.inf` for the largest absolute value.
        error_if_nonfinite: whether a norm that is infinite or NaN is an error.
        foreach: without effect.

    Returns:
        the norm before scaling, a 0-d tensor; 0 if there are no gradients.

    >>> from tinytorch import Parameter
    >>> from tinytorch.nn.utils import clip_grad_norm_
    >>> p = Parameter([3.0, 4.0])
    >>> (p * p / 2).sum().backward()
    >>> clip_grad_norm_([p], 1.0).item(), [round(g, 2) for g in p.grad.tolist()]
    (5.0, [0.6, 0.8])
    """
    parameters = _with_grad("clip_grad_norm_", parameters)
    gradients = [p.grad for p in parameters if p.grad is not None]
    if float(norm_type) == 2.0 and gradients and not error_if_nonfinite:
        return clip_grad_norm(parameters, max_norm)
    norm = get_total_norm(gradients, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def get_total_norm(
    tensors: Tensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors together, as of one vector."""
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    order = float(norm_type)
    with no_grad():
        if not given:
            return Tensor(0.0)
        if order == math.inf:
            norm = concat([t.abs().amax().reshape(1) for t in given]).amax()
        else:
            norm = sum((t.abs() ** order).sum() for t in given) ** (1 / order)
    if error_if_nonfinite and not math.isfinite(norm.item()):
        raise RuntimeError(
            f"the total norm of order {order} of the gradients is {norm.item()}; with"
            " error_if_nonfinite=False they are scaled by it all the same"
        )
    return norm


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients by ``max_norm / total_norm`` if that is below 1."""
    check_number("clip_grad_norm_: max_norm", max_norm)
    with no_grad():
        factor = (max_norm / (total_norm + 1e-6)).clip(max=1.0)
        for parameter in _with_grad("clip_grads_with_norm_", parameters):
            parameter.grad *= factor.to(dtype=parameter.dtype)


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Limit each element of the gradients to [-clip_value, clip_value]."""
    clip_value = check_number("clip_grad_value_: clip_value", clip_value)
    with no_grad():
        for parameter in _with_grad("clip_grad_value_", parameters):
            parameter.grad.clamp_(-clip_value, clip_value)


def _with_grad(name: str, parameters: Tensors) -> list[Any]:
    """The parameters that have a gradient."""
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for parameter in given:
        if not isinstance(parameter, Tensor):
            raise TypeError(f"{name} takes tensors, not {type(parameter).__name__}")
    return [parameter for parameter in given if parameter.grad is not None]
