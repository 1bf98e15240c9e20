"""The names of `torch.nn.init`: fill a tensor in place, without a gradient, and return it.

Random numbers come from `generator`, or else from the generator of `manual_seed`.
"""

import math
from typing import Any

import numpy as np

from ..arguments import warn
from ..autograd import no_grad
from ..backends.base import NumpyArray
from ..missing import missing_name
from ..ops import random
from ..tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Numbers uniform in [a, b)."""
    return _write(tensor, _source(generator).uniform(a, b, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal numbers."""
    return _write(tensor, _source(generator).standard_normal(tensor.shape) * std + mean)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Normal numbers in [a, b]: those outside are drawn again."""
    if not a - 2 * std <= mean <= b + 2 * std:
        warn(f"trunc_normal_: mean {mean} is more than 2 std from [{a}, {b}]; values are clipped")
    source = _source(generator)
    values = np.asarray(source.standard_normal(tensor.shape) * std + mean)
    for _ in range(100):
        outside = (values < a) | (values > b)
        if not outside.any():
            break
        values[outside] = source.standard_normal(int(outside.sum())) * std + mean
    return _write(tensor, values.clip(a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """The number `val`."""
    return _write(tensor, np.full(tensor.shape, float(val)))


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix, for a tensor of two axes."""
    _check_axes("eye_", tensor, 2, 2)
    return _write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The kernel of a convolution (out, in, ...) that copies channels, in `groups` of outputs."""
    _check_axes("dirac_", tensor, 3, 5)
    if tensor.shape[0] % groups:
        raise ValueError(f"dirac_: {tensor.shape[0]} channels do not divide into {groups} groups")
    values = np.zeros(tensor.shape)
    size = tensor.shape[0] // groups
    centre = tuple(n // 2 for n in tensor.shape[2:])
    for group in range(groups):
        for channel in range(min(size, tensor.shape[1])):
            values[(group * size + channel, channel, *centre)] = 1
    return _write(tensor, values)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which the standard deviation of weights before an activation is multiplied.

    >>> from tinytorch.nn.init import calculate_gain
    >>> round(calculate_gain("relu"), 4), calculate_gain("sigmoid")
    (1.4142, 1)
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float):
            raise ValueError(f"calculate_gain: the slope must be a number, not {param!r}")
        return math.sqrt(2 / (1 + slope**2))
    gains = {"sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}
    linear = ["linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3))]
    gains |= dict.fromkeys(linear, 1)
    if nonlinearity not in gains:
        known = ", ".join([*gains, "leaky_relu"])
        raise ValueError(f"calculate_gain: unknown nonlinearity {nonlinearity!r}; known: {known}")
    return gains[nonlinearity]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform numbers with variance gain² · 2 / (fan_in + fan_out).

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
    neural networks" (2010).
    """
    bound = gain * math.sqrt(6 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal numbers with variance gain² · 2 / (fan_in + fan_out); see `xavier_uniform_`."""
    std = gain * math.sqrt(2 / sum(_fans("xavier_normal_", tensor)))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform numbers with variance gain² / fan.

    Args:
        tensor: weights (out, in, ...).
        a: the negative slope of the rectifier that follows, for "leaky_relu".
        mode: "fan_in" keeps the variance in the forward, "fan_out" in the backward.
        nonlinearity: an activation of `calculate_gain`.
        generator: the generator to draw from.

    Source: K. He et al., "Delving Deep into Rectifiers" (2015).
    """
    std = _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -math.sqrt(3) * std, math.sqrt(3) * std, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal numbers with variance gain² / fan; see `kaiming_uniform_`."""
    std = _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """A random matrix (out, rest) with orthonormal rows or columns, times `gain`.

    Source: A. Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks" (2013).
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_ needs at least two axes, not shape {tensor.shape}")
    if not tensor.numel():
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    tall = max(rows, columns), min(rows, columns)
    q, r = np.linalg.qr(_source(generator).standard_normal(tall))
    q *= np.sign(np.diag(r))  # which makes the distribution uniform
    return _write(tensor, gain * (q.T if rows < columns else q).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal numbers, with the fraction `sparsity` of each column set to 0."""
    _check_axes("sparse_", tensor, 2, 2)
    source = _source(generator)
    values = source.standard_normal(tensor.shape) * std
    zeros = math.ceil(sparsity * tensor.shape[0])
    for column in range(tensor.shape[1]):
        values[source.permutation(tensor.shape[0])[:zeros], column] = 0
    return _write(tensor, values)


def _source(generator: Any) -> np.random.Generator:
    if generator is None:
        return random.generator()
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"generator must be a Generator, not {type(generator).__name__}")
    return generator


def _write(tensor: Tensor, values: NumpyArray) -> Tensor:
    with no_grad():
        tensor[...] = Tensor(values, dtype=tensor.dtype, backend=tensor.backend)
    return tensor


def _check_axes(name: str, tensor: Tensor, least: int, most: int) -> None:
    if not least <= tensor.ndim <= most:
        axes = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(f"{name} needs a tensor of {axes} axes, not shape {tensor.shape}")


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    """The numbers of inputs and outputs that a weight (out, in, ...) connects to one element."""
    if tensor.ndim < 2:
        raise ValueError(
            f"{name}: fan in and fan out need a tensor of at least two axes, not shape"
            f" {tensor.shape}; for a bias, use zeros_ or uniform_"
        )
    field = math.prod(tensor.shape[2:])
    return max(1, tensor.shape[1] * field), max(1, tensor.shape[0] * field)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """PyTorch's name, which is private but which the `reset_parameters` of scripts use."""
    return _fans("_calculate_fan_in_and_fan_out", tensor)


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    modes = ("fan_in", "fan_out")
    if mode not in modes:
        raise ValueError(f"{name}: mode must be 'fan_in' or 'fan_out', not {mode!r}")
    fan = _fans(name, tensor)[modes.index(mode)]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def __getattr__(name: str) -> Any:
    raise missing_name("torch.nn.init", name, globals())
