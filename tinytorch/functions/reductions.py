"""Reductions over axes, and cumulative sums."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..arguments import DtypeError, shown
from ..autograd import Variable
from ..backends.arrays import Axis
from ..ops import elementwise, reductions, sorting
from ..ops.operators import constant
from ..ops.promotion import is_floating
from .conversion import host
from .names import accepts_dim, accepts_names, axis_of

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "all",
    "amax",
    "amin",
    "aminmax",
    "any",
    "argmax",
    "argmin",
    "corrcoef",
    "count_nonzero",
    "cov",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "diff",
    "dist",
    "logsumexp",
    "max",
    "mean",
    "min",
    "nanmean",
    "nansum",
    "norm",
    "prod",
    "std",
    "std_mean",
    "sum",
    "trapezoid",
    "trapz",
    "var",
    "var_mean",
]


class ValuesAndIndices(NamedTuple):
    """Elements along an axis and their positions, such as the maxima."""

    values: "Tensor"
    indices: "Tensor"


class MinAndMax(NamedTuple):
    """The smallest and the largest elements."""

    min: "Tensor"
    max: "Tensor"


@accepts_dim
def sum(x: "Tensor", axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> "Tensor":
    """The sum over `axis`, by default all; integers are summed in int64."""
    if dtype is None:
        return reductions.sum(x, axis=axis, keepdims=keepdims)
    return reductions.sum(x.to(dtype), axis=axis, keepdims=keepdims).to(dtype)


@accepts_dim
def mean(x: "Tensor", axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> "Tensor":
    """The mean over `axis`, by default all; that of integers is float32 (PyTorch: an error)."""
    if dtype is not None:
        x = x.to(dtype)
    return reductions.mean(x, axis=axis, keepdims=keepdims)


@accepts_dim
def prod(x: "Tensor", axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> "Tensor":
    """The product over `axis`, by default all; integers are multiplied in int64."""
    return _cast(reductions.prod(_cast(x, dtype), axis=axis, keepdims=keepdims), dtype)


@accepts_dim
def nansum(
    x: "Tensor", axis: Axis = None, keepdims: bool = False, *, dtype: Any = None
) -> "Tensor":
    """The sum of the elements that are not NaN."""
    x = _cast(x, dtype)
    x = elementwise.where(x != x, 0, x)
    return reductions.sum(x, axis=axis, keepdims=keepdims)


@accepts_dim
def nanmean(
    x: "Tensor", axis: Axis = None, keepdims: bool = False, *, dtype: Any = None
) -> "Tensor":
    """The mean of the elements that are not NaN."""
    x = _cast(x, dtype)
    count = reductions.sum(x == x, axis=axis, keepdims=keepdims)
    return nansum(x, axis, keepdims) / count


def _cast(x: "Tensor", dtype: Any) -> "Tensor":
    return x if dtype is None else x.to(dtype)


@accepts_dim
def var(
    x: "Tensor",
    axis: Axis = None,
    correction: float | None = None,
    keepdims: bool = False,
    *,
    unbiased: bool | None = None,
) -> "Tensor":
    """The variance over `axis`: the sum of squares divided by count - correction.

    The correction is 1, as in PyTorch; 0 with ``unbiased=False``. ``x.var(False)`` and
    ``x.var(1, False)`` are calls in PyTorch's form with `unbiased`.

    >>> from tinytorch import Tensor
    >>> x = Tensor([1.0, 3.0])
    >>> x.var(), x.var(unbiased=False), x.var(correction=0)
    (Tensor(2.), Tensor(1.), Tensor(1.))
    """
    axis, correction = _correction("var", axis, correction, unbiased)
    return reductions.var(x, axis=axis, correction=correction, keepdims=keepdims)


@accepts_dim
def std(
    x: "Tensor",
    axis: Axis = None,
    correction: float | None = None,
    keepdims: bool = False,
    *,
    unbiased: bool | None = None,
) -> "Tensor":
    """The standard deviation over `axis`, the root of `var`."""
    axis, correction = _correction("std", axis, correction, unbiased)
    return reductions.std(x, axis=axis, correction=correction, keepdims=keepdims)


@accepts_dim
def var_mean(
    x: "Tensor",
    axis: Axis = None,
    correction: float | None = None,
    keepdims: bool = False,
    *,
    unbiased: bool | None = None,
) -> "tuple[Tensor, Tensor]":
    """The variance and the mean over `axis`."""
    axis, correction = _correction("var_mean", axis, correction, unbiased)
    variance = reductions.var(x, axis=axis, correction=correction, keepdims=keepdims)
    return variance, reductions.mean(x, axis=axis, keepdims=keepdims)


@accepts_dim
def std_mean(
    x: "Tensor",
    axis: Axis = None,
    correction: float | None = None,
    keepdims: bool = False,
    *,
    unbiased: bool | None = None,
) -> "tuple[Tensor, Tensor]":
    """The standard deviation and the mean over `axis`."""
    axis, correction = _correction("std_mean", axis, correction, unbiased)
    deviation = reductions.std(x, axis=axis, correction=correction, keepdims=keepdims)
    return deviation, reductions.mean(x, axis=axis, keepdims=keepdims)


def _correction(
    name: str, axis: Any, correction: float | None, unbiased: bool | None
) -> tuple[Axis, float]:
    """Axis and correction, where `unbiased` may be the first argument or the second."""
    if isinstance(axis, bool):
        axis, unbiased = None, axis
    if unbiased is not None:
        if correction is not None:
            raise TypeError(f"{name} takes unbiased or correction, not both")
        correction = int(unbiased)
    return axis, 1 if correction is None else correction


# The largest and smallest elements


@accepts_names()
def max(x: "Tensor", *arguments: Any, **keywords: Any) -> Any:
    """The largest elements.

    - ``max(x)`` is the largest element of x.
    - ``max(x, dim)`` and ``max(x, dim=1, keepdim=True)``, calls in PyTorch's form, are the values
      along an axis and the index of each, the first of equal ones.
    - ``max(x, axis=1, keepdims=True)``, in the array API's form, is the values only, over one axis
      or several; equal ones share the gradient.
    - ``max(x, other)`` with a tensor is their elementwise maximum.

    >>> from tinytorch import Tensor
    >>> x = Tensor([[1.0, 3.0], [2.0, 0.0]])
    >>> values, indices = x.max(dim=1)
    >>> values, indices, x.max(), x.max(axis=1)
    (Tensor([3., 2.]), Tensor([1, 0]), Tensor(3.), Tensor([3., 2.]))
    """
    return _extreme("max", x, arguments, keywords)


@accepts_names()
def min(x: "Tensor", *arguments: Any, **keywords: Any) -> Any:
    """The smallest elements; the forms of the call are those of `max`."""
    return _extreme("min", x, arguments, keywords)


def _extreme(name: str, x: "Tensor", arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    op = _EXTREMES[name]
    if not arguments and not keywords:
        return op(x)
    other = arguments[0] if arguments else keywords.get("other")
    if isinstance(other, Variable):
        if len(arguments) + len(keywords) > 1:
            raise TypeError(f"{name} takes one other tensor, or a dim")
        return _ELEMENTWISE[name](x, other)
    if not arguments and "axis" in keywords:
        return _of_array_api(op, x, **keywords)
    return _along(name, x, *arguments, **keywords)


def _of_array_api(op: Any, x: "Tensor", axis: Axis = None, keepdims: bool = False) -> "Tensor":
    result: Tensor = op(x, axis=axis, keepdims=keepdims)
    return result


def _along(
    name: str, x: "Tensor", dim: Any = None, keepdim: bool = False, **keywords: Any
) -> ValuesAndIndices:
    keepdim = bool(keywords.pop("keepdims", keepdim))
    if keywords:
        raise TypeError(f"{name} has no argument {next(iter(keywords))!r}")
    if dim is None or isinstance(dim, tuple | list):
        raise TypeError(f"{name} takes one dim, not {shown(dim)}; use a{name} for several")
    axis = axis_of(x, dim)
    if x.ndim == 0:
        return ValuesAndIndices(
            x.clone(), constant(x, x._backend.xp.zeros((), dtype=x._backend.xp.int64))
        )
    choose = argmax if name == "max" else argmin
    return _chosen(x, choose(x, axis, True)._array, axis, keepdim)


def _chosen(x: "Tensor", indices: Any, axis: int, keepdim: bool) -> ValuesAndIndices:
    """The elements at `indices`, which has size 1 at `axis`, and the indices."""
    positions = constant(x, indices)
    values = sorting.pick(x, positions, axis=axis)
    if keepdim:
        return ValuesAndIndices(values, positions)
    shape = tuple(n for a, n in enumerate(values.shape) if a != axis)
    return ValuesAndIndices(values.reshape(shape), positions.reshape(shape))


_EXTREMES = {"max": reductions.max, "min": reductions.min}
_ELEMENTWISE = {"max": elementwise.maximum, "min": elementwise.minimum}


@accepts_dim
def amax(x: "Tensor", axis: Axis = None, keepdims: bool = False) -> "Tensor":
    """The largest values over one axis or several; equal ones share the gradient."""
    return reductions.max(x, axis=axis, keepdims=keepdims)


@accepts_dim
def amin(x: "Tensor", axis: Axis = None, keepdims: bool = False) -> "Tensor":
    """The smallest values over one axis or several; equal ones share the gradient."""
    return reductions.min(x, axis=axis, keepdims=keepdims)


@accepts_dim
def aminmax(x: "Tensor", *, axis: int | None = None, keepdims: bool = False) -> MinAndMax:
    """The smallest and the largest values."""
    return MinAndMax(amin(x, axis, keepdims), amax(x, axis, keepdims))


@accepts_dim
def argmax(x: "Tensor", axis: int | None = None, keepdims: bool = False) -> "Tensor":
    """The index of the largest element along `axis`; the first one of equal elements."""
    return _choose(x, "argmax", axis, keepdims)


@accepts_dim
def argmin(x: "Tensor", axis: int | None = None, keepdims: bool = False) -> "Tensor":
    """The index of the smallest element along `axis`; the first one of equal elements."""
    return _choose(x, "argmin", axis, keepdims)


def _choose(x: "Tensor", name: str, axis: int | None, keepdims: bool) -> "Tensor":
    """argmax or argmin; booleans are compared as integers."""
    axis = reductions.nonempty_axis(name, x._array, axis)
    xp = x._backend.xp
    array = x._array if x.dtype != xp.bool else xp.astype(x._array, xp.uint8)
    return constant(x, getattr(xp, name)(array, axis=axis, keepdims=keepdims))


@accepts_dim
def logsumexp(x: "Tensor", axis: Axis = None, keepdims: bool = False) -> "Tensor":
    """log(sum(exp(x))) over `axis`."""
    return reductions.logsumexp(x, axis=axis, keepdims=keepdims)


@accepts_dim
def cumsum(x: "Tensor", axis: int, *, dtype: Any = None) -> "Tensor":
    """The cumulative sum along `axis`."""
    return _cast(reductions.cumsum(_cast(x, dtype), axis=axis), dtype)


@accepts_dim
def cumprod(x: "Tensor", axis: int, *, dtype: Any = None) -> "Tensor":
    """The cumulative product along `axis`."""
    return _cast(reductions.cumprod(_cast(x, dtype), axis=axis), dtype)


@accepts_dim
def cummax(x: "Tensor", axis: int) -> ValuesAndIndices:
    """The largest of each element and those before it along `axis`, and its last index."""
    return _running(x, axis, larger=True)


@accepts_dim
def cummin(x: "Tensor", axis: int) -> ValuesAndIndices:
    """The smallest of each element and those before it along `axis`, and its last index."""
    return _running(x, axis, larger=False)


def _running(x: "Tensor", axis: int, larger: bool) -> ValuesAndIndices:
    """The running maximum or minimum; the indices are found on the host."""
    axis = axis_of(x, axis)
    tensor = x if x.ndim else x.reshape(1)
    values = np.moveaxis(host(tensor), axis, 0)
    indices = np.zeros(values.shape, np.int64)
    for i in range(1, len(values)):
        before = np.take_along_axis(values, indices[i - 1 : i], 0)[0]
        better = values[i] >= before if larger else values[i] <= before
        better |= values[i] != values[i]
        better &= (before == before) | (values[i] != values[i])
        indices[i] = np.where(better, i, indices[i - 1])
    places = constant(x, x._backend.asarray(np.moveaxis(indices, 0, axis)))
    key = [np.arange(n).reshape([-1 if a == b else 1 for b in range(tensor.ndim)])
           for a, n in enumerate(tensor.shape)]  # fmt: skip
    key[axis] = host(places)
    picked = tensor[tuple(key)]
    return ValuesAndIndices(picked.reshape(x.shape), places.reshape(x.shape))


@accepts_dim
def trapezoid(
    y: "Tensor", x: "Tensor | None" = None, *, dx: float = 1.0, axis: int = -1
) -> "Tensor":
    """The integral of y along `axis` by the trapezoidal rule, at positions x or in steps dx."""
    axis = axis_of(y, axis)
    before = (slice(None),) * axis
    middle = (y[(*before, slice(1, None))] + y[(*before, slice(None, -1))]) / 2
    if x is None:
        return sum(middle, axis) * dx
    steps = diff(x) if x.ndim == 1 else diff(x, 1, axis)
    if x.ndim == 1:
        steps = steps.reshape([-1] + [1] * (y.ndim - 1 - axis))
    return sum(middle * steps, axis)


trapz = trapezoid


@accepts_dim
def diff(x: "Tensor", n: int = 1, axis: int = -1) -> "Tensor":
    """The differences of neighbours along `axis`, n times."""
    axis = axis_of(x, axis)
    before = (slice(None),) * axis
    for _ in range(n):
        x = x[(*before, slice(1, None))] - x[(*before, slice(None, -1))]
    return x


def dist(x: "Tensor", other: "Tensor", p: float = 2) -> "Tensor":
    """The norm of order p of x - other."""
    return norm(x - other, p)


def cov(x: "Tensor", *, correction: int = 1) -> "Tensor":
    """The covariance matrix of variables, the rows of x, over observations, its columns."""
    x = x.reshape(1, -1) if x.ndim < 2 else x
    centred = x - mean(x, 1, True)
    result = centred @ centred.mT / (x.shape[1] - correction)
    return result.reshape(()) if x.shape[0] == 1 else result


def corrcoef(x: "Tensor") -> "Tensor":
    """The correlation matrix of variables, the rows of x."""
    covariance = cov(x)
    if not covariance.ndim:
        return covariance / covariance
    each = list(range(len(covariance)))
    deviation = elementwise.sqrt(covariance[each, each])
    return covariance / deviation.reshape(-1, 1) / deviation


@accepts_dim
def norm(
    x: "Tensor",
    p: Any = "fro",
    axis: Axis = None,
    keepdims: bool = False,
    dtype: Any = None,
) -> "Tensor":
    """The norm of order p of the elements over `axis`: sum(abs(x) ** p) ** (1 / p).

    Args:
        p: a number, infinities too; "fro" is 2.
        axis: one or several; all by default.

    Raises:
        DtypeError: x has integers.
    """
    x = _cast(x, dtype)
    if not is_floating(x._array.dtype):
        raise DtypeError(f"norm needs a floating tensor, not {x.dtype}; cast it with float()")
    if p is None or p == "fro":
        p = 2
    if not isinstance(p, int | float):
        raise ValueError(f"norm: p must be a number or 'fro', not {shown(p)}")
    return reductions.vector_norm(x, p=p, axis=axis, keepdims=keepdims)


# Booleans


@accepts_dim
def any(x: "Tensor", axis: Axis = None, keepdims: bool = False) -> "Tensor":
    """Whether any element over `axis` is not 0."""
    return _truth(x, "any", axis, keepdims)


@accepts_dim
def all(x: "Tensor", axis: Axis = None, keepdims: bool = False) -> "Tensor":
    """Whether no element over `axis` is 0."""
    return _truth(x, "all", axis, keepdims)


def _truth(x: "Tensor", name: str, axis: Axis, keepdims: bool) -> "Tensor":
    axes = reductions._axes(x._array, axis)
    return constant(x, getattr(x._backend.xp, name)(x._array, axis=axes, keepdims=keepdims))


@accepts_dim
def count_nonzero(x: "Tensor", axis: Axis = None) -> "Tensor":
    """The number of elements over `axis` that are not 0."""
    return reductions.sum(x != 0, axis=axis)
