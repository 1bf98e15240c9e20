"""Lesson 02: activation functions, each as an op with its gradient and as a module."""

import math
from typing import Any

from .backends.arrays import Array, Axis, Namespace
from .modules.module import Module
from .ops.op import op
from .ops.reductions import _axes
from .tensor import Tensor


@op(promote="common")
def relu(xp: Namespace, x: Array) -> Any:
    """max(x, 0); its derivative at 0 is 0. NaN stays NaN, so that a diverged model shows it."""
    off = x <= 0  # false for NaN
    return xp.where(off, xp.zeros_like(x), x), (off,)


@relu.gradient
def relu_gradient(xp: Namespace, g: Array, off: Array) -> Any:
    return xp.where(off, xp.zeros_like(g), g)


@op(promote="float")
def squared_relu(xp: Namespace, x: Array) -> Any:
    """max(x, 0) ** 2.

    Source: D. So et al., "Primer" (2021).
    """
    rectified = xp.where(x <= 0, xp.zeros_like(x), x)  # NaN stays NaN
    return rectified * rectified, (rectified,)


@squared_relu.gradient
def squared_relu_gradient(xp: Namespace, g: Array, rectified: Array) -> Any:
    return 2 * rectified * g


@op(promote="float")
def sigmoid(xp: Namespace, x: Array) -> Any:
    """1 / (1 + exp(-x)), computed without overflow."""
    small = xp.exp(-xp.abs(x))  # at most 1
    y = xp.where(x >= 0, xp.ones_like(x), small) / (1 + small)
    return y, (y,)


@sigmoid.gradient
def sigmoid_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return g * y * (1 - y)


@op(promote="float")
def silu(xp: Namespace, x: Array) -> Any:
    """x * sigmoid(x), also called swish.

    Source: P. Ramachandran et al., "Searching for Activation Functions" (2017).
    """
    s, _ = sigmoid.forward(xp, x)
    return x * s, (x, s)


@silu.gradient
def silu_gradient(xp: Namespace, g: Array, x: Array, s: Array) -> Any:
    return g * s * (1 + x * (1 - s))


@op(promote="float")
def tanh(xp: Namespace, x: Array) -> Any:
    """The hyperbolic tangent."""
    y = xp.tanh(x)
    return y, (y,)


@tanh.gradient
def tanh_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return g * (1 - y * y)


@op(promote="float")
def gelu(xp: Namespace, x: Array) -> Any:
    """x * Phi(x), where Phi is the standard normal CDF, in GPT-2's tanh approximation.

    Source: D. Hendrycks and K. Gimpel, "Gaussian Error Linear Units" (2016).
    """
    t = xp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))
    return 0.5 * x * (1 + t), (x, t)


@gelu.gradient
def gelu_gradient(xp: Namespace, g: Array, x: Array, t: Array) -> Any:
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return g * 0.5 * (1 + t + x * (1 - t * t) * slope)


@op(promote="float")
def softplus(xp: Namespace, x: Array) -> Any:
    """log(1 + exp(x)), computed without overflow."""
    y = xp.logaddexp(x, xp.zeros_like(x))
    return y, (y,)


@softplus.gradient
def softplus_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    return g * -xp.expm1(-y)  # sigmoid(x) is 1 - exp(-y)


def softmax_array(xp: Namespace, x: Array, axis: Axis = -1) -> Array:
    """Softmax of an array over `axis`, for ops that contain one."""
    if x.size == 0:
        return xp.zeros_like(x)
    largest = xp.max(x, axis=axis, keepdims=True)
    # The maximum of a row that is masked everywhere is -inf, and -inf - -inf would be NaN.
    shift = xp.where(largest == -math.inf, xp.zeros_like(largest), largest)
    weights = xp.exp(x - shift)
    total = xp.sum(weights, axis=axis, keepdims=True)
    return weights / xp.where(total == 0, xp.ones_like(total), total)


@op(promote="float")
def softmax(xp: Namespace, x: Array, *, axis: Axis = -1) -> Any:
    """exp(x) / sum(exp(x)) over `axis`, one or several, without overflow; only -inf gives zeros."""
    axes = _axes(x, axis)
    along: Axis = axes[0] if len(axes) == 1 else axes  # NumPy reduces over an int faster
    y = softmax_array(xp, x, along)
    return y, (y, along)


@softmax.gradient
def softmax_gradient(xp: Namespace, g: Array, y: Array, along: Axis) -> Any:
    return y * (g - xp.sum(g * y, axis=along, keepdims=True))


@op(promote="float")
def log_softmax(xp: Namespace, x: Array, *, axis: Axis = -1) -> Any:
    """log(softmax(x)) over `axis`, one or several, computed without overflow."""
    axes = _axes(x, axis)
    if x.size == 0:
        return xp.zeros_like(x), (x, axes)
    shifted = x - xp.max(x, axis=axes, keepdims=True)
    y = shifted - xp.log(xp.sum(xp.exp(shifted), axis=axes, keepdims=True))
    return y, (y, axes)


@log_softmax.gradient
def log_softmax_gradient(xp: Namespace, g: Array, y: Array, axes: tuple[int, ...]) -> Any:
    return g - xp.exp(y) * xp.sum(g, axis=axes, keepdims=True)


class ReLU(Module):
    """Rectified linear unit, max(x, 0).

    >>> from tinytorch import ReLU, Tensor
    >>> ReLU()(Tensor([-1.0, 2.0]))
    Tensor([0., 2.])
    """

    def forward(self, x: Tensor) -> Tensor:
        return relu(x)


class SquaredReLU(Module):
    """Squared ReLU, max(x, 0) ** 2."""

    def forward(self, x: Tensor) -> Tensor:
        return squared_relu(x)


class Sigmoid(Module):
    """Logistic sigmoid, 1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        return sigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        return tanh(x)


class GELU(Module):
    """Gaussian error linear unit: PyTorch's ``GELU(approximate="tanh")``."""

    def forward(self, x: Tensor) -> Tensor:
        return gelu(x)


class Softmax(Module):
    """Softmax over `axis`, exp(x) / sum(exp(x)).

    >>> from tinytorch import Softmax, Tensor
    >>> Softmax()(Tensor([[0.0, 0.0], [1.0, 1.0]]))
    Tensor([[0.5, 0.5],
            [0.5, 0.5]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return softmax(x, axis=self.axis)
