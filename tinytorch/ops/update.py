"""Multi-tensor updates: a rule for one parameter, applied to all of them."""

from collections.abc import Sequence
from typing import Any

from ..backends import trace
from .op import Op, unwrap


def update_tensors(rule: Op, rows: Sequence[Sequence[Any]], **settings: Any) -> None:
    """Apply an update rule to all parameters and their optimizer state.

    A backend may have a multi-tensor version of the rule, which updates all rows in one call.

    Args:
        rule: an op without gradient, ``rule(parameter, gradient, *state, **settings)``, that
            returns the new parameter and state.
        rows: the tensors (parameter, gradient, *state) of each parameter.
        settings: settings of the rule, the same for all rows.

    Raises:
        BackendError: the tensors are on several backends.
    """
    if not rows:
        return
    backend = unwrap(rule.name, [tensor for row in rows for tensor in row])[2]
    fused = backend.updates.get(rule.key)
    if fused is None:
        updated = [tuple(t._array for t in rule(*row, **settings)) for row in rows]
    else:
        fused = trace.timed(fused, rule.key, backend.name, "kernel")
        updated = fused([tuple(t._array for t in row) for row in rows], **settings)
    for (parameter, _, *state), arrays in zip(rows, updated, strict=True):
        for tensor, array in zip((parameter, *state), arrays, strict=True):
            tensor._set_array(array)
