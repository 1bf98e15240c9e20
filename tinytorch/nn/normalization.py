"""PyTorch's normalisations, each as a function and as a module."""

import math
from typing import Any

from .. import layers
from ..arguments import ShapeError, check_integer, check_number
from ..autograd import no_grad
from ..backends import Backend
from ..functions.creation import ones, zeros
from ..modules.hooks import STATEFUL
from ..modules.module import Module, Parameter
from ..ops import normalization as ops
from ..ops.reductions import mean, var
from ..tensor import Tensor

__all__ = [
    "BatchNorm1d",
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
    if input.ndim < 2 or input.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm needs x (N, C, ...) with C divisible by {num_groups} groups, got shape"
            f" {input.shape}"
        )
    size = math.prod(input.shape[1:]) // num_groups
    groups = input.reshape(input.shape[0], num_groups, size)
    normal = ops.standardize(groups, axes=(2,), eps=eps).reshape(input.shape)
    return _scaled(normal, weight, bias)


def _scaled(normal: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """normal (N, C, ...) * weight (C,) + bias (C,)."""
    shape = (1, -1, *[1] * (normal.ndim - 2))
    if weight is not None:
        normal = normal * weight.reshape(shape)
    return normal if bias is None else normal + bias.reshape(shape)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of x (N, C, ...) over the batch and all other axes.

    In training the batch's mean and variance are used, and the running ones are moved towards them,
    in place, by the fraction `momentum`; otherwise the running ones are used.

    Source: S. Ioffe and C. Szegedy, "Batch Normalization" (2015).
    """
    if input.ndim < 2:
        raise ShapeError(f"batch_norm needs x (N, C, ...), got shape {input.shape}")
    axes = (0, *range(2, input.ndim))
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm outside of training needs running_mean and running_var")
        shape = (1, -1, *[1] * (input.ndim - 2))
        centred = input - running_mean.reshape(shape)
        normal = centred / (running_var.reshape(shape) + eps) ** 0.5
        return _scaled(normal, weight, bias)
    count = math.prod(input.shape[axis] for axis in axes)
    if count == 1:
        raise ValueError(
            f"batch_norm in training needs more than 1 value per channel, got shape {input.shape};"
            " use eval() for single examples"
        )
    with no_grad():
        for running, now in ((running_mean, mean), (running_var, var)):
            if running is not None:
                running += momentum * (now(input.detach(), axis=axes) - running)
    return _scaled(ops.standardize(input, axes=axes, eps=eps), weight, bias)


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


class BatchNorm1d(Module):
    """Normalise each channel of x (N, C) or (N, C, L); see `batch_norm`.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how far the running mean and variance move towards those of each batch; None for
            the average of all batches.
        affine: whether to scale each channel, and to shift it if `bias` is true too.
        track_running_stats: whether there are running mean and variance, for evaluation.
        device: of parameters and buffers.
        dtype: of parameters and buffers.
        bias: whether to shift.
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = check_integer("BatchNorm1d: num_features", num_features)
        self.eps, self.momentum, self.affine = eps, momentum, affine
        self.track_running_stats = track_running_stats
        self.weight = _parameter(ones, (num_features,), affine, device, dtype)
        self.bias = _parameter(zeros, (num_features,), affine and bias, device, dtype)
        buffers: Any = (None, None, None)
        if track_running_stats:
            sizes = {"backend": device, **({} if dtype is None else {"dtype": dtype})}
            counter = Tensor(0, dtype="int64", backend=device)
            buffers = zeros(num_features, **sizes), ones(num_features, **sizes), counter
        names = "running_mean", "running_var", "num_batches_tracked"
        for name, value in zip(names, buffers, strict=True):
            self.register_buffer(name, value)

    def reset_running_stats(self) -> None:
        """Forget all batches."""
        if self.running_mean is not None:
            with no_grad():
                for name, value in (("mean", 0), ("var", 1)):
                    getattr(self, f"running_{name}")[...] = value
                self.num_batches_tracked[...] = 0  # type: ignore[index]

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (2, 3) or input.shape[1] != self.num_features:
            raise ShapeError(
                f"BatchNorm1d({self.num_features}) needs x (N, {self.num_features}) or"
                f" (N, {self.num_features}, L), got shape {input.shape}"
            )
        momentum: Any = self.momentum
        if self.training and self.num_batches_tracked is not None:
            with no_grad():
                self.num_batches_tracked += 1
            if momentum is None:
                momentum = 1 / self.num_batches_tracked
        return batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine},"
            f" bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


STATEFUL.add(BatchNorm1d)


def _parameter(
    create: Any, shape: tuple[int, ...], wanted: bool, device: Any, dtype: Any
) -> Parameter | None:
    """A parameter of ones or zeros; None unless it is wanted."""
    return Parameter(create(shape, backend=device), dtype=dtype) if wanted else None
