"""The names of `torch.linalg`."""

from typing import TYPE_CHECKING, Any, NamedTuple

from .arguments import ShapeError
from .functions import linear_algebra
from .functions.diagonals import diagonal
from .functions.linear_algebra import (
    LinAlgError,
    _check_square,
    _solved,
    cholesky,
    cross,
    det,
    matrix_power,
    slogdet,
)
from .functions.linear_algebra import inverse as inv
from .missing import missing_name
from .ops import linalg, reductions
from .ops.operators import constant, matmul

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "LinAlgError",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "vecdot",
    "vector_norm",
]


class Eigen(NamedTuple):
    eigenvalues: "Tensor"
    eigenvectors: "Tensor"


class QR(NamedTuple):
    Q: "Tensor"
    R: "Tensor"


class SVD(NamedTuple):
    U: "Tensor"
    S: "Tensor"
    Vh: "Tensor"


class LeastSquares(NamedTuple):
    solution: "Tensor"


def solve(A: "Tensor", B: "Tensor") -> "Tensor":
    """The solution x of ``A @ x = B``, for square matrices A and B of columns, or a vector."""
    _check_square("solve", A)
    if B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1]):
        return _solved(linalg.solve, A, B.unsqueeze(-1)).squeeze(-1)
    if B.shape[-2] != A.shape[-1]:
        raise ShapeError(f"solve: B of shape {B.shape} does not fit A of shape {A.shape}")
    return _solved(linalg.solve, A, B)


def solve_triangular(
    A: "Tensor",
    B: "Tensor",
    *,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
) -> "Tensor":
    """The solution x of ``A @ x = B``, or of ``x @ A = B``, where A is triangular."""
    A = A.triu() if upper else A.tril()
    if unitriangular:
        A = (
            A
            - A.diagonal(0, -2, -1).diag_embed()
            + constant(A, A._backend.xp.eye(A.shape[-1], dtype=A.dtype))
        )
    return solve(A, B) if left else solve(A.mT, B.mT).mT


def eigh(A: "Tensor") -> Eigen:
    """Eigenvalues, in ascending order, and eigenvectors of symmetric matrices."""
    _check_square("eigh", A)
    return Eigen(*linalg.eigh(A))


def eigvalsh(A: "Tensor") -> "Tensor":
    """Eigenvalues of symmetric matrices, in ascending order."""
    return eigh(A).eigenvalues


def svd(A: "Tensor", full_matrices: bool = True) -> SVD:
    """The singular value decomposition ``U @ diag(S) @ Vh`` of matrices.

    The gradient needs ``full_matrices=False``, where the sizes M and N of a matrix differ.
    """
    if full_matrices and A.shape[-1] != A.shape[-2]:
        if A.requires_grad:
            raise RuntimeError("svd with a gradient needs full_matrices=False")
        xp = A._backend.xp
        return SVD(*(constant(A, a) for a in xp.linalg.svd(A._array, full_matrices=True)))
    return SVD(*linalg.svd(A))


def svdvals(A: "Tensor") -> "Tensor":
    """Singular values of matrices, in descending order."""
    return svd(A, full_matrices=False).S


def qr(A: "Tensor") -> QR:
    """The reduced QR decomposition of matrices, PyTorch's mode "reduced"."""
    return QR(*linalg.qr(A))


def pinv(A: "Tensor", rcond: float | None = None) -> "Tensor":
    """The pseudo-inverse; singular values up to `rcond` times the largest count as 0."""
    U, S, Vh = svd(A, full_matrices=False)
    if rcond is None:
        rcond = max(A.shape[-2:]) * float(A._backend.xp.finfo(S.dtype).eps)
    largest = reductions.max(S, axis=-1, keepdims=True)
    kept = largest.detach() * rcond < S
    inverse = (1 / S.masked_fill(~kept, 1.0)).masked_fill(~kept, 0.0)
    return matmul(Vh.mT * inverse.unsqueeze(-2), U.mT)


def matrix_rank(A: "Tensor") -> "Tensor":
    """The number of singular values that are not 0 up to rounding."""
    S = svdvals(A.detach())
    limit = max(A.shape[-2:]) * float(A._backend.xp.finfo(S.dtype).eps)
    return (reductions.max(S, axis=-1, keepdims=True) * limit < S).sum(-1)


def lstsq(A: "Tensor", B: "Tensor") -> LeastSquares:
    """The x of the smallest norm that minimises the norm of ``A @ x - B``."""
    return LeastSquares(matmul(pinv(A), B))


def cond(A: "Tensor") -> "Tensor":
    """The condition number: the largest singular value over the smallest."""
    S = svdvals(A)
    return S[..., 0] / S[..., -1]


def vector_norm(
    x: "Tensor", ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> "Tensor":
    """The norm of order `ord` of the elements along `dim`, by default of all."""
    x = x if dtype is None else x.to(dtype)
    axis = tuple(dim) if isinstance(dim, list) else dim
    return reductions.vector_norm(x, p=ord, axis=axis, keepdims=keepdim)


def matrix_norm(
    A: "Tensor",
    ord: Any = "fro",
    dim: Any = (-2, -1),
    keepdim: bool = False,
) -> "Tensor":
    """A norm of matrices: "fro", "nuc", 2 and -2 (singular values), 1, -1, inf or -inf."""
    rows, columns = dim
    if ord == "fro":
        return reductions.vector_norm(A, p=2, axis=(rows, columns), keepdims=keepdim)
    matrices = A.movedim((rows, columns), (-2, -1))
    if ord in ("nuc", 2, -2):
        S = svdvals(matrices)
        y = S.sum(-1) if ord == "nuc" else S[..., 0] if ord == 2 else S[..., -1]
    elif ord in (1, -1, float("inf"), float("-inf")):
        sums = matrices.abs().sum(-2 if ord in (1, -1) else -1)
        y = reductions.max(sums, axis=-1) if ord > 0 else reductions.min(sums, axis=-1)
    else:
        raise ValueError(
            f"matrix_norm: ord must be 'fro', 'nuc', 2, 1, inf or negative, not {ord!r}"
        )
    if not keepdim:
        return y
    kept = {axis % A.ndim for axis in dim}
    return y.reshape([1 if a in kept else n for a, n in enumerate(A.shape)])


def norm(
    A: "Tensor",
    ord: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> "Tensor":
    """A norm: of all elements, of vectors along an axis, or of matrices along two axes."""
    A = A if dtype is None else A.to(dtype)
    if ord is None:
        return vector_norm(A, 2, dim, keepdim)
    if isinstance(dim, int) or (dim is None and A.ndim == 1):
        return vector_norm(A, ord, dim, keepdim)
    if dim is None and A.ndim != 2:
        raise ShapeError(f"norm with ord={ord!r} needs a vector or a matrix, not {A.shape}")
    return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim)


def vecdot(x: "Tensor", y: "Tensor", *, dim: int = -1) -> "Tensor":
    """The dot products along an axis."""
    return (x * y).sum(dim)


def multi_dot(tensors: "list[Tensor]") -> "Tensor":
    """The product of several matrices, from left to right."""
    return linear_algebra.chain_matmul(*tensors)


def __getattr__(name: str) -> Any:
    raise missing_name("torch.linalg", name, globals())
