"""The normal distribution."""

import math
from typing import Any

from ..functions.random import randn
from ..tensor import Tensor
from .distribution import Distribution, parameters

__all__ = ["Normal"]


class Normal(Distribution):
    """The normal distribution.

    Args:
        loc: the mean.
        scale: the standard deviation.

    >>> from tinytorch import tensor
    >>> from tinytorch.distributions import Normal
    >>> Normal(tensor([0.0, 1.0]), 1.0).sample().shape
    (2,)
    """

    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = parameters(loc, scale)
        if validate_args is not False and not bool((self.scale > 0).all()):
            raise ValueError("Normal: scale must be positive")
        super().__init__(self.loc.shape)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return self.scale**2

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = randn(self._shape(sample_shape), dtype=self.loc.dtype, device=self.loc._backend)
        return self.loc + noise * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        return -(z**2) / 2 - self.scale.log() - math.log(2 * math.pi) / 2

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of a sample of at most `value`."""
        z = (value - self.loc) / (self.scale * math.sqrt(2))
        return 0.5 * (1 + z.erf())

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()
