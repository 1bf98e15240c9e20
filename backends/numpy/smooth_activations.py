"""The exact GELU, SiLU, SwiGLU and leaky ReLU in NumPy, in blocks that stay in the cache."""

import math
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from . import compiled
from .rows import as_rows
from .threads import parallel_blocks

KERNELS = KernelTable()

# Phi(x) = 1/2 + x P(x^2) / Q(x^2) for |x| <= LIMIT, from the approximation of erf in
# `ops/special.py`, whose argument is x / sqrt(2).
_ERF_P = (1.12837914, 0.193531977, 0.0530997157, 0.00388269918, 0.000284538017, 1.986712e-06)
_ERF_Q = (1.0, 0.504845808, 0.115344321, 0.0152059716, 0.0011853896, 3.74179744e-05)
P = tuple(c / 2**n / math.sqrt(8) for n, c in enumerate(_ERF_P))
Q = tuple(c / 2**n for n, c in enumerate(_ERF_Q))
LIMIT = 4 * math.sqrt(2)
COEFFICIENTS = np.array(P, np.float32), np.array(Q, np.float32)


@KERNELS.forward
def gelu_erf(xp: Namespace, x: Array) -> Any:
    """(..., C) -> (..., C) in float32. Saves the rows of x (N, C), and Phi of them."""
    if x.dtype != np.float32:
        return NotImplemented
    rows = as_rows(x)
    y, cdf = np.empty_like(rows), np.empty_like(rows)

    def work(i: int, j: int) -> None:
        xb, yb, cb = rows[i:j], y[i:j], cdf[i:j]
        near = np.clip(xb, -LIMIT, LIMIT)
        square = near * near
        np.multiply(square, Q[-1], out=cb)
        np.multiply(square, P[-1], out=yb)
        for p, q in zip(P[-2:0:-1], Q[-2:0:-1], strict=True):
            yb += p
            yb *= square
            cb += q
            cb *= square
        yb += P[0]
        cb += Q[0]
        yb /= cb
        yb *= near
        yb += 0.5
        np.clip(yb, 0, 1, out=cb)
        # Rounding leaves some 3e-8 of Phi, which a large negative x would multiply.
        cb *= np.greater(xb, -LIMIT, out=near, casting="unsafe")
        np.multiply(xb, cb, out=yb)

    if not compiled.run("gelu_erf", rows, *COEFFICIENTS, y, cdf, rows.size):
        # Small blocks: this is a chain of thirty calls.
        parallel_blocks(work, len(rows), rows.itemsize * rows.shape[1], 2**16)
    return y.reshape(x.shape), (rows, cdf)


@KERNELS.gradient(gelu_erf)
def gelu_erf_gradient(xp: Namespace, g: Array, rows: Array, cdf: Array) -> Any:
    """dy/dx = Phi(x) + x phi(x), with phi the normal density."""
    gradient, dx = as_rows(g), np.empty_like(rows)

    def work(i: int, j: int) -> None:
        gb, xb, cb, db = gradient[i:j], rows[i:j], cdf[i:j], dx[i:j]
        np.multiply(xb, xb, out=db)
        db *= -0.5
        np.exp(db, out=db)
        db *= 1 / math.sqrt(2 * math.pi)
        db *= xb
        db += cb
        db *= gb

    if not compiled.run("gelu_erf_gradient", gradient, rows, cdf, dx, dx.size):
        parallel_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return dx.reshape(g.shape)


@KERNELS.forward
def silu(xp: Namespace, x: Array) -> Any:
    """(..., C) -> (..., C). Saves the rows of x (N, C), and their sigmoids."""
    rows = as_rows(x)
    y, s = np.empty_like(rows), np.empty_like(rows)

    def work(i: int, j: int) -> None:
        sb = s[i:j]
        np.negative(rows[i:j], out=sb)
        np.exp(sb, out=sb)  # infinity for large negative x, which makes the sigmoid 0
        sb += 1
        np.reciprocal(sb, out=sb)
        np.multiply(rows[i:j], sb, out=y[i:j])

    if not compiled.run("silu", rows, y, s, s.size):
        parallel_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return y.reshape(x.shape), (rows, s)


@KERNELS.gradient(silu)
def silu_gradient(xp: Namespace, g: Array, rows: Array, s: Array) -> Any:
    """dy/dx = s (1 + x (1 - s))."""
    gradient, dx = as_rows(g), np.empty_like(rows)

    def work(i: int, j: int) -> None:
        gb, xb, sb, db = gradient[i:j], rows[i:j], s[i:j], dx[i:j]
        np.subtract(1, sb, out=db)
        db *= xb
        db += 1
        db *= sb
        db *= gb

    if not compiled.run("silu_gradient", gradient, rows, s, dx, dx.size):
        parallel_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return dx.reshape(g.shape)


@KERNELS.forward
def leaky_relu(xp: Namespace, x: Array, *, negative_slope: float) -> Any:
    """The larger of x and negative_slope * x, for slopes in (0, 1].

    Saves the factor of each gradient.
    """
    if not 0 < negative_slope <= 1 or x.dtype.kind != "f":
        return NotImplemented
    y = np.multiply(x, negative_slope, out=np.empty_like(x))
    np.maximum(x, y, out=y)
    slope = np.greater(x, 0, out=np.empty_like(x), casting="unsafe")
    np.maximum(slope, negative_slope, out=slope)
    return y, (slope,)


@KERNELS.gradient(leaky_relu)
def leaky_relu_gradient(xp: Namespace, g: Array, slope: Array) -> Any:
    return g * slope


@KERNELS.forward
def swiglu(xp: Namespace, gate: Array, x: Array) -> Any:
    """silu(gate) x for arrays of one shape. Saves the rows (N, C) of both, and gate's sigmoids."""
    if getattr(gate, "shape", None) != getattr(x, "shape", 1):
        return NotImplemented  # broadcast
    rows, given = as_rows(gate), as_rows(x)
    y, s = np.empty_like(rows), np.empty_like(rows)

    def work(i: int, j: int) -> None:
        sb = s[i:j]
        np.negative(rows[i:j], out=sb)
        np.exp(sb, out=sb)
        sb += 1
        np.reciprocal(sb, out=sb)
        np.multiply(rows[i:j], sb, out=y[i:j])
        y[i:j] *= given[i:j]

    if not compiled.run("swiglu", rows, given, y, s, s.size):
        parallel_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return y.reshape(x.shape), (rows, given, s)


@KERNELS.gradient(swiglu)
def swiglu_gradient(xp: Namespace, g: Array, rows: Array, given: Array, s: Array) -> Any:
    """dgate = g x s (1 + gate (1 - s)), dx = g gate s."""
    gradient, dgate, dx = as_rows(g), np.empty_like(rows), np.empty_like(rows)

    def work(i: int, j: int) -> None:
        gb, ab, xb, sb = gradient[i:j], rows[i:j], given[i:j], s[i:j]
        db = dgate[i:j]
        np.subtract(1, sb, out=db)
        db *= ab
        db += 1
        np.multiply(gb, sb, out=dx[i:j])
        db *= dx[i:j]
        db *= xb
        dx[i:j] *= ab

    if not compiled.run("swiglu_gradient", gradient, rows, given, s, dgate, dx, s.size):
        parallel_blocks(work, len(rows), rows.itemsize * rows.shape[1])
    return dgate.reshape(g.shape), dx.reshape(g.shape)
