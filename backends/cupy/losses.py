"""Cross-entropy on CUDA; the kernels are in losses.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .errors import error_flag
from .launch import launch, launch_rows
from .layout import as_ids, as_rows, contiguous

KERNELS = KernelTable()


@KERNELS.forward
def cross_entropy(xp: Namespace, logits: Array, targets: Array, *, ignore_index: int = -100) -> Any:
    """logits (..., V), targets (...) -> mean loss ().

    Saves the logits as rows (N, V), the targets, the logsumexp of each row, and (mean loss, number
    of targets) in one array.
    """
    rows, classes = as_rows(logits), as_ids(targets)  # (N, V) and (N,)
    N, V = rows.shape
    logsumexp, losses = cupy.empty(N, rows.dtype), cupy.empty(N, rows.dtype)
    result = cupy.empty(2, rows.dtype)  # mean loss, number of targets
    settings = (N, V, ignore_index)
    launch_rows(
        "cross_entropy_rows", rows, N, rows, classes, logsumexp, losses, *settings, error_flag()
    )
    launch(
        "cross_entropy_mean", rows.dtype, (1,), (32, 32), losses, classes, result, N, ignore_index
    )
    return result[0], (rows, classes, logsumexp, result, ignore_index, logits.shape)


@KERNELS.gradient(cross_entropy)
def cross_entropy_gradient(
    xp: Namespace,
    g: Array,
    rows: Array,
    classes: Array,
    logsumexp: Array,
    result: Array,
    ignore_index: int,
    shape: tuple[int, ...],
) -> Any:
    (N, V), d = rows.shape, cupy.empty_like(rows)
    launch_rows(
        "cross_entropy_gradient", rows, N, contiguous(g), rows, classes, logsumexp, result, d, N, V,
        ignore_index,
    )  # fmt: skip
    return d.reshape(shape), None
