"""Addition of two arrays on CUDA, see elementwise.cu."""

from typing import Any

import cupy
import numpy as np

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .cuda_source import FLOAT_DTYPES
from .launch import launch_vectorized

KERNELS = KernelTable()


@KERNELS.forward
def add(xp: Namespace, x: Array, y: Array) -> Any:
    return plus(x, y), ()


@KERNELS.gradient(add)
def add_gradient(xp: Namespace, g: Array) -> Any:
    return g, g


def plus(x: Array, y: Array) -> Array:
    """x + y, faster than CuPy's where nothing has to be broadcast, cast or gathered."""
    if not (_plain(x) and _plain(y) and x.shape == y.shape and x.dtype == y.dtype):
        return x + y
    both = cupy.empty_like(x)
    launch_vectorized("add", x, x, y, both, x.size)
    return both


_DTYPES = {np.dtype(name) for name in FLOAT_DTYPES}


def _plain(x: Any) -> bool:
    """Whether x is an array, not a number, that kernels can read as it is."""
    return isinstance(x, cupy.ndarray) and x.flags.c_contiguous and x.dtype in _DTYPES
