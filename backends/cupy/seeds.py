"""Seeds of random bits as arguments of CUDA kernels."""

import functools
import math

import cupy
import numpy as np

from ..base import NativeArray as Array
from ..random_bits import Seed
from .graph import is_capturing, to_device

_first_row = 0  # of the full batch, in this process


def set_row_offset(first: int) -> None:
    """See `base.Backend.set_row_offset`."""
    global _first_row
    _first_row = first


def seed_arguments(seed: int | Seed, shape: tuple[int, ...]) -> tuple[Array, int, int]:
    """A kernel's arguments `key` (2,), `offset` and `first` for random numbers of a shape.

    Raises:
        ValueError: more than 2**32 numbers; see `random_bits.random_bits`.
    """
    first = _first_row * math.prod(shape[1:])
    end = first + math.prod(shape)
    if end > 2**32:
        raise ValueError(f"random_bits returns at most 2**32 numbers per call, got {end}")
    key, offset = seed if isinstance(seed, Seed) else (seed, 0)
    if not isinstance(key, cupy.ndarray):
        # Not cached during capture: if the capture failed, the array would stay uninitialised.
        copy = _to_device if is_capturing() else _cached
        key = copy(key % 2**64, cupy.cuda.runtime.getDevice())
    return key, (offset + 2**63) % 2**64 - 2**63, first  # its low 64 bits, as a signed number


def _to_device(key: int, device: int) -> Array:
    return to_device(np.array([key, 0], np.uint64).view(np.int64))


_cached = functools.lru_cache(maxsize=16)(_to_device)
