"""Training steps with a scaled loss, where a backend computes products in float16."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ..autograd import wrap_array
from ..backends import Backend
from ..backends.base import LossScaler
from ..ops.update import unscale_gradients
from ..tensor import Tensor
from ..training import Trainer, accumulate_gradients

Batches = Sequence[tuple[Tensor, Tensor]]

_scalers: WeakKeyDictionary[Trainer, LossScaler] = WeakKeyDictionary()


def loss_scaler(trainer: Trainer, backend: Backend) -> LossScaler | None:
    """The scaler of a trainer's loss, or None if the backend needs none."""
    if backend.loss_scaler is None:
        return None
    if trainer not in _scalers:
        _scalers[trainer] = backend.loss_scaler()
    return _scalers[trainer]


def accumulate(trainer: Trainer, batches: Batches) -> Tensor:
    """As `Trainer.accumulate`, but the gradients are computed with a scaled loss if necessary.

    After the update, call `finish`.
    """
    backend = batches[0][0].backend
    scaler = loss_scaler(trainer, backend)
    if scaler is None:
        return trainer.accumulate(batches)
    scale = wrap_array(Tensor, scaler.scale, backend)

    def backward(x: Tensor, y: Tensor, weight: Any) -> Tensor:
        loss = accumulate_gradients(trainer.model, trainer.loss_fn, x, y, scale * weight)
        return loss / scale.to(loss.dtype)

    loss = trainer.accumulate(batches, backward)
    unscale_gradients(scaler, trainer.parameters())
    return loss


def finish(trainer: Trainer, backend: Backend) -> None:
    """Adapt the scale after the update of a step."""
    scaler = loss_scaler(trainer, backend)
    if scaler is not None:
        scaler.update()
