"""Dropout on CUDA, see random.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import launch_vectorized
from .layout import contiguous
from .seeds import seed_arguments

KERNELS = KernelTable()


@KERNELS.forward
def dropout(xp: Namespace, x: Array, *, p: float, seed: Any) -> Any:
    return hide(x, p, seed), (p, seed)


@KERNELS.gradient(dropout)
def dropout_gradient(xp: Namespace, g: Array, p: float, seed: Any) -> Any:
    return hide(g, p, seed)


def hide(x: Array, p: float, seed: Any) -> Array:
    """x with the elements that the seed hides set to zero, the others times 1 / (1 - p)."""
    x = contiguous(x)
    y = cupy.empty_like(x)
    launch_vectorized(
        "dropout", x, x, y, x.size, *seed_arguments(seed, x.size), int(p * 2**32), 1 / (1 - p)
    )
    return y
