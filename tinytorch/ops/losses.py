"""Losses of each target that lesson 04 does not build, each followed by its gradient."""

import math
from typing import Any

from ..backends.arrays import Array, Namespace
from .op import op


@op(promote="float", keep=("targets",))
def pick_classes(xp: Namespace, values: Array, targets: Array, *, ignore_index: int) -> Any:
    """values[..., target] for values (..., V) and integer targets (...); 0 where ignored.

    Raises:
        IndexError: a target is outside of [0, V); on a device, raised at the next copy to host.
    """
    N, V = math.prod(values.shape[:-1]), values.shape[-1]
    classes = xp.astype(xp.reshape(targets, (N,)), xp.int64)
    ignored = classes == ignore_index
    try:  # the lookup checks the classes where this does not make the host wait
        classes = xp.take_rows(xp.arange(V), xp.where(ignored, xp.zeros_like(classes), classes))
    except IndexError as error:
        raise IndexError(f"a target is outside of the {V} classes") from error
    key = xp.arange(N), classes
    picked = xp.index(xp.reshape(values, (N, V)), key)
    picked = xp.where(ignored, xp.zeros_like(picked), picked)
    return xp.reshape(picked, targets.shape), (key, ignored, values.shape)


@pick_classes.gradient
def pick_classes_gradient(
    xp: Namespace, g: Array, key: Any, ignored: Array, shape: tuple[int, ...]
) -> Any:
    flat = xp.reshape(g, ignored.shape)
    flat = xp.where(ignored, xp.zeros_like(flat), flat)
    d = xp.zeros((ignored.shape[0], shape[-1]), dtype=g.dtype)
    return xp.reshape(xp.index_set(d, key, flat), shape), None


@op(promote="float")
def binary_cross_entropy_terms(xp: Namespace, p: Array, target: Array) -> Any:
    """-(t log p + (1 - t) log(1 - p)), with logarithms limited to -100, element by element."""
    log_p, log_q = (xp.maximum(xp.log(q), xp.full_like(q, -100.0)) for q in (p, 1 - p))
    return -(target * log_p + (1 - target) * log_q), (p, target)


@binary_cross_entropy_terms.gradient
def binary_cross_entropy_terms_gradient(xp: Namespace, g: Array, p: Array, target: Array) -> Any:
    def p_gradient() -> Array:
        spread = p * (1 - p)
        return g * (p - target) / xp.maximum(spread, xp.full_like(spread, 1e-12))

    return p_gradient, lambda: g * (xp.log(1 - p) - xp.log(p))
