"""Products of matrices and tensors, and other functions of `torch` for linear algebra."""

import builtins
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import ShapeError
from ..autograd import Variable
from ..ops import linalg, operators, reductions
from .diagonals import diagonal
from .names import accepts_dim, axis_of
from .out import stored
from .shapes import roll

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "baddbmm",
    "bmm",
    "cdist",
    "chain_matmul",
    "cholesky",
    "cross",
    "det",
    "dot",
    "einsum",
    "ger",
    "inner",
    "inverse",
    "kron",
    "logdet",
    "matrix_power",
    "mm",
    "mv",
    "outer",
    "slogdet",
    "tensordot",
    "trace",
    "vdot",
]


# Products of vectors and matrices


def matmul(x: "Tensor", other: Any, *, out: "Tensor | None" = None) -> "Tensor":
    """x @ other, which is the matrix product; see `ops.operators.matmul`."""
    return stored(operators.matmul(x, other), out)


def mm(x: "Tensor", mat2: "Tensor", *, out: "Tensor | None" = None) -> "Tensor":
    """The product of two matrices (M, K) and (K, N)."""
    _check_axes("mm", (x, 2), (mat2, 2))
    return matmul(x, mat2, out=out)


def bmm(x: "Tensor", mat2: "Tensor") -> "Tensor":
    """The products of two stacks of matrices (B, M, K) and (B, K, N)."""
    _check_axes("bmm", (x, 3), (mat2, 3))
    if x.shape[0] != mat2.shape[0]:
        raise ShapeError(
            f"bmm: stacks of {x.shape[0]} and {mat2.shape[0]} matrices, of shapes {x.shape} and"
            f" {mat2.shape}, do not fit; matmul broadcasts them"
        )
    return matmul(x, mat2)


def mv(x: "Tensor", vec: "Tensor") -> "Tensor":
    """The product of a matrix (M, K) and a vector (K,)."""
    _check_axes("mv", (x, 2), (vec, 1))
    return matmul(x, vec)


def dot(x: "Tensor", tensor: "Tensor") -> "Tensor":
    """The sum of the products of the elements of two vectors of one length."""
    _check_axes("dot", (x, 1), (tensor, 1))
    return matmul(x, tensor)


vdot = dot


def inner(x: "Tensor", other: "Tensor") -> "Tensor":
    """The dot products of the rows of two tensors, over their last axes."""
    if not x.shape or not other.shape:
        return x * other
    return tensordot(x, other, ([-1], [-1]))


def outer(x: "Tensor", vec2: "Tensor") -> "Tensor":
    """The matrix of the products of the elements of two vectors: ``y[i, j] = x[i] * vec2[j]``."""
    _check_axes("outer", (x, 1), (vec2, 1))
    return x.reshape(-1, 1) * vec2


ger = outer


def addmm(
    x: "Tensor", mat1: "Tensor", mat2: "Tensor", *, beta: float = 1, alpha: float = 1
) -> "Tensor":
    """``beta * x + alpha * (mat1 @ mat2)`` for matrices; x broadcasts."""
    return _added(x, mm(mat1, mat2), beta, alpha)


def addmv(
    x: "Tensor", mat: "Tensor", vec: "Tensor", *, beta: float = 1, alpha: float = 1
) -> "Tensor":
    """``beta * x + alpha * (mat @ vec)`` for a matrix and a vector."""
    return _added(x, mv(mat, vec), beta, alpha)


def baddbmm(
    x: "Tensor", batch1: "Tensor", batch2: "Tensor", *, beta: float = 1, alpha: float = 1
) -> "Tensor":
    """``beta * x + alpha * (batch1 @ batch2)`` for stacks of matrices."""
    return _added(x, bmm(batch1, batch2), beta, alpha)


def addbmm(
    x: "Tensor", batch1: "Tensor", batch2: "Tensor", *, beta: float = 1, alpha: float = 1
) -> "Tensor":
    """``beta * x`` plus alpha times the sum of the products of two stacks of matrices."""
    return _added(x, bmm(batch1, batch2).sum(0), beta, alpha)


