"""Random numbers, equal on every backend: one host generator, and seeds for dropout masks.

Weights, batches and shuffles are drawn from a NumPy generator on the host. A dropout mask is a hash
of a seed and the position (`backends.random_bits`); the seed is a key and an offset that counts
masks.
"""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backends.base import DefaultFloat
from ..backends.random_bits import Seed
from .generator import Generator

_generator: np.random.Generator = Generator()

CHUNK = 2**14  # numbers


class MaskSeeds:
    """Seeds for dropout masks: a key, and the number of masks drawn with it.

    Args:
        key: a 64-bit integer; while a step is captured, an array on the device (see `Seed`).
        offset: number of the next mask.
    """

    def __init__(self, key: Any, offset: int = 0) -> None:
        self.key, self.offset = key, offset
        self._lock = threading.Lock()

    def next(self) -> Seed:
        """The seed of the next mask; each is drawn once, also by several threads."""
        with self._lock:
            self.offset += 1
            return Seed(self.key, self.offset - 1)

    def skip(self, count: int) -> None:
        """Advance the offset."""
        with self._lock:
            self.offset += count

    def set(self, key: Any, offset: int) -> None:
        """Continue from another key and offset."""
        with self._lock:
            self.key, self.offset = key, offset


class _Override(threading.local):
    """What this thread draws instead of others: seeds of its own, or no weights."""

    masks: MaskSeeds | None = None
    undrawn: bool = False


_override = _Override()
_masks = MaskSeeds(int(np.random.default_rng().integers(2**63)))


def manual_seed(seed: int) -> Generator:
    """Seed the generator and the dropout masks; returns the generator.

    All threads share them: threads that draw at once are repeatable only with generators of their
    own, as arguments, and dropout in a `masks_from` of each.

    >>> from tinytorch import manual_seed
    >>> float(manual_seed(1337).random()) == float(manual_seed(1337).random())
    True
    """
    generator = Generator().manual_seed(seed)
    set_generator(generator)
    return generator


def new_generator(seed: Any) -> np.random.Generator:
    """A generator with a seed, an integer of any size and sign; a generator is returned as is.

    NumPy's seed sequences and bit generators are seeds too.
    """
    if isinstance(seed, np.random.Generator | np.random.SeedSequence | np.random.BitGenerator):
        return np.random.default_rng(seed)  # a generator as is
    return Generator().manual_seed(seed)


def generator() -> np.random.Generator:
    """The generator in use."""
    return _generator


def set_generator(new: np.random.Generator, masks: Sequence[int] | None = None) -> None:
    """Continue with another generator, for example one read from a checkpoint.

    Args:
        new: the generator.
        masks: key and offset of the next dropout mask, as `mask_state` returned them; by default
            the key is derived from the generator's state, without advancing the generator.
    """
    global _generator
    _generator = new
    if masks is None:
        masks = int(copy.deepcopy(new).integers(2**63)), 0
    set_masks(*masks)


def mask_state() -> tuple[int, int]:
    """Key and offset of the next dropout mask."""
    masks = _override.masks or _masks
    return masks.key, masks.offset


def set_masks(key: int, offset: int) -> None:
    """Set the key and offset of the next dropout mask; within `masks_from`, of this thread's."""
    global _masks
    if _override.masks is None:
        _masks = MaskSeeds(key, offset)
    else:
        _override.masks.set(key, offset)


def skip_masks(count: int) -> None:
    """Advance the offset by `count` dropout masks."""
    (_override.masks or _masks).skip(count)


def next_seed() -> Seed:
    """The seed of the next dropout mask, for `random_bits`."""
    return (_override.masks or _masks).next()


@contextmanager
def masks_from(key: Any, offset: int = 0) -> Iterator[MaskSeeds]:
    """A context in which only this thread draws the seeds of its dropout masks from a key.

    Args:
        key: an integer; or an array int64 (2,) on the device, of a key and an offset.
        offset: number of the first mask.
    """
    outside, _override.masks = _override.masks, MaskSeeds(key, offset)
    try:
        yield _override.masks
    finally:
        _override.masks = outside


@contextmanager
def undrawn() -> Iterator[None]:
    """A context in which this thread draws no weights: what `normal` and `uniform` return is zeros.

    For modules whose weights are set afterwards: by an initialisation of the whole model, or from
    a file. The generator stays as it is, and tensors of these zeros take no memory until they are
    written to. Dropout masks are drawn as always.

    >>> from tinytorch import Linear
    >>> from tinytorch.ops import random
    >>> with random.undrawn():
    ...     layer = Linear(2, 1)
    >>> layer.weight.tolist()
    [[0.0, 0.0]]
    """
    outside, _override.undrawn = _override.undrawn, True
    try:
        yield
    finally:
        _override.undrawn = outside


def is_undrawn() -> bool:
    """Whether the thread is in a context `undrawn`."""
    return _override.undrawn


def normal(shape: tuple[int, ...], std: float = 1.0) -> np.ndarray[Any, Any]:
    """Normal numbers of the default dtype with mean 0 and standard deviation `std`."""
    return _drawn(shape, lambda count: _generator.standard_normal(count) * std)


def uniform(shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> np.ndarray[Any, Any]:
    """Numbers of the default dtype, uniform in [low, high)."""
    return _drawn(shape, lambda count: _generator.uniform(low, high, count))


def _drawn(
    shape: tuple[int, ...], draw: Callable[[int], np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any]:
    """The numbers of ``draw(count)`` in the default dtype, drawn in chunks that fit into the cache.

    Drawing float64 numbers for all of a large weight takes twice as long, and three times its
    memory. The stream of numbers does not depend on the chunks.
    """
    if _override.undrawn:
        return np.broadcast_to(DefaultFloat.dtype.type(0), shape)
    out = np.empty(shape, DefaultFloat.dtype)
    flat = out.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK]
        part[...] = draw(part.size)
    return out
