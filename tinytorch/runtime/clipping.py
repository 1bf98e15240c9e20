"""Gradient clipping without a pass that scales the gradients: updates multiply them by a factor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..autograd import wrap_array
from ..ops.update import scaled_gradients
from ..optimizers import Optimizer
from ..tensor import Tensor
from ..training import Trainer


@contextmanager
def folded_clipping(trainer: Trainer) -> Iterator[None]:
    """A context for one update of a trainer, in which optimizers clip the gradients they read.

    Nothing changes where the backend cannot do that, or where code outside of this package would
    read the gradients, as an optimizer with a method `update` of its own does.
    """
    max_norm, factor = trainer.grad_clip_norm, _factor(trainer)
    if factor is None:
        yield
        return
    trainer.grad_clip_norm = None
    try:
        with scaled_gradients(factor):
            yield
    finally:
        trainer.grad_clip_norm = max_norm


def _factor(trainer: Trainer) -> Tensor | None:
    """The factor of the gradients, a 0-d tensor; None if the trainer is to scale them itself."""
    if trainer.grad_clip_norm is None or not _are_own_methods(trainer):
        return None
    gradients = [p.grad for p in trainer.parameters() if p.grad is not None]
    backends = {g.backend for g in gradients}
    if len(backends) != 1:
        return None
    (backend,) = backends
    if backend.clip_factor is None:
        return None
    factor = backend.clip_factor([g._array for g in gradients], trainer.grad_clip_norm)
    return None if factor is None else wrap_array(Tensor, factor, backend)


def _are_own_methods(trainer: Trainer) -> bool:
    """Whether the gradients are read by methods of this package only."""

    def is_own(instance: Any, cls: type, *names: str) -> bool:
        return all(getattr(type(instance), n) is getattr(cls, n) for n in names)

    return is_own(trainer, Trainer, "update") and all(
        is_own(o, Optimizer, "update", "update_group") for o in trainer.optimizers
    )
