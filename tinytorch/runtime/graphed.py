"""Training steps that are captured once as a CUDA graph and then replayed."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from ..autograd import wrap_array
from ..backends import Backend, trace
from ..backends.base import Array
from ..ops import random
from ..optimizers import Optimizer
from ..tensor import Tensor
from ..training import Trainer

Shapes = tuple[tuple[int, ...], ...]


class GraphedStep:
    """Runs the steps of a trainer from a captured graph if the backend can, otherwise eagerly.

    The values that change from step to step (learning rates, the number of the step, the seed of
    the dropout masks) are inputs of the captured work, like the batches.
    """

    def __init__(self) -> None:
        self._backend: Backend | None = None
        self._graphed: Callable[..., Array] | None = None
        self._trainer: Trainer | None = None
        self._masks: dict[Shapes, int] = {}  # batch shapes -> number of dropout masks per step

    def run(self, trainer: Trainer, batches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Compute one step.

        Raises:
            BackendError: the step cannot be captured.
        """
        tensors = [tensor for batch in batches for tensor in batch]
        backend = tensors[0].backend
        if backend.graphed is None or any(tensor.backend is not backend for tensor in tensors):
            trace.fallback("graphed step", "the backend cannot capture work", backend.name)
            return Trainer.run_step(trainer, batches)
        if self._graphed is None or self._backend is not backend:
            self._backend, self._graphed = backend, backend.graphed(self._work)
        graphed = trace.timed(self._graphed, "graphed step", backend.name, "graph")
        counts = [optimizer.steps for optimizer in trainer.optimizers]
        rows = [_row(optimizer.next_step()) for optimizer in trainer.optimizers]
        numbers = np.array([n for row in rows for n in row], np.float64)
        masks = np.array([n % 2**64 for n in random.mask_state()], np.uint64).view(np.int64)
        self._trainer = trainer
        try:
            inputs = (backend.asarray(numbers), backend.asarray(masks))
            loss = graphed(graph_key(trainer), *inputs, *(t._array for t in tensors))
        except BaseException:
            for optimizer, count in zip(trainer.optimizers, counts, strict=True):
                optimizer.steps = count
            raise
        finally:
            self._trainer = None
        random.skip_masks(self._masks[_shapes(t._array for t in tensors)])
        return wrap_array(Tensor, loss, backend)

    def _work(self, numbers: Array, masks: Array, *arrays: Array) -> Array:
        """Run a step on arrays x, y, x, y, ...; returns the loss as an array."""
        trainer, backend = self._trainer, self._backend
        assert trainer is not None
        assert backend is not None
        tensors = [wrap_array(Tensor, array, backend) for array in arrays]
        with random.masks_from(masks) as seeds:
            loss = trainer.accumulate(list(zip(tensors[::2], tensors[1::2], strict=True)))
            trainer.update(_unpack(trainer.optimizers, numbers))
        self._masks[_shapes(arrays)] = seeds.offset
        return loss._array


def _row(numbers: tuple[int, list[float]]) -> list[float]:
    """Flatten the result of an optimizer's `next_step`."""
    step, rates = numbers
    return [step, *rates]


def _unpack(optimizers: Sequence[Optimizer], numbers: Array) -> list[tuple[Array, list[Array]]]:
    """The result of each optimizer's `next_step`, as 0-d arrays in the parameters' dtype."""
    unpacked, start = [], 0
    for optimizer in optimizers:
        p = optimizer.parameters()[0]
        stop = start + 1 + len(optimizer.groups)
        own = p.backend.xp.astype(numbers[start:stop], p.dtype)
        step, *rates = (own[i, ...] for i in range(stop - start))
        unpacked.append((step, rates))
        start = stop
    return unpacked


def _shapes(arrays: Any) -> Shapes:
    return tuple(array.shape for array in arrays)


def graph_key(trainer: Trainer) -> Hashable:
    """Cache key of a captured step: if it changes, the step is captured again.

    It contains everything that a step depends on besides its inputs: the identity of the arrays of
    parameters and optimizer state, settings, and the modules with their numbers and strings.
    """
    arrays = [p._array for p in trainer.model.parameters()]
    settings: list[Any] = []
    for optimizer in trainer.optimizers:
        arrays += [p._array for p in optimizer.parameters()]
        arrays += [t._array for state in optimizer.state.values() for t in state.values()]
        for group in optimizer.groups:
            settings += [item for item in group.items() if item[0] not in ("params", "lr")]
    trained = (parameter.requires_grad for parameter in trainer.model.parameters())
    modules = (
        (module, *(v for v in vars(module).values() if isinstance(v, int | float | str)))
        for _, module in trainer.model.named_modules()
    )
    return (trainer.grad_clip_norm, trainer.loss_fn, *trained, *map(id, arrays), *settings,
            *modules)  # fmt: skip
