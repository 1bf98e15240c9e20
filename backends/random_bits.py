"""Counter-based random bits: equal on every backend, whatever the order of evaluation."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from .base import Array, Namespace

_LIMIT = 2**32


class Seed(NamedTuple):
    """The seed of one stream of random bits among many that share a key.

    As in PyTorch's CUDA generator, a captured step reads the key and a first offset from the
    device, where they are overwritten before each replay; the offset of a stream within the step is
    fixed.

    Attributes:
        key: an integer, or int64 (2,) on the device: the key and the first offset.
        offset: number of the stream, counted from the first offset.
    """

    key: Any
    offset: int


def _mix64(x: int) -> int:
    """A bijection of 64-bit integers that maps 0 to 0.

    Source: G. Steele et al., "Fast Splittable Pseudorandom Number Generators" (2014), SplitMix64.
    """
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


def _mix(x: Array, narrow: Callable[[Array], Array]) -> Array:
    """A bijection of 32-bit integers in which every input bit flips half of the output bits.

    Source: C. Wellons, "Prospecting for Hash Functions" (2018), the function lowbias32.
    """
    x = x ^ (x >> 16)
    x = narrow(x * 0x7FEB352D)
    x = x ^ (x >> 15)
    x = narrow(x * 0x846CA68B)
    return x ^ (x >> 16)


def random_bits(
    xp: Namespace,
    seed: int | Seed,
    shape: tuple[int, ...],
    first_row: int = 0,
    wide: bool = False,
    **where: Any,
) -> Array:
    """Return a uint32 array of `shape`: element i is a hash of (seed, i), so there is no state.

    Args:
        seed: any integer (only its low 64 bits are used), or a `Seed` with an integer key.
        first_row: index of the first row within a larger array, such as the full batch.
        wide: return the same numbers as int64, for a library without arithmetic of uint32.
        where: further arguments of the creation function, such as `device`.

    Raises:
        ValueError: more than 2**32 elements, after which the counter would repeat.
    """
    count = math.prod(shape)
    start = first_row * math.prod(shape[1:])
    if start + count > _LIMIT:
        raise ValueError(f"random_bits returns at most 2**32 numbers per call, got {start + count}")
    word = seed.key ^ _mix64(seed.offset % 2**64) if isinstance(seed, Seed) else seed
    counter = xp.arange(start, start + count, dtype=xp.int64 if wide else xp.uint32, **where)
    low, high = word % _LIMIT, (word >> 32) % _LIMIT

    def narrow(x: Array) -> Array:  # products of uint32 wrap around by themselves
        return x & (_LIMIT - 1) if wide else x

    return xp.reshape(_mix(_mix(counter ^ low, narrow) ^ high, narrow), shape)
