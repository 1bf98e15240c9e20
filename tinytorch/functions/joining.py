"""Join tensors along an axis."""

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import ShapeError
from ..autograd import Variable
from ..ops import movement
from ..ops.operators import constant
from .names import accepts_dim
from .shapes import atleast_1d, atleast_2d, atleast_3d

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "block_diag",
    "cat",
    "column_stack",
    "concat",
    "concatenate",
    "dstack",
    "hstack",
    "row_stack",
    "stack",
    "vstack",
]


@accepts_dim
def concat(tensors: Sequence["Tensor"], axis: int = 0) -> "Tensor":
    """Join tensors along an existing axis: ``concat([x, y])``.

    As in PyTorch, a tensor of shape (0,) fits everywhere.
    """
    several, axis = several_tensors("concat", tensors), _index("concat", axis)
    try:
        return movement.concat(*several, axis=axis)
    except ShapeError:
        others = [x for x in several if x.shape != (0,)]
        if not 0 < len(others) < len(several):
            raise
    return movement.concat(*others, axis=axis)


cat = concatenate = concat


@accepts_dim
def stack(tensors: Sequence["Tensor"], axis: int = 0) -> "Tensor":
    """Join tensors of one shape along a new axis: ``stack([x, y])``."""
    return movement.stack(*several_tensors("stack", tensors), axis=_index("stack", axis))


def hstack(tensors: Sequence["Tensor"]) -> "Tensor":
    """Join vectors end to end, and tensors with more axes along axis 1."""
    several = [atleast_1d(x) for x in several_tensors("hstack", tensors)]
    return concat(several, 0 if several[0].ndim == 1 else 1)


def block_diag(*tensors: "Tensor") -> "Tensor":
    """A matrix with the given matrices on its diagonal; vectors count as rows."""
    matrices = [atleast_2d(x) for x in tensors]
    width = sum(x.shape[1] for x in matrices)
    rows, before = [], 0
    for x in matrices:
        xp, (height, own) = x._backend.xp, x.shape
        left = constant(x, xp.zeros((height, before), dtype=x.dtype))
        right = constant(x, xp.zeros((height, width - before - own), dtype=x.dtype))
        rows.append(concat([left, x, right], 1))
        before += own
    return concat(rows, 0)


def vstack(tensors: Sequence["Tensor"]) -> "Tensor":
    """Join tensors along axis 0; vectors become rows."""
    return concat([atleast_2d(x) for x in several_tensors("vstack", tensors)], 0)


row_stack = vstack


def dstack(tensors: Sequence["Tensor"]) -> "Tensor":
    """Join tensors along axis 2, which is added if there is none."""
    return concat([atleast_3d(x) for x in several_tensors("dstack", tensors)], 2)


def column_stack(tensors: Sequence["Tensor"]) -> "Tensor":
    """Join tensors along axis 1; vectors become columns."""
    several = several_tensors("column_stack", tensors)
    return concat([x if x.ndim > 1 else x.reshape(-1, 1) for x in several], 1)


def _index(name: str, axis: Any) -> int:
    if isinstance(axis, Variable | bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"{name} takes a list of tensors and an axis: {name}([x, y], axis=0)")
    return index(axis)


def several_tensors(name: str, tensors: Any) -> list[Any]:
    if isinstance(tensors, Variable | np.ndarray):
        raise TypeError(f"{name} takes a list of tensors: {name}([x, y])")
    several = list(tensors)
    if not several:
        raise ValueError(f"{name} needs at least one tensor")
    if any(tensor is None for tensor in several):
        raise TypeError(f"{name} takes tensors, not None")
    return several
