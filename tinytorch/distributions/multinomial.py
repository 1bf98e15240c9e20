"""The multinomial distribution."""

from typing import Any

from ..tensor import Tensor
from .categorical import Categorical
from .distribution import Distribution

__all__ = ["Multinomial"]


class Multinomial(Distribution):
    """How often each of K classes is drawn in `total_count` draws.

    Args:
        total_count: the number of draws.
        probs: (..., K), as of `Categorical`.
        logits: in place of `probs`.
    """

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.total_count = total_count
        self._categorical = Categorical(probs, logits)
        self.probs, self.logits = self._categorical.probs, self._categorical.logits
        super().__init__(self.probs.shape[:-1], self.probs.shape[-1:])

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    def sample(self, sample_shape: Any = ()) -> Tensor:
        drawn = self._categorical.sample((self.total_count, *sample_shape))  # (draws, ...)
        counts = self.probs.new_zeros(self.total_count, *self._shape(sample_shape))
        counts.scatter_(-1, drawn.unsqueeze(-1), 1.0)
        return counts.sum(0)
