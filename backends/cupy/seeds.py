"""Seeds as CUDA kernels take them."""

from typing import Any

import cupy

from ..base import NativeArray as Array


def seed_words(seed: Any, count: int) -> tuple[int, int, Array | None]:
    """The low and the high 32 bits of a seed for `count` numbers, see `hashing.random_bits`; for a
    live one, see `Backend.live`, in their place the array on the device that holds both."""
    if count > 2**32:
        raise ValueError(f"random_bits makes at most 2**32 numbers a call, not {count}")
    if isinstance(seed, cupy.ndarray):
        return 0, 0, seed.reshape(1).view(cupy.uint32)
    return seed % 2**32, (seed >> 32) % 2**32, None
