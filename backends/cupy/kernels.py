"""The table of all CUDA kernels: op name -> `Kernel`, merged from the tables of the op families.

A kernel has the signature of the op that it implements, and never waits for the device: scalars
stay there, and an id out of range sets a flag there, see `errors`.
"""

from ..base import KernelTable
from . import (
    activations,
    attention,
    attention_weights,
    dropout,
    elementwise,
    embeddings,
    heads,
    layer_norm,
    linear,
    losses,
    matmul,
    optim,
)

KERNELS = KernelTable(
    {
        **activations.KERNELS,
        **attention.KERNELS,
        **attention_weights.KERNELS,
        **dropout.KERNELS,
        **elementwise.KERNELS,
        **embeddings.KERNELS,
        **heads.KERNELS,
        **layer_norm.KERNELS,
        **linear.KERNELS,
        **losses.KERNELS,
        **matmul.KERNELS,
        **optim.KERNELS,
    }
)
