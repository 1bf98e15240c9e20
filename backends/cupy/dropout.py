"""Dropout on CUDA; the kernel is in dropout.cu."""

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
    """x of any shape; seed as in `seeds.seed_arguments`."""
    return apply_mask(x, p, seed), (p, seed)


@KERNELS.gradient(dropout)
def dropout_gradient(xp: Namespace, g: Array, p: float, seed: Any) -> Any:
    return apply_mask(g, p, seed)


def apply_mask(x: Array, p: float, seed: Any) -> Array:
    """Set a fraction p of the elements of x, chosen by the seed, to zero; scale the others by
    1 / (1 - p)."""
    x = contiguous(x)
    y = cupy.empty_like(x)
    launch_vectorized(
        "dropout", x, x, y, x.size, *seed_arguments(seed, x.shape), int(p * 2**32), 1 / (1 - p)
    )
    return y