def _added(x: "Tensor", product: "Tensor", beta: float, alpha: float) -> "Tensor":
    product = product if alpha == 1 else product * alpha
    if beta == 0:  # PyTorch then ignores NaN in x
        return product
    result = (x if beta == 1 else x * beta) + product
    if result.shape != product.shape:
        raise ShapeError(f"a tensor of shape {x.shape} does not broadcast to {product.shape}")
    return result


def chain_matmul(*matrices: "Tensor") -> "Tensor":
    """The product of several matrices, from left to right."""
    result = matrices[0]
    for matrix in matrices[1:]:
        result = matmul(result, matrix)
    return result


def matrix_power(x: "Tensor", n: int) -> "Tensor":
    """The product of n copies of each square matrix; of inverses for a negative n."""
    _check_square("matrix_power", x)
    if n < 0:
        return matrix_power(inverse(x), -n)
    if n == 0:
        identity = x._result_class(np.eye(x.shape[-1]), dtype=x.dtype, backend=x._backend)
        return identity.expand(x.shape).clone()
    half = matrix_power(x, n // 2) if n > 1 else x
    if n == 1:
        return x
    square = matmul(half, half)
    return matmul(square, x) if n % 2 else square


# Products of tensors


def einsum(equation: str, *operands: Any) -> "Tensor":
    """The sum of products that an equation of Einstein's notation describes.

    Each letter names an axis. Letters that are not in the result are summed over; `...` stands for
    any number of axes, which broadcast.

    >>> from tinytorch import Tensor, einsum
    >>> x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> einsum("ij,kj->ik", x, x)
    Tensor([[ 5., 11.],
            [11., 25.]])
    >>> einsum("ii", x)
    Tensor(5.)
    """
    if not isinstance(equation, str):
        raise TypeError('einsum takes an equation first: einsum("ij,jk->ik", x, y)')
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    terms, output = _parse(equation, operands)
    sizes: dict[Any, int] = {}
    for term, x in zip(terms, operands, strict=True):
        for label, n in zip(term, x.shape, strict=True):
            if sizes.setdefault(label, n) != n:
                if 1 not in (sizes[label], n):
                    raise ShapeError(
                        f"einsum({equation!r}): axis {_name(label)} has sizes {sizes[label]} and"
                        f" {n} in the shapes {', '.join(str(x.shape) for x in operands)}"
                    )
                sizes[label] = builtins.max(sizes[label], n)
    parts = [_simplified(x, term, sizes) for x, term in zip(operands, terms, strict=True)]
    result, labels = parts[0]
    for i, (y, more) in enumerate(parts[1:], 2):
        kept = set(output).union(*(term for _, term in parts[i:]))
        result, labels = _contract(result, labels, y, more, kept)
    summed = tuple(a for a, label in enumerate(labels) if label not in output)
    if summed:
        result = reductions.sum(result, axis=summed)
        labels = [label for label in labels if label in output]
    missing = [label for label in output if label not in labels]  # axes of size 1 were dropped
    for label in missing:
        result, labels = result.unsqueeze(-1), [*labels, label]
    return _ordered(result, labels, output)


def _parse(equation: str, operands: Sequence[Any]) -> tuple[list[list[Any]], list[Any]]:
    """The labels of the axes of each operand and of the result.

    A label is a letter, or a number from -1 downwards for an axis of an ellipsis.
    """
    text = equation.replace(" ", "").replace("...", ".")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ValueError(
            f"einsum({equation!r}) describes {len(terms)} tensors, but got {len(operands)}"
        )
    wrong = set(left + right) - set(",.") - set(_LETTERS)
    if wrong:
        raise ValueError(f"einsum({equation!r}): {sorted(wrong)[0]!r} is no letter")
    longest = 0
    labels: list[list[Any]] = []
    for term, x in zip(terms, operands, strict=True):
        if not isinstance(x, Variable):
            raise TypeError(f"einsum takes tensors, not {type(x).__name__}")
        extra = len(x._array.shape) - len(term.replace(".", ""))
        if extra < 0 or (extra and "." not in term) or term.count(".") > 1:
            raise ShapeError(
                f"einsum({equation!r}): {term.replace('.', '...')!r} does not describe a tensor of"
                f" shape {tuple(x._array.shape)}"
            )
        longest = builtins.max(longest, extra)
        labels.append(_labels(term, extra))
    if not arrow:
        single = [c for c in sorted(set(left) - set(",.")) if left.count(c) == 1]
        right = ("." if longest else "") + "".join(single)
    output = _labels(right, longest)
    if len(set(output)) < len(output):
        raise ValueError(f"einsum({equation!r}): the result has an axis twice")
    unknown = set(output) - {label for term in labels for label in term}
    if unknown:
        raise ValueError(f"einsum({equation!r}): no tensor has the axis {_name(min(unknown))}")
    return labels, output


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _labels(term: str, extra: int) -> list[Any]:
    """Letters, and for the axes of an ellipsis numbers that count from its right end."""
    before, dots, after = term.partition(".")
    return [*before, *(range(-extra, 0) if dots else ()), *after]


def _name(label: Any) -> str:
    return "..." if isinstance(label, int) else repr(label)


def _simplified(
    x: "Tensor", labels: list[Any], sizes: dict[Any, int]
) -> tuple["Tensor", list[Any]]:
    """x with a diagonal for each label that occurs twice, and without axes that broadcast."""
    labels = list(labels)
    for label in set(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = diagonal(x, 0, first, second)
            labels = [c for a, c in enumerate(labels) if a not in (first, second)] + [label]
    dropped = [a for a, label in enumerate(labels) if x.shape[a] == 1 and sizes[label] != 1]
    if dropped:
        x = x.squeeze(tuple(dropped))
        labels = [label for a, label in enumerate(labels) if a not in dropped]
    return x, labels


def _contract(
    x: "Tensor", x_labels: list[Any], y: "Tensor", y_labels: list[Any], kept: set[Any]
) -> tuple["Tensor", list[Any]]:
    """The product of two tensors, summed over the labels that are not kept, as a matrix product."""
    for_x = [c for c in x_labels if c in kept or c in y_labels]
    for_y = [c for c in y_labels if c in kept or c in x_labels]
    x, y = _summed_to(x, x_labels, for_x), _summed_to(y, y_labels, for_y)
    batch = [c for c in for_x if c in for_y and c in kept]
    summed = [c for c in for_x if c in for_y and c not in kept]
    rows = [c for c in for_x if c not in for_y]
    columns = [c for c in for_y if c not in for_x]
    size = dict(zip([*for_x, *for_y], [*x.shape, *y.shape], strict=True))

    def count(labels: list[Any]) -> int:
        return math.prod(size[c] for c in labels)

    lead = [count(batch)] if batch else []
    left = _ordered(x, for_x, [*batch, *rows, *summed]).reshape(*lead, count(rows), count(summed))
    order = [*batch, *summed, *columns]
    right = _ordered(y, for_y, order).reshape(*lead, count(summed), count(columns))
    product = matmul(left, right) if summed else left * right
    labels = [*batch, *rows, *columns]
    return product.reshape([size[c] for c in labels]), labels


def _summed_to(x: "Tensor", labels: list[Any], kept: list[Any]) -> "Tensor":
    axes = tuple(a for a, label in enumerate(labels) if label not in kept)
    return reductions.sum(x, axis=axes) if axes else x


def _ordered(x: "Tensor", labels: list[Any], order: list[Any]) -> "Tensor":
    """x with its axes in the given order."""
    return x if labels == order else x.permute([labels.index(label) for label in order])


def tensordot(x: "Tensor", y: "Tensor", dims: Any = 2) -> "Tensor":
    """The product of two tensors, summed over pairs of axes.

    Args:
        dims: the number of last axes of x and first axes of y, or the axes of x and those of y.
    """
    if isinstance(dims, int):
        first, second = list(range(x.ndim - dims, x.ndim)), list(range(dims))
    else:
        first, second = (
            [axis_of(t, int(a)) for a in _list(d)] for t, d in zip((x, y), dims, strict=True)
        )
    if len(first) != len(second) or any(
        x.shape[a] != y.shape[b] for a, b in zip(first, second, strict=True)
    ):
        raise ShapeError(f"tensordot over {dims} does not fit the shapes {x.shape} and {y.shape}")
    x_labels: list[Any] = list(range(x.ndim))
    y_labels: list[Any] = list(range(x.ndim, x.ndim + y.ndim))
    for a, b in zip(first, second, strict=True):
        y_labels[b] = a
    kept = set(x_labels) ^ set(y_labels)
    return _contract(x, x_labels, y, y_labels, kept)[0]


def _list(axes: Any) -> list[Any]:
    return list(axes) if isinstance(axes, list | tuple) else [axes]


def kron(x: "Tensor", other: "Tensor") -> "Tensor":
    """The Kronecker product: a block for each element of x, which is that element times `other`."""
    axes = builtins.max(x.ndim, other.ndim)
    a = (1,) * (axes - x.ndim) + x.shape
    b = (1,) * (axes - other.ndim) + other.shape
    left = x.reshape([k for n in a for k in (n, 1)])
    right = other.reshape([k for n in b for k in (1, n)])
    return (left * right).reshape([n * m for n, m in zip(a, b, strict=True)])


@accepts_dim
def cross(x: "Tensor", other: "Tensor", axis: int | None = None) -> "Tensor":
    """The cross product of vectors of 3 elements along `axis`, by default the first of size 3."""
    if axis is None:
        axis = next((a for a, n in enumerate(x.shape) if n == 3), -1)
    if not x.shape or x.shape[axis] != 3 or not other.shape or other.shape[axis] != 3:
        raise ShapeError(f"cross needs 3 elements along axis {axis}, not {x.shape}, {other.shape}")
    return roll(x, -1, axis) * roll(other, -2, axis) - roll(x, -2, axis) * roll(other, -1, axis)


def cdist(x1: "Tensor", x2: "Tensor", p: float = 2.0) -> "Tensor":
    """The distances of order p of each row of x1 (..., M, K) to each of x2 (..., N, K)."""
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(f"cdist: rows of shapes {x1.shape} and {x2.shape} do not fit")
    difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)  # (..., M, N, K)
    return reductions.vector_norm(difference, p=p, axis=-1)


def trace(x: "Tensor") -> "Tensor":
    """The sum of the diagonal of a matrix."""
    _check_axes("trace", (x, 2))
    return diagonal(x).sum()


# Functions of square matrices


def inverse(x: "Tensor") -> "Tensor":
    """The inverse of each square matrix."""
    _check_square("inverse", x)
    return _solved(linalg.inverse, x)


def det(x: "Tensor") -> "Tensor":
    """The determinant of each square matrix; its gradient is that of an invertible matrix."""
    _check_square("det", x)
    return linalg.det(x)


def slogdet(x: "Tensor") -> Any:
    """Sign and logarithm of the absolute value of the determinant of each square matrix."""
    _check_square("slogdet", x)
    return linalg.slogdet(x)


def logdet(x: "Tensor") -> "Tensor":
    """The logarithm of the determinant of each square matrix; NaN if it is negative."""
    sign, logarithm = slogdet(x)
    result: Tensor = logarithm + sign.sqrt() * 0  # the root of a negative sign is NaN
    return result


def cholesky(x: "Tensor") -> "Tensor":
    """The lower triangular L with ``L @ L.mT`` = x, for symmetric positive definite matrices."""
    _check_square("cholesky", x)
    return _solved(linalg.cholesky, x)


def _solved(op: Any, *inputs: "Tensor") -> "Tensor":
    """An op of the library's linear algebra; its errors become those of PyTorch."""
    try:
        result: Tensor = op(*inputs)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"{op.name}: {error}") from None
    return result


class LinAlgError(np.linalg.LinAlgError, RuntimeError):
    """A matrix is singular or not positive definite: also a RuntimeError, as in PyTorch."""


def _check_square(name: str, x: "Tensor") -> None:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{name} takes square matrices, not a tensor of shape {x.shape}")


def _check_axes(name: str, *pairs: "tuple[Tensor, int]") -> None:
    """Raise an error for a tensor without the needed number of axes."""
    kinds = {1: "vectors", 2: "matrices", 3: "stacks of matrices"}
    for x, axes in pairs:
        if not isinstance(x, Variable):
            raise TypeError(f"{name} takes tensors, not {type(x).__name__}")
        if len(x._array.shape) != axes:
            shapes = " and ".join(str(tuple(y._array.shape)) for y, _ in pairs)
            needed = " and ".join(dict.fromkeys(kinds[n] for _, n in pairs))
            raise ShapeError(f"{name} takes {needed}, not shapes {shapes}; matmul takes any")
