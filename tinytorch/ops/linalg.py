"""Lessons 01 and 06: the matrix product and its gradient."""

import math
from typing import Any

from ..backends.base import Array, Namespace
from .op import op


@op(promote="number")
def matmul(xp: Namespace, x: Array, y: Array) -> Any:
    """The matrix product (..., M, K) @ (..., K, N); a vector counts as one row or column."""
    if y.ndim == 2 and x.ndim > 2:  # one large product is faster than many small ones
        flat = _rows(xp, x)  # (... M, K)
        return xp.reshape(flat @ y, (*x.shape[:-1], y.shape[-1])), (x, y)  # (..., M, N)
    return x @ y, (x, y)


@matmul.gradient
def matmul_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    if x.ndim == 1 and y.ndim == 1:
        return lambda: g * y, lambda: g * x
    rows = xp.expand_dims(x, axis=0) if x.ndim == 1 else x  # (..., M, K)
    columns = xp.expand_dims(y, axis=1) if y.ndim == 1 else y  # (..., K, N)
    if x.ndim == 1:
        g = xp.expand_dims(g, axis=-2)  # (..., 1, N)
    if y.ndim == 1:
        g = xp.expand_dims(g, axis=-1)  # (..., M, 1)

    def x_gradient() -> Array:
        dx = g @ xp.matrix_transpose(columns)
        # (..., 1, K) -> (..., K) if x is a vector
        return xp.reshape(dx, (*dx.shape[:-2], dx.shape[-1])) if x.ndim == 1 else dx

    def y_gradient() -> Array:
        if y.ndim == 2 and x.ndim > 2:
            return xp.matrix_transpose(_rows(xp, rows)) @ _rows(xp, g)  # (K, ... M) @ (... M, N)
        dy = xp.matrix_transpose(rows) @ g
        return xp.reshape(dy, dy.shape[:-1]) if y.ndim == 1 else dy  # (..., K, 1) -> (..., K)

    return x_gradient, y_gradient


def _rows(xp: Namespace, x: Array) -> Array:
    """x (..., C) as rows (N, C); a size of -1 could not be inferred if C is 0."""
    return xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
