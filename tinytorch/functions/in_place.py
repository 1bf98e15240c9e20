"""In-place operations: ``x += y``, ``x.add_(y)``, ``x.zero_()``."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import autograd
from ..arguments import DtypeError, ShapeError
from ..autograd import Variable
from ..ops import elementwise, movement
from ..ops.promotion import _numpy_dtype, is_floating
from ..ops.views import share
from . import elementwise as functions
from .random import source

if TYPE_CHECKING:
    from ..tensor import Tensor


def update(x: "Tensor", result: "Tensor") -> "Tensor":
    """Store `result`, which an in-place operator computed from this tensor, in this tensor.

    Without a gradient, it is written to this tensor's memory, so that views see it too. In the
    graph, this tensor becomes `result`, with its memory and its node, so that values that a
    gradient needs stay as they were. If it is a view of x, by index, `reshape` or `permute`, x is
    updated in the same way. Other views would not see that, so they are an error.

    Raises:
        RuntimeError: this tensor is a leaf that requires a gradient, or another view of its memory
            is in use.
        TypeError: `result` is floating and this tensor is not, or it is boolean.
        ValueError: `result` has another shape, because the operand has more axes or elements.
    """
    if result.shape != x.shape:
        raise ShapeError(
            f"an in-place operator cannot change the shape {x.shape} to {result.shape};"
            " write x = x + y instead of x += y"
        )
    if result.dtype != x.dtype:
        if _kind(result) > _kind(x):
            raise DtypeError(
                f"an in-place operator cannot store {result.dtype} in a tensor of {x.dtype};"
                " write x = x + y instead of x += y"
            )
        result = elementwise.cast(result, dtype=x.dtype)
    if not (autograd.is_grad_enabled() and (x._requires_grad or result._requires_grad)):
        x._write(..., result._array)
        return x
    views = _view_chain(x)
    root = views[-1][1] if views else x
    if any(t._requires_grad and t._node is None for t in (x, *[owner for _, owner, _ in views])):
        raise RuntimeError(
            "a leaf that requires a gradient cannot be updated in place, which has no gradient;"
            " update it under no_grad(), or write x = x + y instead of x += y"
        )
    # The count includes the reference that is passed to getrefcount.
    if sys.getrefcount(x._version) > 2 + len(views):
        raise RuntimeError(
            "an in-place operator with a gradient cannot update a tensor that shares its memory"
            " with another view or detach() of it; write x = x + y instead of x += y, or where(...)"
        )
    for view, owner, key in views:
        result = _replace_view(owner, view, key, result)
    _assign(root, result)
    for view, owner, key in reversed(views):
        _assign(view, _view(owner, view, key))
    return x


def _replace_view(owner: "Tensor", view: "Tensor", key: Any, value: "Tensor") -> "Tensor":
    """A tensor like `owner`, with `value` in the place of its view."""
    if key == "reshape":
        return value.reshape(owner.shape)
    if isinstance(key, tuple) and key[:1] == ("permute",):
        return value.permute(
            [[a % owner.ndim for a in key[1:]].index(a) for a in range(owner.ndim)]
        )
    result: Tensor = movement.index_put(owner, value, key=key)
    return result


def _view(owner: "Tensor", view: "Tensor", key: Any) -> "Tensor":
    """The view of `owner` that replaces an earlier one."""
    if key == "reshape":
        return owner.reshape(view.shape)
    if isinstance(key, tuple) and key[:1] == ("permute",):
        return owner.permute(key[1:])
    result: Tensor = movement.getitem(owner, key=key)
    return result


def _view_chain(x: "Tensor") -> "list[tuple[Tensor, Tensor, Any]]":
    """For a view x of y, as in x = y[key], (x, y, key); then the same for y, if it is a view."""
    chain: list[tuple[Tensor, Tensor, Any]] = []
    while True:
        owner, key = getattr(x, "_view_of", (None, None))
        if owner is None or owner._version is not x._version:
            return chain
        chain.append((x, owner, key))
        x = owner


def _assign(x: "Tensor", result: "Tensor") -> None:
    """Make x the tensor `result`: its memory, and its place in the graph."""
    x._array = result._array
    share(x, result)
    x._node, x._output_nr = result._node, result._output_nr
    x._requires_grad = result._requires_grad


def in_place(name: str) -> Callable[..., Any]:
    """The in-place version of a method: ``x.exp_()`` stores ``x.exp()`` in x and returns x."""

    def function(x: "Tensor", *arguments: Any, **keywords: Any) -> "Tensor":
        return update(x, getattr(x, name)(*arguments, **keywords))

    function.__name__ = function.__qualname__ = f"{name}_"
    function.__doc__ = f"`{name}` in place."
    return function


# Arithmetic


def add_(x: "Tensor", other: Any, *, alpha: float = 1) -> "Tensor":
    """Add ``alpha * other`` in place."""
    return update(x, x + other if alpha == 1 else functions.add(x, other, alpha=alpha))


def sub_(x: "Tensor", other: Any, *, alpha: float = 1) -> "Tensor":
    """Subtract ``alpha * other`` in place."""
    return update(x, x - other if alpha == 1 else functions.sub(x, other, alpha=alpha))


def mul_(x: "Tensor", other: Any) -> "Tensor":
    """Multiply by `other` in place."""
    return update(x, x * other)


def div_(x: "Tensor", other: Any, *, rounding_mode: str | None = None) -> "Tensor":
    """Divide by `other` in place.

    Args:
        rounding_mode: None, or "floor" or "trunc" to round the quotients down or towards 0.
    """
    return update(x, functions.div(x, other, rounding_mode=rounding_mode))


def pow_(x: "Tensor", exponent: Any) -> "Tensor":
    """Raise to the power of `exponent` in place."""
    return update(x, x**exponent)


def and_(x: "Tensor", other: Any) -> "Tensor":
    return update(x, x & other)


def or_(x: "Tensor", other: Any) -> "Tensor":
    return update(x, x | other)


# Copies and constants


def copy_(x: "Tensor", src: Any, non_blocking: bool = False) -> "Tensor":
    """Set all elements to `src`, broadcast to this tensor's shape.

    A tensor on another backend is copied to this one's, but not in the graph.
    """
    if (
        isinstance(src, Variable)
        and src._backend is not x._backend
        and not (autograd.is_grad_enabled() and src._requires_grad)
    ):
        src = x._result_class(src._backend.to_numpy(src._array), backend=x._backend)
    x[...] = src
    return x


def fill_(x: "Tensor", value: Any) -> "Tensor":
    """Set every element to `value`."""
    x[...] = value
    return x


def zero_(x: "Tensor") -> "Tensor":
    """Set every element to 0."""
    return fill_(x, 0)


def fill_diagonal_(x: "Tensor", fill_value: float) -> "Tensor":
    """Set the elements with the same index on all axes to `fill_value`."""
    if x.ndim < 2:
        raise ShapeError(f"fill_diagonal_ needs at least two axes, not shape {x.shape}")
    x[(np.arange(min(x.shape)),) * x.ndim] = fill_value
    return x


# The same tensor with other axes


def t_(x: "Tensor") -> "Tensor":
    """Transpose a matrix in place."""
    return _become(x, x.t())


def transpose_(x: "Tensor", dim0: int, dim1: int) -> "Tensor":
    """Swap two axes in place."""
    return _become(x, x.transpose(dim0, dim1))


def squeeze_(x: "Tensor", dim: Any = None) -> "Tensor":
    """Remove axes of size 1 in place."""
    return _become(x, x.squeeze(dim))


def unsqueeze_(x: "Tensor", dim: int) -> "Tensor":
    """Insert an axis of size 1 in place."""
    return _become(x, x.unsqueeze(dim))


def _become(x: "Tensor", view: "Tensor") -> "Tensor":
    """Make x the tensor `view`, which has the same elements."""
    if autograd.is_grad_enabled() and x._requires_grad and x._node is None:
        raise RuntimeError(
            "a leaf that requires a gradient cannot change its axes in place; use the view that"
            " t(), squeeze() or unsqueeze() returns"
        )
    x._array = view._array
    share(x, view)
    x._node, x._output_nr = view._node, view._output_nr
    x._view_of = None, None  # its axes are no longer those of y[key]
    return x


def detach_(x: "Tensor") -> "Tensor":
    """Remove this tensor from the graph: it becomes a leaf that requires no gradient."""
    x._node, x._output_nr, x._requires_grad = None, 0, False
    return x


# Random numbers


def uniform_(x: "Tensor", low: float = 0, high: float = 1, *, generator: Any = None) -> "Tensor":
    """Draw every element uniformly from [low, high)."""
    if low > high:
        raise ValueError(f"uniform_ needs low <= high, not {low} and {high}")
    return _draw(x, "uniform_", generator, lambda rng: rng.uniform(low, high, x.shape))


def normal_(x: "Tensor", mean: float = 0, std: float = 1, *, generator: Any = None) -> "Tensor":
    """Draw every element from a normal distribution."""
    if std < 0:
        raise ValueError(f"normal_ needs a standard deviation of at least 0, not {std}")
    return _draw(x, "normal_", generator, lambda rng: rng.standard_normal(x.shape) * std + mean)


def log_normal_(x: "Tensor", mean: float = 1, std: float = 2, *, generator: Any = None) -> "Tensor":
    """Draw the logarithm of every element from a normal distribution."""
    return _draw(x, "log_normal_", generator, lambda rng: rng.lognormal(mean, std, x.shape))


def exponential_(x: "Tensor", lambd: float = 1, *, generator: Any = None) -> "Tensor":
    """Draw every element from an exponential distribution of rate `lambd`."""
    if not lambd > 0:
        raise ValueError(f"exponential_ needs a rate above 0, not {lambd}")
    return _draw(x, "exponential_", generator, lambda rng: rng.exponential(1 / lambd, x.shape))


def bernoulli_(x: "Tensor", p: Any = 0.5, *, generator: Any = None) -> "Tensor":
    """Set every element to 1 with probability `p`, a number or a tensor, else to 0."""
    chances = np.asarray(p.detach() if isinstance(p, Variable) else p)  # type: ignore[attr-defined]
    if not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError("bernoulli_ needs probabilities in [0, 1]")
    return _store(x, source(generator).random(x.shape) < chances)


def random_(x: "Tensor", low: Any = None, high: Any = None, *, generator: Any = None) -> "Tensor":
    """Draw every element from the integers in [low, high).

    ``random_(high)`` starts at 0; by default they are all that the dtype can hold exactly.
    """
    if high is None:
        low, high = 0, low
    if high is None:
        dtype = _numpy_dtype(x.dtype)
        exact = {"b": 1, "f": 2 ** (np.finfo(dtype).nmant + 1) if dtype.kind == "f" else 0}
        high = exact[dtype.kind] + 1 if dtype.kind in exact else int(np.iinfo(dtype).max)
    if low is None or not low < high:
        raise ValueError(f"random_ needs low < high, not {low} and {high}")
    return _store(x, source(generator).integers(low, high, x.shape))


def _draw(
    x: "Tensor",
    name: str,
    generator: Any,
    draw: "Callable[[np.random.Generator], np.ndarray[Any, Any]]",
) -> "Tensor":
    if not x.is_floating_point():
        raise DtypeError(f"{name} draws floating numbers, which {x.dtype} cannot hold")
    return _store(x, draw(source(generator)))


def _store(x: "Tensor", values: "np.ndarray[Any, Any]") -> "Tensor":
    """Store values that were drawn on the host, cast to the dtype of x."""
    return update(x, x._result_class(values, dtype=x.dtype, backend=x._backend))


def _kind(tensor: "Tensor") -> int:
    """0 for booleans, 1 for integers, 2 for floats; a tensor cannot store a higher kind."""
    return 2 if is_floating(tensor.dtype) else int(tensor.dtype != tensor._backend.xp.bool)
