"""Random bits from a counter: the same on every backend, whatever the order of evaluation."""

import math
from typing import Any

from .base import Array, Namespace

_LIMIT = 2**32


def _mix(x: Array) -> Array:
    """A bijection of uint32 in which every input bit flips half of the output bits.

    Source: C. Wellons, "Prospecting for Hash Functions" (2018), the function lowbias32.
    """
    x = x ^ (x >> 16)
    x = x * 0x7FEB352D
    x = x ^ (x >> 15)
    x = x * 0x846CA68B
    return x ^ (x >> 16)


def random_bits(
    xp: Namespace, seed: int, shape: tuple[int, ...], first_row: int = 0, **where: Any
) -> Array:
    """uint32 array of `shape`: element i is a hash of (seed, i), so no state is kept.

    Args:
        seed: any integer; its low 64 bits count.
        first_row: of a larger array, whose rows from there on these are.
        where: further arguments for the creation of the array, such as `device`.

    Raises:
        ValueError: more than 2**32 elements, where the counter would repeat.
    """
    count = math.prod(shape)
    start = first_row * math.prod(shape[1:])
    if start + count > _LIMIT:
        raise ValueError(f"random_bits makes at most 2**32 numbers a call, not {start + count}")
    counter = xp.arange(start, start + count, dtype=xp.uint32, **where)
    low, high = seed % _LIMIT, (seed >> 32) % _LIMIT
    return xp.reshape(_mix(_mix(counter ^ low) ^ high), shape)
