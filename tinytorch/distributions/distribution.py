"""Distribution, the base class of probability distributions."""

from typing import Any

from ..autograd import Variable, no_grad
from ..functions.creation import tensor
from ..functions.repeating import broadcast_tensors
from ..tensor import Tensor


class Distribution:
    """A batch of distributions of one kind.

    Args:
        batch_shape: one distribution for each element of this shape.
        event_shape: the shape of one sample.
    """

    has_rsample = False

    def __init__(
        self, batch_shape: tuple[int, ...] = (), event_shape: tuple[int, ...] = ()
    ) -> None:
        self.batch_shape, self.event_shape = tuple(batch_shape), tuple(event_shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw samples without a gradient: sample_shape + batch_shape + event_shape."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw samples through which gradients flow to the parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no rsample: use sample()")

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability, or the density, of `value`."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The entropy of each distribution, in nats."""
        raise NotImplementedError

    def _shape(self, sample_shape: Any) -> tuple[int, ...]:
        return (*sample_shape, *self.batch_shape, *self.event_shape)


def parameters(*values: Any) -> list[Tensor]:
    """Numbers and tensors as tensors of one shape."""
    like = next((v for v in values if isinstance(v, Variable)), None)
    backend = None if like is None else like._backend
    tensors = [v if isinstance(v, Tensor) else tensor(float(v), device=backend) for v in values]
    return list(broadcast_tensors(*tensors))


def one_of(name: str, probs: Any, logits: Any) -> None:
    """Check that one of two arguments is given."""
    if (probs is None) == (logits is None):
        raise ValueError(f"{name} takes either probs or logits")
