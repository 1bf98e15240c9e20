"""Distributions of classes."""

from typing import Any

from ..functions.repeating import broadcast_tensors
from ..functions.sampling import multinomial
from ..tensor import Tensor
from .distribution import Distribution, one_of

__all__ = ["Categorical"]


class Categorical(Distribution):
    """A distribution of the integers 0 to K - 1.

    Args:
        probs: (..., K), not negative; they are divided by their sum.
        logits: (..., K), in place of `probs`: logarithms of probabilities up to a constant.

    >>> from tinytorch import tensor
    >>> from tinytorch.distributions import Categorical
    >>> policy = Categorical(tensor([0.0, 2.0]))
    >>> policy.probs, policy.sample()
    (Tensor([0., 1.]), Tensor(1))
    """

    def __init__(
        self,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        one_of("Categorical", probs, logits)
        if probs is not None:
            if probs.ndim < 1:
                raise ValueError("Categorical: probs must have at least one axis")
            if validate_args is not False and bool((probs < 0).any()):
                raise ValueError("Categorical: probs must not be negative")
            self.probs: Tensor = probs / probs.sum(-1, keepdim=True)
            tiny = float(self.probs._backend.xp.finfo(self.probs.dtype).eps)
            self.logits: Tensor = self.probs.clamp(tiny, 1 - tiny).log()
        elif logits is not None:
            if logits.ndim < 1:
                raise ValueError("Categorical: logits must have at least one axis")
            self.logits = logits - logits.logsumexp(-1, keepdim=True)
            self.probs = self.logits.softmax(-1)
        super().__init__(self.probs.shape[:-1])

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._shape(sample_shape)
        count = 1
        for n in sample_shape:
            count *= n
        rows = self.probs.detach().reshape(-1, self.probs.shape[-1])
        drawn = multinomial(rows, count, replacement=True)  # (rows, count)
        return drawn.t().reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        value, logits = value.long().unsqueeze(-1), self.logits
        shape = broadcast_tensors(value, logits.detach()[..., :1])[0].shape
        return (
            logits.expand(*shape[:-1], logits.shape[-1])
            .gather(-1, value.expand(*shape))
            .squeeze(-1)
        )

    def entropy(self) -> Tensor:
        least = float(self.logits._backend.xp.finfo(self.logits.dtype).min)
        return -(self.logits.clamp(min=least) * self.probs).sum(-1)
