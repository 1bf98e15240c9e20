"""Lesson 03: the basic layers Linear, Dropout and LayerNorm."""

import math
from typing import Any

from .arguments import ShapeError, check_flag, check_integer, check_number
from .backends import Backend
from .backends.base import Array, Namespace
from .modules.containers import ModuleList, Sequential
from .modules.module import Module, Parameter
from .ops import random
from .ops.op import op
from .ops.reductions import _mean
from .tensor import Tensor

__all__ = ["Dropout", "LayerNorm", "Linear", "Module", "ModuleList", "Parameter", "Sequential"]


@op(promote="float")
def linear(xp: Namespace, x: Array, weight: Array, bias: Array | None = None) -> Any:
    """x @ weight.T + bias, for x (..., in), weight (out, in) and bias (out,)."""
    rows = xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))  # (N, in)
    y = rows @ xp.matrix_transpose(weight)  # (N, out)
    if bias is not None:
        y = y + bias
    return xp.reshape(y, (*x.shape[:-1], weight.shape[0])), (rows, weight, x.shape)


@linear.gradient
def linear_gradient(
    xp: Namespace, g: Array, rows: Array, weight: Array, shape: tuple[int, ...]
) -> Any:
    g = xp.reshape(g, (rows.shape[0], weight.shape[0]))  # (N, out)
    return (
        lambda: xp.reshape(g @ weight, shape),
        lambda: xp.matrix_transpose(g) @ rows,
        lambda: xp.sum(g, axis=0),
    )


class Linear(Module):
    """y = x @ W.T + b, on the last axis.

    Args:
        in_features: size of x's last axis.
        out_features: size of y's last axis.
        bias: whether to add b.
        device: of the parameters; PyTorch's name of the backend.
        dtype: of the parameters.
        backend: of the parameters.

    Attributes:
        weight: W (out_features, in_features), initialised uniformly in ±1/sqrt(in_features), as in
            PyTorch.
        bias: b (out_features,), initialised like W, or None.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        backend: str | Backend | None = None,
    ) -> None:
        in_features = check_integer("Linear: in_features", in_features)
        out_features = check_integer("Linear: out_features", out_features)
        check_flag("Linear: bias", bias)
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        shape = (out_features, in_features)
        place: Any = {"dtype": dtype, "device": device, "backend": backend}
        self.weight = Parameter(random.uniform(shape, -bound, bound), **place)
        self.bias = Parameter(random.uniform(shape[:1], -bound, bound), **place) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        if x.shape[-1:] != (self.in_features,):
            raise ShapeError(
                f"Linear({self.in_features}, {self.out_features}) needs a last axis of"
                f" {self.in_features}, got shape {x.shape}"
            )
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


@op(promote="float")
def dropout(xp: Namespace, x: Array, *, p: float, seed: Any) -> Any:
    """Zero each element of x with probability p, and scale the others by 1 / (1 - p)."""
    bits = xp.random_bits(seed, x.shape)
    keep = xp.astype(bits >= int(p * 2**32), x.dtype) * (1 / (1 - p))
    return x * keep, (keep,)


@dropout.gradient
def dropout_gradient(xp: Namespace, g: Array, keep: Array) -> Any:
    return g * keep


def apply_dropout(x: Tensor, p: float, seed: Any) -> Tensor:
    """`dropout` for any probability p in [0, 1], including 0 and 1."""
    if p == 0:
        return x
    return x * 0 if p == 1 else dropout(x, p=p, seed=seed)


def _probability(p: Any) -> float:
    return float(check_number("Dropout: p", p, 0, 1))


class Dropout(Module):
    """During training, zero elements with probability p and scale the others by 1 / (1 - p).

    The mask is a hash of a seed and the position, so it is the same on every backend.

    Source: N. Srivastava et al., "Dropout" (2014).
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = _probability(p)

    def draw(self) -> tuple[float, Any]:
        """The probability in effect (0 outside training), and the seed of the next mask."""
        p = _probability(self.p) if self.training else 0.0  # it may be assigned at any time
        return p, random.next_seed() if 0 < p < 1 else None

    def forward(self, x: Tensor) -> Tensor:
        return apply_dropout(x, *self.draw())

    def extra_repr(self) -> str:
        return f"p={self.p}"


@op(promote="float")
def layer_norm(
    xp: Namespace, x: Array, weight: Array, bias: Array | None = None, *, eps: float = 1e-5
) -> Any:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis, C.

    Source: J. Ba et al., "Layer Normalization" (2016), equation 4.
    """
    centred = x - _mean(xp, x)
    variance = _mean(xp, centred * centred)  # (..., 1)
    scale = 1 / xp.sqrt(variance + eps)  # (..., 1)
    normal = centred * scale
    y = normal * weight
    return (y if bias is None else y + bias), (normal, scale, weight)


@layer_norm.gradient
def layer_norm_gradient(xp: Namespace, g: Array, normal: Array, scale: Array, weight: Array) -> Any:
    d = g * weight  # gradient of the normalised values
    mean_d, mean_dn = _mean(xp, d), _mean(xp, d * normal)  # (..., 1)
    # Autograd sums g * normal and g to the shapes of weight and bias.
    return (d - mean_d - normal * mean_dn) * scale, lambda: g * normal, g


class LayerNorm(Module):
    """Normalise the last axis to mean 0 and variance 1, then scale and shift.

    Args:
        normalized_shape: size C of the last axis, the only one that is normalised; or (C,).
        eps: added to the variance.
        bias: whether to add a shift.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        *,  # PyTorch's third argument is another one
        bias: bool = True,
        backend: str | Backend | None = None,
    ) -> None:
        if isinstance(normalized_shape, tuple | list) and len(normalized_shape) == 1:
            normalized_shape = normalized_shape[0]
        normalized_shape = check_integer("LayerNorm: normalized_shape", normalized_shape)
        check_flag("LayerNorm: bias", bias)
        self.size, self.eps = normalized_shape, float(check_number("LayerNorm: eps", eps))
        self.weight = Parameter([1.0] * normalized_shape, backend=backend)
        self.bias = Parameter([0.0] * normalized_shape, backend=backend) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        if x.shape[-1:] != (self.size,):
            raise ValueError(f"LayerNorm({self.size}) cannot normalise shape {x.shape}")
        return layer_norm(x, self.weight, self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{self.size}, eps={self.eps}, bias={self.bias is not None}"
