"""GELU, squared ReLU and SwiGLU on CUDA; the kernels are in activations.cu."""

from collections.abc import Callable
from typing import Any

import cupy

from ..base import Kernel, KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import launch_elementwise, launch_vectorized
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


@KERNELS.forward
def swiglu(xp: Namespace, gate: Array, x: Array) -> Any:
    """silu(gate) * x for arrays of one shape."""
    if getattr(gate, "shape", None) != getattr(x, "shape", 1):
        return NotImplemented  # broadcast
    gate, x = contiguous(gate), contiguous(x)
    y = cupy.empty_like(x)
    launch_vectorized("swiglu", x, gate, x, y, x.size)
    return y, (gate, x)


@KERNELS.gradient(swiglu)
def swiglu_gradient(xp: Namespace, g: Array, gate: Array, x: Array) -> Any:
    dgate, dx = cupy.empty_like(x), cupy.empty_like(x)
    launch_elementwise("swiglu_gradient", x, contiguous(g), gate, x, dgate, dx, x.size)
    return dgate, dx
