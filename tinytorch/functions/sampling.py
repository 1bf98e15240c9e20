"""Draw random elements; the numbers are drawn on the host, equal on every backend."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import DtypeError, ShapeError, check_integer
from ..ops.operators import same_backend
from ..ops.promotion import is_floating
from .conversion import host
from .names import accepts_names
from .random import source

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["bernoulli", "multinomial", "poisson"]


@accepts_names()
def multinomial(
    x: "Tensor", num_samples: int, replacement: bool = False, *, generator: Any = None
) -> "Tensor":
    """Draw indices with the probabilities x, which need not sum to 1.

    Args:
        x: (N,) or (M, N), none negative.
        num_samples: how many to draw from each row.
        replacement: whether an index can be drawn more than once.
        generator: a `Generator`; by default the one that `manual_seed` seeds.

    Returns:
        (num_samples,) or (M, num_samples), int64.

    Raises:
        ValueError: a probability is negative, infinite or NaN, a row sums to 0, or without
            replacement fewer than `num_samples` are positive.
    """
    if x.ndim not in (1, 2):
        raise ShapeError(f"multinomial needs probabilities of 1 or 2 axes, not shape {x.shape}")
    if not is_floating(x._array.dtype):
        raise DtypeError(f"multinomial needs floating probabilities, not {x.dtype}")
    count = check_integer("multinomial: num_samples", num_samples, least=1)
    weights = np.atleast_2d(host(x).astype(np.float64))
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ShapeError("multinomial: a probability is negative, infinite or NaN")
    if not (weights.sum(1) > 0).all():
        raise ShapeError("multinomial: the probabilities of a row sum to 0")
    if not replacement and weights.size and count > (weights > 0).sum(1).min():
        raise ShapeError(
            f"multinomial cannot draw {count} of {(weights > 0).sum(1).min()} indices without"
            " replacement"
        )
    rng = source(generator)
    if replacement or count == 1:
        sums = np.cumsum(weights, axis=1)
        points = rng.random((len(weights), count)) * sums[:, -1:]
        drawn = np.stack([
            np.searchsorted(row, p, side="right") for row, p in zip(sums, points, strict=True)
        ]) if len(weights) else np.empty((0, count), np.int64)  # fmt: skip
    else:  # the first arrivals of Poisson processes with these rates
        with np.errstate(divide="ignore"):
            times = rng.standard_exponential(weights.shape) / weights
        drawn = np.argsort(times, axis=1, kind="stable")[:, :count]
    drawn = np.minimum(drawn, weights.shape[1] - 1).astype(np.int64)
    return same_backend(x, drawn if x.ndim == 2 else drawn[0])


@accepts_names()
def bernoulli(x: "Tensor", p: float | None = None, *, generator: Any = None) -> "Tensor":
    """1 with the probability that x has there, else 0; or with probability p everywhere.

    Raises:
        ValueError: a probability is not in [0, 1].
    """
    if p is None and not is_floating(x._array.dtype):
        raise DtypeError(f"bernoulli needs floating probabilities, not {x.dtype}")
    chances = np.full(x.shape, p) if p is not None else host(x)
    if not ((chances >= 0) & (chances <= 1)).all():
        raise ShapeError("bernoulli: a probability is not in [0, 1]")
    rng = source(generator)
    drawn = np.asarray(rng.random(x.shape) < chances)
    return same_backend(x, drawn).to(x.dtype)


def poisson(x: "Tensor", *, generator: Any = None) -> "Tensor":
    """Random numbers of events, for the expected numbers x."""
    rates = host(x)
    if not (rates >= 0).all():
        raise ShapeError("poisson: a rate is negative or NaN")
    return same_backend(x, np.asarray(source(generator).poisson(rates))).to(x.dtype)
