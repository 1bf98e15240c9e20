"""GELU and squared ReLU on CUDA; the kernels are in activations.cu."""

from collections.abc import Callable
from typing import Any

import cupy

from ..base import Kernel, KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import launch_vectorized
from .layout import contiguous

KERNELS = KernelTable()


def _elementwise(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the forward and the gradient of an elementwise op on arrays of any shape.

    Args:
        name: name of the forward kernel; the gradient kernel is named {name}_gradient.
    """

    def forward(xp: Namespace, x: Array) -> Any:
        x = contiguous(x)
        y = cupy.empty_like(x)
        launch_vectorized(name, x, x, y, x.size)
        return y, (x,)

    def gradient(xp: Namespace, g: Array, x: Array) -> Any:
        dx = cupy.empty_like(x)
        launch_vectorized(f"{name}_gradient", x, contiguous(g), x, dx, x.size)
        return dx

    return forward, gradient


for _name in ("gelu", "squared_relu"):
    KERNELS[_name] = Kernel(*_elementwise(_name), own=True)
