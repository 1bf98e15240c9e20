"""The ends of a residual branch, x + dropout(layer(norm(x))), as composites with kernels."""

from typing import Any

from ..layers import apply_dropout, layer_norm
from ..ops.op import composite
from ..tensor import Tensor


@composite
def fork_layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, eps: float) -> Any:
    """x itself and its `layer_norm`: the start of a residual branch.

    A kernel adds up their gradients while it computes that of the norm.
    """
    return x, layer_norm(x, weight, bias, eps=eps)


@composite
def dropout_add(x: Tensor, branch: Tensor, *, p: float, seed: Any) -> Tensor:
    """x + dropout(branch): the end of a residual branch."""
    return x + apply_dropout(branch, p, seed)
