"""PyTorch's activation functions, each as a function and as a module.

With `inplace=True` the result is a new tensor too; the input keeps its values.
"""

from typing import Any

from .. import activations
from ..activations import log_softmax as _log_softmax
from ..activations import softmax as _softmax
from ..arguments import check_number, shown, warn
from ..modules.module import Module, Parameter
from ..ops import activations as ops
from ..ops.elementwise import abs as _abs
from ..ops.elementwise import where
from ..ops.movement import split
from ..ops.reductions import _axes
from ..tensor import Tensor

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]

Sigmoid, Tanh = activations.Sigmoid, activations.Tanh


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    return activations.relu(input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x), where Phi is the standard normal CDF; "tanh" selects GPT-2's approximation."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', not {shown(approximate)}")
    return ops.gelu_erf(input) if approximate == "none" else activations.gelu(input)


def sigmoid(input: Tensor) -> Tensor:
    return activations.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    return activations.tanh(input)


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """exp(x) / sum(exp(x)) over `dim`; `dtype` is that of the computation and the result."""
    return _softmax(_cast(input, dtype), axis=_dim("softmax", input, dim))


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """log(softmax(x)) over `dim`, computed without overflow."""
    return _log_softmax(_cast(input, dtype), axis=_dim("log_softmax", input, dim))


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """softmax(-x) over `dim`."""
    return _softmax(-_cast(input, dtype), axis=_dim("softmin", input, dim))


def _cast(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None else x.to(dtype)


def _dim(name: str, x: Tensor, dim: int | None) -> int:
    """`dim`, or PyTorch's choice where it is left out."""
    if dim is not None:
        return dim
    chosen = 0 if x.ndim in (0, 1, 3) else 1
    warn(f"{name} without dim is over dim {chosen} of shape {x.shape}; pass dim={chosen}")
    return chosen


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where it is positive, else negative_slope * x."""
    return ops.leaky_relu(input, negative_slope=negative_slope)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where it is positive, else weight * x; weight (1,) or (C,) for the size C of axis 1."""
    if weight.ndim and weight.shape != (1,) and input.ndim > 1:
        weight = weight.reshape(-1, *[1] * (input.ndim - 2))  # (C, 1, ...)
    return where(input > 0, input, weight * input)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where it is positive, else alpha * (exp(x) - 1)."""
    return ops.elu(input, alpha=alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where it is positive, else alpha * (exp(x / alpha) - 1)."""
    if alpha == 0:
        raise ValueError("celu: alpha must not be 0")
    return ops.elu(input, alpha=alpha, rate=1 / alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu with the constants that keep mean 0 and variance 1.

    Source: G. Klambauer et al., "Self-Normalizing Neural Networks" (2017).
    """
    return ops.elu(input, alpha=1.6732632423543772, scale=1.0507009873554805)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x), also called swish."""
    return activations.silu(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)).

    Source: D. Misra, "Mish" (2019).
    """
    return input * activations.tanh(activations.softplus(input))


def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(beta * x)) / beta, and x where beta * x exceeds `threshold`."""
    y = activations.softplus(input) if beta == 1 else activations.softplus(input * beta) / beta
    # From 20 on, the two are equal in float32.
    return y if threshold >= 20 else where(input * beta > threshold, input, y)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (1 + _abs(input))


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), computed without overflow."""
    return -activations.softplus(-input)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - activations.tanh(input)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x limited to [min_val, max_val]."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val={min_val} must not exceed max_val={max_val}")
    return ops.hardtanh(input, low=min_val, high=max_val)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """x limited to [0, 6]."""
    return ops.hardtanh(input, low=0, high=6)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """x + 3, limited to [0, 6], / 6."""
    return ops.hardtanh(input + 3, low=0, high=6) / 6


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * hardsigmoid(x)."""
    return ops.hardswish(input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it exceeds `threshold`, else `value`."""
    return where(input <= threshold, value, input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by `lambd`, and 0 where it is nearer than that."""
    check_number("softshrink: lambd", lambd)
    moved = where(input > lambd, input - lambd, where(input < -lambd, input + lambd, 0.0))
    return where(input != input, input, moved)  # NaN stays NaN


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| exceeds `lambd`, else 0."""
    return where((input >= -lambd) & (input <= lambd), 0.0, input)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a * sigmoid(b) for the halves a and b of x along `dim`.

    Source: Y. Dauphin et al., "Language Modeling with Gated Convolutional Networks" (2017).
    """
    (axis,) = _axes(input._array, (dim,)) or (None,)
    if axis is None or input.shape[axis] % 2:
        raise ValueError(f"glu halves dim {dim}, which must be even; got shape {input.shape}")
    half = input.shape[axis] // 2
    first, second = split(input, sizes=(half, half), axis=axis)
    return first * activations.sigmoid(second)


class _InPlace(Module):
    """Base class of the activations with an argument `inplace`, which PyTorch's repr shows."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace, activations.ReLU):
    """Rectified linear unit, max(x, 0)."""


class ReLU6(_InPlace):
    """min(max(x, 0), 6)."""

    def forward(self, input: Tensor) -> Tensor:
        return relu6(input)


class SELU(_InPlace):
    """Scaled exponential linear unit, see `selu`."""

    def forward(self, input: Tensor) -> Tensor:
        return selu(input)


class SiLU(_InPlace):
    """x * sigmoid(x), also called swish."""

    def forward(self, input: Tensor) -> Tensor:
        return silu(input)


class Mish(_InPlace):
    """x * tanh(softplus(x))."""

    def forward(self, input: Tensor) -> Tensor:
        return mish(input)


class Hardswish(Module):
    """x * hardsigmoid(x)."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return hardswish(input)


class Hardsigmoid(Module):
    """x + 3, limited to [0, 6], / 6."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return hardsigmoid(input)


class LeakyReLU(Module):
    """x where it is positive, else negative_slope * x."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Tensor) -> Tensor:
        return leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}{', inplace=True' if self.inplace else ''}"


