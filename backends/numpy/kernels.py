"""The table of all NumPy kernels: op name -> `Kernel`, merged from the tables of the op families.

A kernel has the signature of the op that it implements and computes the same up to rounding, with
fewer passes over memory, in place and in blocks. The readable reference is in the lesson files; a
test compares the two.
"""

from ..base import KernelTable
from . import (
    activations,
    attention,
    attention_weights,
    elementwise,
    heads,
    layer_norm,
    linear,
    losses,
    optim,
    rotary,
    smooth_activations,
)

KERNELS = KernelTable(
    {
        **activations.KERNELS,
        **attention.KERNELS,
        **attention_weights.KERNELS,
        **elementwise.KERNELS,
        **heads.KERNELS,
        **layer_norm.KERNELS,
        **linear.KERNELS,
        **losses.KERNELS,
        **optim.KERNELS,
        **rotary.KERNELS,
        **smooth_activations.KERNELS,
    }
)
