"""One generator on the host for weights, shuffles and seeds: equal on every backend."""

from typing import Any

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Start the generator anew, so that all that follows is repeatable; returns it.

    >>> manual_seed(1337)
    """
    global _generator
    _generator = np.random.default_rng(seed)
    return _generator


def generator() -> np.random.Generator:
    """The generator in use."""
    return _generator


def set_generator(new: np.random.Generator) -> None:
    """Go on with another generator, for example one read from a checkpoint."""
    global _generator
    _generator = new


def normal(shape: tuple[int, ...], std: float = 1.0) -> np.ndarray[Any, Any]:
    """float32 normal numbers with mean 0."""
    return (_generator.standard_normal(shape) * std).astype(np.float32)


def uniform(shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> np.ndarray[Any, Any]:
    """float32 numbers, uniform in [low, high)."""
    return _generator.uniform(low, high, shape).astype(np.float32)


def draw_seed() -> int:
    """A 63-bit seed for `random_bits`."""
    return int(_generator.integers(2**63))
