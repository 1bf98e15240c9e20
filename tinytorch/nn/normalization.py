"""PyTorch's normalisations, each as a function and as a module."""

import math
from typing import Any

from .. import layers
from ..arguments import ShapeError, check_integer, check_number
from ..backends import Backend
from ..functions.creation import ones, zeros
from ..modules.module import Module, Parameter
from ..ops import normalization as ops
from ..spatial import BatchNorm, BatchNorm2d
from ..tensor import Tensor

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "GroupNorm",
    "LayerNorm",
    "RMSNorm",
]


def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axes, `normalized_shape`."""
    shape = _last_axes("layer_norm", input, normalized_shape, weight, bias)
    if weight is None:
        axes = tuple(range(input.ndim - len(shape), input.ndim))
        normal = ops.standardize(input, axes=axes, eps=eps)
        return normal if bias is None else normal + bias
    if len(shape) == 1:
        return layers.layer_norm(input, weight, bias, eps=eps)
    flat = _flat(input, shape)
    bias = None if bias is None else bias.reshape(-1)
    return layers.layer_norm(flat, weight.reshape(-1), bias, eps=eps).reshape(input.shape)


def rms_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x / sqrt(mean of squares + eps) * weight over the last axes, `normalized_shape`.

    By default `eps` is the distance from 1 to the next number of the dtype.
    """
    shape = _last_axes("rms_norm", input, normalized_shape, weight)
    if eps is None:
        eps = float(input._backend.xp.finfo(input.dtype).eps)
    if len(shape) == 1:
        return ops.rms_norm(input, weight, eps=eps)
    weight = None if weight is None else weight.reshape(-1)
    return ops.rms_norm(_flat(input, shape), weight, eps=eps).reshape(input.shape)


def _flat(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """x with its last axes, `shape`, as one."""
    return x.reshape(*x.shape[: x.ndim - len(shape)], math.prod(shape))


def _last_axes(name: str, x: Tensor, shape: Any, *parameters: Tensor | None) -> tuple[int, ...]:
    """`shape` as a tuple, which x must end with and the parameters must have."""
    sizes = _shape(name, shape)
    if x.shape[max(0, x.ndim - len(sizes)) :] != sizes:
        raise ShapeError(f"{name} over {sizes} cannot normalise shape {x.shape}")
    for parameter in parameters:
        if parameter is not None and parameter.shape != sizes:
            raise ShapeError(f"{name} over {sizes} cannot take a parameter {parameter.shape}")
    return sizes


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    return tuple([check_integer(f"{name}: normalized_shape", size) for size in sizes])


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each group of channels: x (N, C, ...), weight and bias (C,).

    Source: Y. Wu and K. He, "Group Normalization" (2018).
    """
    num_groups = check_integer("group_norm: num_groups", num_groups, 1)
    if input.ndim < 2 or input.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm needs x (N, C, ...) with C divisible by {num_groups} groups, got shape"
            f" {input.shape}"
        )
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None and value.shape != input.shape[1:2]:
            raise ShapeError(
                f"group_norm of shape {input.shape} needs {name} {input.shape[1:2]}, got"
                f" {value.shape}"
            )
    return ops.group_normalization(input, weight, bias, num_groups=num_groups, eps=eps)


class LayerNorm(layers.LayerNorm):
    """Normalise the last axes, `normalized_shape`, to mean 0 and variance 1, then scale and shift.

    Args:
        normalized_shape: their sizes, or that of the last axis.
        eps: added to the variance.
        elementwise_affine: whether to scale, and to shift if `bias` is true too.
        bias: whether to shift.
        device: of the parameters.
        dtype: of the parameters.
        backend: of the parameters.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        backend: str | Backend | None = None,
    ) -> None:
        Module.__init__(self)
        self.normalized_shape = _shape("LayerNorm", normalized_shape)
        self.eps = float(check_number("LayerNorm: eps", eps))
        self.elementwise_affine = elementwise_affine
        place = device if backend is None else backend
        scale, shift = elementwise_affine, elementwise_affine and bias
        self.weight = _parameter(ones, self.normalized_shape, scale, place, dtype)  # type: ignore[assignment]
        self.bias = _parameter(zeros, self.normalized_shape, shift, place, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        settings = f"eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        return f"{self.normalized_shape}, {settings}, bias={self.bias is not None}"


class RMSNorm(Module):
    """Divide the last axes, `normalized_shape`, by the root of their mean square, then scale.

    Args:
        normalized_shape: their sizes, or that of the last axis.
        eps: added to the mean square; by default the distance from 1 to the next number.
        elementwise_affine: whether to scale.
        device: of the weight.
        dtype: of the weight.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape("RMSNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = _parameter(ones, self.normalized_shape, elementwise_affine, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        affine = self.elementwise_affine
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={affine}"


class GroupNorm(Module):
    """Normalise each group of channels of x (N, C, ...); see `group_norm`.

    Args:
        num_groups: the number of groups, a divisor of C.
        num_channels: C.
        eps: added to the variance.
        affine: whether to scale each channel, and to shift it if `bias` is true too.
        device: of the parameters.
        dtype: of the parameters.
        bias: whether to shift.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels do not make {num_groups} groups")
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        self.weight = _parameter(ones, (num_channels,), affine, device, dtype)
        self.bias = _parameter(zeros, (num_channels,), affine and bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        settings = f"eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"
        return f"{self.num_groups}, {self.num_channels}, {settings}"


class BatchNorm1d(BatchNorm):
    """Normalise each channel of x (N, C) or (N, C, L) over the batch; arguments as `BatchNorm`."""

    shapes = "", ", L"


def _parameter(
    create: Any, shape: tuple[int, ...], wanted: bool, device: Any, dtype: Any
) -> Parameter | None:
    """A parameter of ones or zeros; None unless it is wanted."""
    return Parameter(create(shape, backend=device), dtype=dtype) if wanted else None
