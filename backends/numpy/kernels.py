"""The fast versions of the package's code in NumPy: kernels, optimizer updates, the decode step.

`KERNELS` maps op names to kernels, merged from the tables of the op families. A kernel has the
signature of the op that it implements and computes the same up to rounding, with fewer passes over
memory, in place and in blocks. The readable reference is in the lesson files; a test compares the
two.
"""

from ..base import KernelTable
from . import (
    activations,
    attention,
    attention_weights,
    batch_norm,
    convolution,
    elementwise,
    embedding,
    fused_blocks,
    heads,
    layer_norm,
    linear,
    losses,
    optim,
    pooling,
    rms_norm,
    rotary,
    smooth_activations,
)
from .decode_step import NumpyDecodeStep
from .optim import UPDATES

__all__ = ["DECODE_STEP", "KERNELS", "UPDATES"]

KERNELS = KernelTable(
    {
        **activations.KERNELS,
        **attention.KERNELS,
        **attention_weights.KERNELS,
        **batch_norm.KERNELS,
        **convolution.KERNELS,
        **elementwise.KERNELS,
        **embedding.KERNELS,
        **fused_blocks.KERNELS,
        **heads.KERNELS,
        **layer_norm.KERNELS,
        **linear.KERNELS,
        **losses.KERNELS,
        **optim.KERNELS,
        **pooling.KERNELS,
        **rms_norm.KERNELS,
        **rotary.KERNELS,
        **smooth_activations.KERNELS,
    }
)

DECODE_STEP = NumpyDecodeStep
