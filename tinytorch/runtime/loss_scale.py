"""Training steps with a scaled loss, where a backend computes products in float16.

A step whose gradients are infinite changes nothing, and the optimizers do not count it. Only the
device knows which steps these are, so it subtracts their number; the host counts every step at
first, and takes the skipped ones out later (`settle`).
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ..autograd import wrap_array
from ..backends import Backend
from ..backends.base import LossScaler
from ..ops.update import unscale_gradients
from ..optimizers import Optimizer
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


def update(trainer: Trainer, backend: Backend) -> None:
    """As `Trainer.update`, for optimizers that do not count steps that are skipped."""
    scaler = loss_scaler(trainer, backend)
    if scaler is None:
        trainer.update()
        return

    def step(optimizer: Optimizer) -> None:
        if not has_own_step(optimizer):
            optimizer.step()
            return
        number, *rates = optimizer.next_step()
        optimizer.count_step(optimizer.update(number_of_step(trainer, backend, number), *rates))

    trainer.update(step)


def has_own_step(optimizer: Optimizer) -> bool:
    """Whether the method `step` is that of `Optimizer`."""
    return getattr(optimizer.step, "__func__", None) is Optimizer.step


def number_of_step(trainer: Trainer, backend: Backend, number: Any) -> Any:
    """The number of an optimizer's step, a number or a 0-d array, less the steps skipped so far."""
    scaler = loss_scaler(trainer, backend)
    return number if scaler is None else number - scaler.skipped


def finish(trainer: Trainer, backend: Backend) -> None:
    """Adapt the scale after the update of a step."""
    scaler = loss_scaler(trainer, backend)
    if scaler is not None:
        scaler.update()


def settle(trainer: Trainer) -> None:
    """Take the steps that were skipped out of the optimizers' counts; waits for the device.

    Steps in which a parameter had no gradient are not told apart from those, so a parameter with
    gradients in some steps only may count fewer.
    """
    scaler = _scalers.get(trainer)
    skipped = 0 if scaler is None else scaler.take_skipped()
    if not skipped:
        return
    for optimizer in filter(has_own_step, trainer.optimizers):
        optimizer.steps -= skipped
        missed = {i: min(n, optimizer.steps) for i, n in optimizer.missed.items()}
        optimizer.missed = {i: n for i, n in missed.items() if n}


def settle_if_missed(trainer: Trainer) -> None:
    """Before a step: `settle` if optimizers count the steps of each parameter."""
    if any(optimizer.missed for optimizer in trainer.optimizers):
        settle(trainer)


def state_dict(trainer: Trainer) -> dict[str, float]:
    """The state of a trainer's scaler; empty if it has none."""
    scaler = _scalers.get(trainer)
    return {} if scaler is None else scaler.state_dict()


def load_state_dict(trainer: Trainer, state: dict[str, float] | None) -> None:
    """Continue with a scale; with the first one if there is none, as after training in float32."""
    scaler = loss_scaler(trainer, trainer.model.backend)
    if scaler is not None:
        scaler.load_state_dict(state or {})
