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
    if x.ndim == 1 or y.ndim == 1:
        return _vector_gradients(xp, g, x, y)

    def y_gradient() -> Array:
        if y.ndim == 2 and x.ndim > 2:
            return xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g)  # (K, ... M) @ (... M, N)
        return xp.matrix_transpose(x) @ g  # (..., K, M) @ (..., M, N)

    return lambda: g @ xp.matrix_transpose(y), y_gradient


def _vector_gradients(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    """The gradients of x @ y where x counts as one row, or y as one column."""
    if x.ndim == 1 and y.ndim == 1:
        return lambda: y * g, lambda: x * g
    rows = xp.expand_dims(x, axis=0) if x.ndim == 1 else x  # (..., M, K)
    columns = xp.expand_dims(y, axis=1) if y.ndim == 1 else y  # (..., K, N)
    g = xp.expand_dims(g, axis=-2 if x.ndim == 1 else -1)  # (..., 1, N) or (..., M, 1)

    def x_gradient() -> Array:
        dx = g @ xp.matrix_transpose(columns)
        # (..., 1, K) -> (..., K) if x is a vector
        return xp.reshape(dx, (*dx.shape[:-2], dx.shape[-1])) if x.ndim == 1 else dx

    def y_gradient() -> Array:
        dy = xp.matrix_transpose(rows) @ g
        return xp.reshape(dy, dy.shape[:-1]) if y.ndim == 1 else dy  # (..., K, 1) -> (..., K)

    return x_gradient, y_gradient


def _rows(xp: Namespace, x: Array) -> Array:
    """x (..., C) as rows (N, C); a size of -1 could not be inferred if C is 0."""
    return xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


@op(promote="float")
def inverse(xp: Namespace, x: Array) -> Any:
    """The inverse of each matrix in x (..., N, N)."""
    y = xp.linalg.inv(x)
    return y, (y,)


@inverse.gradient
def inverse_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    transposed = xp.matrix_transpose(y)
    return -(transposed @ g @ transposed)


@op(promote="float")
def solve(xp: Namespace, a: Array, b: Array) -> Any:
    """The solution x (..., N, K) of a @ x = b, for a (..., N, N) and b (..., N, K)."""
    x = xp.linalg.solve(a, b)
    return x, (a, x)


@solve.gradient
def solve_gradient(xp: Namespace, g: Array, a: Array, x: Array) -> Any:
    db = xp.linalg.solve(xp.matrix_transpose(a), g)
    return lambda: -(db @ xp.matrix_transpose(x)), db


@op(promote="float")
def det(xp: Namespace, x: Array) -> Any:
    """The determinant of each matrix in x (..., N, N)."""
    y = xp.linalg.det(x)
    return y, (x, y)


@det.gradient
def det_gradient(xp: Namespace, g: Array, x: Array, y: Array) -> Any:
    """The gradient of an invertible matrix: det(x) inv(x)^T."""
    scale = xp.reshape(g * y, (*g.shape, 1, 1))
    return scale * xp.matrix_transpose(xp.linalg.inv(x))


@op(promote="float")
def slogdet(xp: Namespace, x: Array) -> Any:
    """Sign and logarithm of the absolute value of the determinants of x (..., N, N)."""
    sign, logarithm = xp.linalg.slogdet(x)
    return (sign, logarithm), (x,)


@slogdet.gradient
def slogdet_gradient(xp: Namespace, g: Any, x: Array) -> Any:
    if g[1] is None:  # the sign is constant
        return xp.zeros_like(x)
    return xp.reshape(g[1], (*g[1].shape, 1, 1)) * xp.matrix_transpose(xp.linalg.inv(x))


@op(promote="float")
def cholesky(xp: Namespace, x: Array) -> Any:
    """The lower triangular L with L @ L.mT = x, for symmetric positive definite x (..., N, N)."""
    y = xp.linalg.cholesky(_symmetric_part(xp, x))
    return y, (y,)


@cholesky.gradient
def cholesky_gradient(xp: Namespace, g: Array, y: Array) -> Any:
    """Source: I. Murray, "Differentiation of the Cholesky decomposition" (2016), equation 10."""
    transposed = xp.matrix_transpose(y)
    inner = xp.tril(transposed @ g)
    inner = inner - 0.5 * xp.tril(xp.triu(inner))  # half of the diagonal
    inverse_of_y = xp.linalg.inv(y)
    return _symmetric_part(xp, xp.matrix_transpose(inverse_of_y) @ inner @ inverse_of_y)


@op(promote="float")
def eigh(xp: Namespace, x: Array) -> Any:
    """Eigenvalues (..., N), ascending, and eigenvectors, as columns, of symmetric x (..., N, N)."""
    values, vectors = xp.linalg.eigh(_symmetric_part(xp, x))
    return (values, vectors), (values, vectors)


@eigh.gradient
def eigh_gradient(xp: Namespace, g: Any, values: Array, vectors: Array) -> Any:
    """The gradient for distinct eigenvalues.

    Source: M. Giles, "Collected matrix derivative results" (2008), section 3.1.
    """
    values_gradient, vectors_gradient = g
    n = values.shape[-1]
    diagonal: Any = xp.eye(n, dtype=values.dtype) == 1
    transposed = xp.matrix_transpose(vectors)
    inner = xp.zeros_like(vectors)
    if vectors_gradient is not None:
        gaps = xp.expand_dims(values, axis=-2) - xp.expand_dims(values, axis=-1)  # (..., N, N)
        inner = transposed @ vectors_gradient / xp.where(diagonal, xp.ones_like(gaps), gaps)
        inner = xp.where(diagonal, xp.zeros_like(inner), inner)
    if values_gradient is not None:
        spread = xp.expand_dims(values_gradient, axis=-1) * xp.eye(n, dtype=values.dtype)
        inner = inner + spread
    return _symmetric_part(xp, vectors @ inner @ transposed)


def _symmetric_part(xp: Namespace, x: Array) -> Array:
    """x itself where it is symmetric."""
    return 0.5 * (x + xp.matrix_transpose(x))


@op(promote="float")
def svd(xp: Namespace, x: Array) -> Any:
    """The reduced decomposition x = u @ diag(s) @ vh of x (..., M, N): u, s and vh."""
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    return (u, s, vh), (u, s, vh)


@svd.gradient
def svd_gradient(xp: Namespace, g: Any, u: Array, s: Array, vh: Array) -> Any:
    """The gradient for distinct singular values above 0.

    Source: J. Townsend, "Differentiating the singular value decomposition" (2016).
    """
    du, ds, dvh = g
    k = s.shape[-1]
    v, ut = xp.matrix_transpose(vh), xp.matrix_transpose(u)
    diagonal: Any = xp.eye(k, dtype=s.dtype) == 1
    columns, rows = xp.expand_dims(s, axis=-2), xp.expand_dims(s, axis=-1)
    gaps = columns**2 - rows**2
    factor = xp.where(
        diagonal, xp.zeros_like(gaps), 1 / xp.where(diagonal, xp.ones_like(gaps), gaps)
    )
    inner = xp.zeros_like(gaps)
    outside: Any = 0  # the parts of the gradient outside of the spaces of u and of v
    if ds is not None:
        inner = inner + xp.expand_dims(ds, axis=-1) * xp.eye(k, dtype=s.dtype)
    if du is not None:
        a = factor * (ut @ du)
        inner = inner + (a + xp.matrix_transpose(a)) * columns
        if u.shape[-2] > k:
            rest = du - u @ (ut @ du)
            outside = outside + (rest / columns) @ vh
    if dvh is not None:
        dv = xp.matrix_transpose(dvh)
        b = factor * (vh @ dv)
        inner = inner + rows * (b + xp.matrix_transpose(b))
        if v.shape[-2] > k:
            rest = dv - v @ (vh @ dv)
            outside = outside + u @ xp.matrix_transpose(rest / columns)
    return u @ inner @ vh + outside


@op(promote="float")
def qr(xp: Namespace, x: Array) -> Any:
    """The reduced decomposition x = q @ r of x (..., M, N), with r upper triangular."""
    q, r = xp.linalg.qr(x)
    return (q, r), (q, r)


@qr.gradient
def qr_gradient(xp: Namespace, g: Any, q: Array, r: Array) -> Any:
    """The gradient of a tall or square matrix of full rank.

    Source: H. Liao et al., "Differentiable programming tensor networks" (2019), section III.
    """
    if r.shape[-2] < r.shape[-1]:
        raise NotImplementedError("the gradient of qr needs at least as many rows as columns")
    dq, dr = g
    inner = xp.zeros_like(r)
    if dr is not None:
        inner = inner + r @ xp.matrix_transpose(dr)
    if dq is not None:
        inner = inner - xp.matrix_transpose(dq) @ q
    lower = xp.tril(inner, k=-1)
    symmetric = lower + xp.matrix_transpose(lower) + xp.tril(xp.triu(inner))
    right = q @ symmetric + (0 if dq is None else dq)
    return right @ xp.matrix_transpose(xp.linalg.inv(r))
