"""The table of all CUDA kernels: op name -> `Kernel`, merged from the tables of the op families.

A kernel has the signature of the op that it implements, and never waits for the device: scalars
stay there, and an id out of range sets a flag there (see `errors`).
"""

from ..base import KernelTable
from . import (
    activations,
    attention,
    attention_weights,
    channels,
    convolution,
    dropout,
    elementwise,
    embedding,
    heads,
    layer_norm,
    linear,
    losses,
    mixed_precision,
    optim,
    pooling,
    rms_norm,
    rotary,
)

KERNELS = KernelTable(
    {
        **activations.KERNELS,
        **attention.KERNELS,
        **attention_weights.KERNELS,
        **channels.KERNELS,
        **convolution.KERNELS,
        **dropout.KERNELS,
        **elementwise.KERNELS,
        **embedding.KERNELS,
        **heads.KERNELS,
        **layer_norm.KERNELS,
        **linear.KERNELS,
        **losses.KERNELS,
        **mixed_precision.KERNELS,
        **optim.KERNELS,
        **pooling.KERNELS,
        **rms_norm.KERNELS,
        **rotary.KERNELS,
    }
)
