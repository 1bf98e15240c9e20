"""Dropout on CUDA; the kernels are in dropout.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import launch_vectorized
from .layout import contiguous, is_supported
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
    launch_vectorized("dropout", x, x, y, *_settings(x, p, seed))
    return y


def _settings(x: Array, p: float, seed: Any) -> tuple[Any, ...]:
    """The arguments of the kernels for the elements of x, after the arrays."""
    return x.size, *seed_arguments(seed, x.shape), int(p * 2**32), 1 / (1 - p)


@KERNELS.forward
def dropout_add(xp: Namespace, x: Array, branch: Array, *, p: float, seed: Any) -> Any:
    """x + dropout(branch) for arrays of one shape and dtype, in one pass."""
    if not 0 < p < 1 or not is_supported(x) or (x.shape, x.dtype) != (branch.shape, branch.dtype):
        return NotImplemented
    x, branch = contiguous(x), contiguous(branch)
    y = cupy.empty_like(x)
    launch_vectorized("dropout_add", x, x, branch, y, *_settings(x, p, seed))
    return y, (p, seed)


@KERNELS.gradient(dropout_add)
def dropout_add_gradient(xp: Namespace, g: Array, p: float, seed: Any) -> Any:
    return g, lambda: apply_mask(g, p, seed)
