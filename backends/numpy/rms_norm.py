"""Root-mean-square norm in NumPy, in blocks that stay in the cache."""

import math
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from . import compiled
from .rows import as_rows, column_sums
from .threads import parallel_blocks

KERNELS = KernelTable()


@KERNELS.forward
def rms_norm(xp: Namespace, x: Array, weight: Array | None = None, *, eps: float) -> Any:
    """x (..., C), weight (C,) -> (..., C).

    Saves the rows of x (N, C), 1 / their root mean squares (N, 1), and the weight.
    """
    if not x.size or getattr(weight, "shape", x.shape[-1:]) != x.shape[-1:]:
        return NotImplemented  # broadcast
    rows = as_rows(x)
    size = rows.shape[1]
    y, scale = np.empty_like(rows), np.empty((len(rows), 1), rows.dtype)

    def work(i: int, j: int) -> None:
        xb, yb, sb = rows[i:j], y[i:j], scale[i:j]
        np.vecdot(xb, xb, out=sb[:, 0])
        sb += size * eps
        np.sqrt(sb, out=sb)
        np.divide(math.sqrt(size), sb, out=sb)
        np.multiply(xb, sb, out=yb)
        if weight is not None:
            yb *= weight

    if not compiled.run("rms_norm", rows, weight, scale, y, len(rows), size, eps):
        parallel_blocks(work, len(rows), rows.itemsize * size)
    return y.reshape(x.shape), (rows, scale, weight)


@KERNELS.gradient(rms_norm)
def rms_norm_gradient(
    xp: Namespace, g: Array, rows: Array, scale: Array, weight: Array | None
) -> Any:
    """dx = scale (d - n mean(d n)) with d = g weight and n = x scale; dweight = the sum of g n."""
    gradient, dx, gn = as_rows(g), np.empty_like(rows), np.empty_like(rows)
    size = rows.shape[1]

    def work(i: int, j: int) -> None:
        gb, xb, sb, db, nb = gradient[i:j], rows[i:j], scale[i:j], dx[i:j], gn[i:j]
        np.multiply(xb, sb, out=nb)
        d = gb if weight is None else gb * weight
        np.multiply(nb, np.vecdot(d, nb)[:, None] / size, out=db)
        np.subtract(d, db, out=db)
        db *= sb
        nb *= gb

    given = gradient, rows, scale, weight
    if not compiled.run("rms_norm_gradient", *given, dx, gn, len(rows), size):
        parallel_blocks(work, len(rows), rows.itemsize * size)
    return dx.reshape(g.shape), None if weight is None else lambda: column_sums(gn)
