"""The generator of random numbers: NumPy's, with the methods of PyTorch's."""

import json
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Variable

if TYPE_CHECKING:
    from ..tensor import Tensor


class Generator(np.random.Generator):
    """A generator of random numbers: NumPy's PCG64, with the methods of ``torch.Generator``.

    The numbers are drawn on the host and are the same on every backend; for the same seed, they
    differ from PyTorch's.

    Args:
        device: without effect.

    >>> from tinytorch import Generator, rand
    >>> g = Generator().manual_seed(1337)
    >>> first = rand(2, generator=g)
    >>> bool((rand(2, generator=g.manual_seed(1337)) == first).all())
    True
    """

    def __init__(self, device: Any = None) -> None:
        self._seed: int = np.random.SeedSequence().entropy % 2**63  # type: ignore[operator]
        super().__init__(np.random.PCG64(self._seed))

    @property
    def device(self) -> Any:
        from ..backends import device

        return device("cpu")

    def manual_seed(self, seed: int) -> "Generator":
        """Start again from a seed, an integer of any size and sign, and return the generator."""
        self._seed = check_seed(seed)
        self.bit_generator.state = np.random.PCG64(_unsigned(self._seed)).state
        return self

    def seed(self) -> int:
        """Start again from a random seed, and return the seed."""
        return self.manual_seed(Generator()._seed)._seed

    def initial_seed(self) -> int:
        """The seed that the generator was last started from."""
        return self._seed

    def get_state(self) -> "Tensor":
        """The state as a tensor of bytes, which can be saved."""
        return encoded({"seed": self._seed, "state": self.bit_generator.state})

    def set_state(self, state: "Tensor") -> "Generator":
        """Continue from a state that `get_state` returned.

        Raises:
            RuntimeError: it is no such state; the generator is as it was.
        """
        try:
            found = decoded(state)
            seed, self.bit_generator.state = index(found["seed"]), found["state"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RuntimeError("set_state needs a tensor that get_state() returned") from error
        self._seed = seed
        return self

    def __reduce__(self) -> Any:
        return _restore, (self._seed, self.bit_generator.state)


def encoded(values: dict[str, Any]) -> "Tensor":
    """Values for JSON as a tensor of bytes."""
    return Variable._result_class(
        np.frombuffer(json.dumps(values).encode(), np.uint8), backend="numpy"
    )


def decoded(state: "Tensor") -> Any:
    """The values that `encoded` was given."""
    return json.loads(state.numpy().astype(np.uint8).tobytes())


def check_seed(seed: Any) -> int:
    """A seed as a Python integer; raises TypeError for anything else."""
    try:
        return index(seed)
    except TypeError:
        raise TypeError(f"a seed must be an integer, got {seed!r}") from None


def _unsigned(seed: int) -> int:
    return seed if seed >= 0 else seed % 2**64


def _restore(seed: int, state: Any) -> Generator:
    """Rebuild a generator from the values that `Generator.__reduce__` returned."""
    result = Generator()
    result._seed, result.bit_generator.state = seed, state
    return result
