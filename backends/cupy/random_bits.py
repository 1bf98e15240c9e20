"""Random bits on CUDA, see random.cu."""

import math

import cupy

from ..base import NativeArray as Array
from .launch import launch_elementwise
from .seeds import seed_words


def random_bits(seed: int, shape: tuple[int, ...]) -> Array:
    """uint32 random bits, a pure function of seed and position: `hashing.random_bits`."""
    count = math.prod(shape)
    words = seed_words(seed, count)
    bits = cupy.empty(shape, cupy.uint32)
    if count:
        launch_elementwise(
            "random_bits", cupy.empty(0, cupy.float32), bits, count, *words, count=count
        )
    return bits
