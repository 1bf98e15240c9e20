"""Triangles and diagonals of matrices."""

from typing import TYPE_CHECKING

from ..arguments import ShapeError
from ..ops import movement
from ..ops.operators import constant
from .names import accepts_names, axis_of
from .shapes import movedim

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["diag", "diag_embed", "diagflat", "diagonal", "tril", "triu"]


def tril(x: "Tensor", diagonal: int = 0) -> "Tensor":
    """Matrices with 0 above the given diagonal: the lower triangles.

    >>> from tinytorch import ones, tril
    >>> tril(ones(2, 2))
    Tensor([[1., 0.],
            [1., 1.]])
    """
    _check_matrix("tril", x)
    return movement.tril(x, diagonal=diagonal)


def triu(x: "Tensor", diagonal: int = 0) -> "Tensor":
    """Matrices with 0 below the given diagonal: the upper triangles."""
    _check_matrix("triu", x)
    return movement.triu(x, diagonal=diagonal)


@accepts_names(dim1="axis1", dim2="axis2")
def diagonal(x: "Tensor", offset: int = 0, axis1: int = 0, axis2: int = 1) -> "Tensor":
    """The diagonals of the matrices on two axes, as the last axis; a view of contiguous memory."""
    _check_matrix("diagonal", x)
    first, second = axis_of(x, axis1), axis_of(x, axis2)
    if first == second:
        raise ShapeError(f"diagonal needs two different axes, not {axis1} and {axis2}")
    y = movedim(x, (first, second), (-2, -1))  # (..., M, N)
    rows, columns = y.shape[-2:]
    start = offset if offset >= 0 else -offset * columns
    count = min(rows + min(offset, 0), columns - max(offset, 0))
    if count <= 0:
        return y.reshape(*y.shape[:-2], rows * columns)[..., :0]
    flat = y.reshape(*y.shape[:-2], rows * columns)
    return flat[..., start : start + (count - 1) * (columns + 1) + 1 : columns + 1]


def diag(x: "Tensor", diagonal: int = 0) -> "Tensor":
    """The matrix with the vector x on a diagonal, or the diagonal of the matrix x."""
    if x.ndim == 1:
        return diag_embed(x, diagonal)
    if x.ndim != 2:
        raise ShapeError(f"diag takes a vector or a matrix, not a tensor of shape {x.shape}")
    return _diagonal(x, diagonal).clone()


_diagonal = diagonal  # which `diag` has as an argument


def diagflat(x: "Tensor", offset: int = 0) -> "Tensor":
    """The matrix with all elements of x on a diagonal."""
    return diag_embed(x.reshape(-1), offset)


def diag_embed(x: "Tensor", offset: int = 0, dim1: int = -2, dim2: int = -1) -> "Tensor":
    """Matrices with the last axis of x on a diagonal: (..., N) becomes (..., N, N)."""
    count = x.shape[-1]
    n = count + abs(offset)
    xp = x._backend.xp
    zeros = constant(x, xp.zeros((*x.shape[:-1], n * n), dtype=x.dtype))
    start = offset if offset >= 0 else -offset * n
    key = (
        (..., slice(start, start + (count - 1) * (n + 1) + 1, n + 1)) if count else (..., slice(0))
    )
    matrices = movement.index_put(zeros, x, key=key).reshape(*x.shape[:-1], n, n)
    return movedim(matrices, (-2, -1), (dim1, dim2))


def _check_matrix(name: str, x: "Tensor") -> None:
    if x.ndim < 2:
        raise ShapeError(f"{name} needs a tensor with at least two axes, not shape {x.shape}")
