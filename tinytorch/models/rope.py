"""Rotary positions of models whose context was made longer after their training."""

from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import check_integer, check_number
from ..backends import Backend
from ..embeddings import RotaryEmbedding
from ..tensor import Tensor


@dataclass(frozen=True)
class RopeScaling:
    """How the angles of rotary positions were slowed down for a longer context.

    By default all of them, which is called linear scaling. With `original`, a pair that turns less
    than `low` times within that context is slowed down by `factor`, one that turns more than `high`
    times, and so tells apart close positions, is left as it is, and those between are blended.

    Args:
        factor: by which the angles are divided.
        low, high: numbers of turns.
        original: the context in which they are counted, in tokens.

    Source: S. Chen et al., "Extending Context Window of Large Language Models via Positional
    Interpolation" (2023); for `original`, the models of A. Dubey et al., "The Llama 3 Herd of
    Models" (2024).
    """

    factor: float
    low: float = 1.0
    high: float = 4.0
    original: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number("Llama: factor of rope_scaling", self.factor, 1, 10**9)
        check_number("Llama: low of rope_scaling", self.low, 0, 10**9)
        check_number("Llama: high of rope_scaling", self.high, 0, 10**9)
        if self.low >= self.high:
            raise ValueError(
                f"Llama: low={self.low} of rope_scaling must be less than high={self.high}"
            )
        if self.original is not None:
            check_integer("Llama: original of rope_scaling", self.original, 1)

    def divisors(self, frequencies: NDArray[Any]) -> NDArray[Any]:
        """The numbers by which frequencies, in radians per position, are divided."""
        turns = frequencies * (self.original or 0) / (2 * pi)
        kept = np.clip((turns - self.low) / (self.high - self.low), 0, 1)
        kept = kept if self.original else np.zeros_like(kept)
        divisors: NDArray[Any] = 1 / (kept + (1 - kept) / self.factor)
        return divisors


def frequencies(head_dim: int, base: float) -> NDArray[Any]:
    """The angle by which each pair is rotated per position: (hs / 2,)."""
    steps: NDArray[Any] = base ** (-np.arange(0, head_dim, 2) / head_dim)
    return steps


class ScaledRotaryEmbedding(RotaryEmbedding):
    """A `RotaryEmbedding` whose angles grow more slowly. Arguments as for it, and `scaling`.

    >>> scaled = ScaledRotaryEmbedding(8, 64, scaling=RopeScaling(2.0))
    >>> bool((scaled.cos[2] == RotaryEmbedding(8, 64).cos[1]).all())
    True
    """

    def __init__(
        self,
        head_dim: int,
        max_seq_len: int,
        base: float = 10000.0,
        *,
        scaling: RopeScaling,
        backend: str | Backend | None = None,
    ) -> None:
        super().__init__(head_dim, max_seq_len, base, backend=backend)
        plain = frequencies(head_dim, base)
        angles = np.arange(max_seq_len)[:, None] * (plain / scaling.divisors(plain))  # (T, hs/2)
        for name, table in (("cos", np.cos(angles)), ("sin", np.sin(angles))):
            tensor = Tensor(table.astype(np.float32), backend=backend)
            self.register_buffer(name, tensor, persistent=False)
