"""The Bernoulli distribution."""

from typing import Any

from ..functions.sampling import bernoulli
from ..tensor import Tensor
from .distribution import Distribution, one_of, parameters

__all__ = ["Bernoulli"]


class Bernoulli(Distribution):
    """1 with a probability, otherwise 0.

    Args:
        probs: the probability of 1.
        logits: in place of `probs`, of which it is the sigmoid's argument.
    """

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        one_of("Bernoulli", probs, logits)
        if probs is not None:
            (self.probs,) = parameters(probs)
            tiny = float(self.probs._backend.xp.finfo(self.probs.dtype).eps)
            p = self.probs.clamp(tiny, 1 - tiny)
            self.logits: Tensor = p.log() - (1 - p).log()
        else:
            (self.logits,) = parameters(logits)
            self.probs = self.logits.sigmoid()
        super().__init__(self.probs.shape)

    @property
    def mean(self) -> Tensor:
        return self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return bernoulli(self.probs.detach().expand(*self._shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        # log p = -softplus(-logits), log(1 - p) = -softplus(logits)
        return value * self.logits - _softplus(self.logits)

    def entropy(self) -> Tensor:
        return _softplus(self.logits) - self.probs * self.logits


def _softplus(x: Tensor) -> Tensor:
    return x.clamp(min=0) + (-x.abs()).exp().log1p()