class PReLU(Module):
    """`LeakyReLU` whose slope is a parameter, one for all or one for each of axis 1.

    Source: K. He et al., "Delving Deep into Rectifiers" (2015).
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        # `num_parameters` is also a method of every module here.
        self._slopes, self.init = num_parameters, init
        self.weight = Parameter([float(init)] * num_parameters, dtype=dtype, backend=device)

    def forward(self, input: Tensor) -> Tensor:
        return prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self._slopes}"


class ELU(Module):
    """Exponential linear unit: x where it is positive, else alpha * (exp(x) - 1)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        return elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}{', inplace=True' if self.inplace else ''}"


class CELU(ELU):
    """x where it is positive, else alpha * (exp(x / alpha) - 1)."""

    def forward(self, input: Tensor) -> Tensor:
        return celu(input, self.alpha)


class GELU(Module):
    """Gaussian error linear unit, exact by default; ``approximate="tanh"`` is GPT-2's."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """log(1 + exp(beta * x)) / beta, and x where beta * x exceeds `threshold`."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        return softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """Softmax over `dim`."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of softmax over `dim`, computed without overflow."""

    def forward(self, input: Tensor) -> Tensor:
        return log_softmax(input, self.dim)


class Softmin(Softmax):
    """softmax(-x) over `dim`."""

    def forward(self, input: Tensor) -> Tensor:
        return softmin(input, self.dim)


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, input: Tensor) -> Tensor:
        return softsign(input)


class LogSigmoid(Module):
    """log(sigmoid(x)), computed without overflow."""

    def forward(self, input: Tensor) -> Tensor:
        return logsigmoid(input)


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, input: Tensor) -> Tensor:
        return tanhshrink(input)


class Hardtanh(Module):
    """x limited to [min_val, max_val]."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, input: Tensor) -> Tensor:
        return hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        more = ", inplace=True" if self.inplace else ""
        return f"min_val={self.min_val}, max_val={self.max_val}{more}"


class Threshold(Module):
    """x where it exceeds `threshold`, else `value`."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input: Tensor) -> Tensor:
        return threshold(input, self.threshold, self.value)

    def extra_repr(self) -> str:
        more = ", inplace=True" if self.inplace else ""
        return f"threshold={self.threshold}, value={self.value}{more}"


class Softshrink(Module):
    """x moved towards 0 by `lambd`, and 0 where it is nearer than that."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(Softshrink):
    """x where |x| exceeds `lambd`, else 0."""

    def forward(self, input: Tensor) -> Tensor:
        return hardshrink(input, self.lambd)


class GLU(Module):
    """Gated linear unit, a * sigmoid(b) for the halves a and b of x along `dim`."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
