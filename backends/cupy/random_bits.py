"""Random bits on CUDA; the kernel is in random_bits.cu."""

import math
from typing import Any

import cupy

from ..base import NativeArray as Array
from .launch import launch_elementwise
from .seeds import seed_arguments


def random_bits(seed: Any, shape: tuple[int, ...]) -> Array:
    """uint32 random bits, a pure function of seed and position; see `backends.random_bits`."""
    count = math.prod(shape)
    key = seed_arguments(seed, shape)
    bits = cupy.empty(shape, cupy.uint32)
    if count:
        launch_elementwise(
            "random_bits", cupy.empty(0, cupy.float32), bits, count, *key, count=count
        )
    return bits
