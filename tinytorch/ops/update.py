"""Multi-tensor updates: a rule for one parameter, applied to all of them."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..backends import Backend, trace
from ..backends.base import LossScaler
from ..backends.float_errors import ignored
from .op import Op, unwrap

Tensors = Sequence[Any]  # a parameter, its gradient and its optimizer state


class _Scale(threading.local):
    """The factor of gradients in updates of this thread, a 0-d tensor; None for 1."""

    factor: Any = None


_scale = _Scale()


@contextmanager
def scaled_gradients(factor: Any) -> Iterator[None]:
    """A context in which updates multiply gradients by a factor while they read them.

    Args:
        factor: a 0-d tensor, computed by the `clip_factor` of the gradients' backend.
    """
    before, _scale.factor = _scale.factor, factor
    try:
        yield
    finally:
        _scale.factor = before


@ignored()
def update_tensors(rule: Op, rows: Sequence[Tensors], **settings: Any) -> None:
    """Write to parameters and optimizer state what an update rule computes from them.

    A backend may have a multi-tensor version of the rule, which updates all rows in one call, in
    any order. If a parameter is a view of another one, it is called for one row after another.

    Args:
        rule: an op without gradient, ``rule(parameter, gradient, *state, **settings)``, that
            returns the new parameter and state.
        rows: the tensors (parameter, gradient, *state) of each parameter.
        settings: of the rule, the same for all rows. A number may also be a 0-d array.

    Raises:
        BackendError: the tensors of a row are on several backends.
    """
    by_backend: dict[Backend, list[Tensors]] = {}
    for row in rows:
        by_backend.setdefault(unwrap(rule.name, row)[2], []).append(row)
    for backend, same in by_backend.items():
        fused = backend.updates.get(rule.key)
        if fused is None:
            arrays = {n: a for n, a in settings.items() if type(a) is backend.array_type}
            for row in same:
                _update_row(rule, row, settings, arrays)
        else:
            fused = trace.timed(fused, rule.key, backend.name, "kernel")
            scale = {} if _scale.factor is None else {"scale": _scale.factor._array}
            for together in _groups(same):
                given = [tuple(t._array for t in row) for row in together]
                updated = fused(given, **settings, **scale)
                for (parameter, _, *state), new in zip(together, updated, strict=True):
                    for tensor, array in zip((parameter, *state), new, strict=True):
                        tensor._set_array(array)


def _groups(rows: list[Tensors]) -> list[list[Tensors]]:
    """One group of all rows, or one for each row if a parameter is a view of another one, since a
    multi-tensor update has no defined order. Views share the version of their tensor."""
    versions = {id(parameter._version) for parameter, *_ in rows}
    return [rows] if len(versions) == len(rows) else [[row] for row in rows]


def _update_row(rule: Op, row: Tensors, settings: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Apply the rule to one row, and write its results to the memory of the tensors.

    Args:
        arrays: the settings that are 0-d arrays; these are cast to the dtype of the parameter.
    """
    parameter, gradient, *state = row
    xp = parameter.backend.xp
    own = {**settings, **{n: xp.astype(a, parameter.dtype) for n, a in arrays.items()}}
    if _scale.factor is not None:
        gradient = gradient * _scale.factor
    updated = rule(parameter, gradient, *state, **own)
    for tensor, new in zip((parameter, *state), updated, strict=True):
        write_update(tensor, new)


def write_update(tensor: Any, new: Any) -> None:
    """Write `new` to the memory of a tensor, unless an error is pending on the device."""
    tensor._set_array(tensor.backend.write_update(tensor._array, new._array))


def unscale_gradients(scaler: LossScaler, parameters: Iterable[Any]) -> None:
    """Divide the gradients of all parameters by the scale of their loss."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    unscaled = scaler.unscale([g._array for g in gradients])
    for gradient, array in zip(gradients, unscaled, strict=True):
        gradient._set_array(array)
