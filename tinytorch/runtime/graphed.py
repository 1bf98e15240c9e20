"""Training steps that are captured once as a CUDA graph and then replayed."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from ..autograd import wrap_array
from ..backends import Backend, trace
from ..backends.base import Array, InterruptedUpdateError
from ..ops import random
from ..optimizers import Optimizer
from ..tensor import Tensor
from ..training import Trainer
from .eager import EagerStep, why_eager
from .module_key import module_key

Shapes = tuple[tuple[int, ...], ...]


class GraphedStep:
    """Runs the steps of a trainer from a captured graph where the backend can, else eagerly.

    The values that change from step to step (learning rates, the number of the step, the seed of
    the dropout masks) are inputs of the captured work, like the batches.
    """

    def __init__(self) -> None:
        self._backend: Backend | None = None
        self._graphed: Callable[..., Array] | None = None
        self._trainer: Trainer | None = None
        self._masks: dict[Shapes, int] = {}  # batch shapes -> number of dropout masks per step
        # Batch shapes -> indices of the parameters that each optimizer updates.
        self._updated: dict[Shapes, list[list[int]]] = {}

    def __reduce__(self) -> Any:
        return GraphedStep, ()  # a copy captures graphs of its own

    def run(self, trainer: Trainer, batches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Run one step.

        Raises:
            BackendError: the step cannot be captured.
        """
        tensors = [tensor for batch in batches for tensor in batch]
        backend = tensors[0].backend
        reason = _why_eager(trainer, tensors)
        if backend.graphed is None or reason:
            trace.fallback("graphed step", reason, backend.name)
            return EagerStep().run(trainer, batches)
        if self._graphed is None or self._backend is not backend:
            self._backend, self._graphed = backend, backend.graphed(self._work)
        numbers = [n for optimizer in trainer.optimizers for n in optimizer.next_step()]
        masks = np.array([n % 2**64 for n in random.mask_state()], np.uint64).view(np.int64)
        inputs = backend.asarray(np.array(numbers, np.float64)), backend.asarray(masks)
        arrays = [tensor._array for tensor in tensors]
        self._trainer = trainer
        try:
            key = graph_key(trainer), self._earlier_updates(trainer)
            trainer.updating = True  # a replay is one launch: its update cannot be told apart
            loss = self._graphed(key, *inputs, *arrays)
        finally:
            self._trainer = None
        updated = self._updated[_shapes(arrays)]
        for optimizer, indices in zip(trainer.optimizers, updated, strict=True):
            optimizer.count_step(indices)
        random.skip_masks(self._masks[_shapes(arrays)])
        return wrap_array(Tensor, loss, backend)

    def _earlier_updates(self, trainer: Trainer) -> Hashable:
        """How many steps were missed by each parameter that any captured step may update.

        A captured step subtracts these constants from its input, the number of the step.
        """
        if not any(optimizer.missed for optimizer in trainer.optimizers):
            return ()
        places = {(n, i) for step in self._updated.values() for n, own in enumerate(step)
                  for i in own}  # fmt: skip
        return tuple((n, i, trainer.optimizers[n].missed.get(i, 0)) for n, i in sorted(places))

    def _work(self, numbers: Array, masks: Array, *arrays: Array) -> Array:
        """Run a step on arrays x, y, x, y, ...; returns the loss as an array."""
        trainer, backend = self._trainer, self._backend
        assert trainer is not None
        assert backend is not None
        tensors = [wrap_array(Tensor, array, backend) for array in arrays]
        own_numbers = iter(_split(trainer.optimizers, numbers))
        updated: list[list[int]] = []
        is_updating = False
        with random.masks_from(masks) as seeds:
            try:
                loss = trainer.accumulate(list(zip(tensors[::2], tensors[1::2], strict=True)))
                is_updating = True
                trainer.update(lambda o: updated.append(o.update(*next(own_numbers))))
            except MemoryError as error:
                trainer.zero_grad()  # the backend may run this again
                if is_updating:
                    raise InterruptedUpdateError(str(error)) from error
                raise
        self._masks[_shapes(arrays)] = seeds.offset
        self._updated[_shapes(arrays)] = updated
        return loss._array


def _why_eager(trainer: Trainer, tensors: Sequence[Tensor]) -> str:
    """Why a step cannot be captured, or an empty string."""
    if tensors[0].backend.graphed is None:
        return "the backend has no graphs"
    if any(tensor.backend is not tensors[0].backend for tensor in tensors):
        return "the batches are on several backends"
    if any(getattr(o.step, "__func__", None) is not Optimizer.step for o in trainer.optimizers):
        return "an optimizer overrides step()"
    parameters = trainer.parameters()
    if any(p.grad is not None for p in parameters):
        return "parameters have gradients from before the step"
    return why_eager(trainer.model, trainer.loss_fn, parameters=parameters)


def _split(optimizers: Sequence[Optimizer], numbers: Array) -> list[list[Array]]:
    """`next_step` of each optimizer as 0-d arrays, from one array with those of all."""
    scalars = iter([numbers[i, ...] for i in range(numbers.shape[0])])
    return [[next(scalars) for _ in range(1 + len(o.param_groups))] for o in optimizers]


def _shapes(arrays: Any) -> Shapes:
    return tuple(array.shape for array in arrays)


def _is_value(setting: Any) -> bool:
    """Whether a setting of a group is compared; lists, such as the parameters, are not."""
    return not isinstance(setting, list | dict | set)


def graph_key(trainer: Trainer) -> Hashable:
    """Cache key of a captured step: if it changes, the step is captured again.

    It contains everything that a step depends on besides its inputs: the identity of the arrays of
    parameters and optimizer state, settings, and the modules with their numbers and strings, also
    within lists, tuples and dicts. Objects of other types are not compared: a captured step would
    assign new ones in each capture.
    """
    arrays = [tensor._array for _, tensor in trainer.model._named_tensors()]
    settings: list[Any] = []
    for optimizer in trainer.optimizers:
        arrays += [p._array for p in optimizer.parameters()]
        arrays += [t._array for state in optimizer.state.values() for t in state.values()]
        for group in optimizer.param_groups:
            settings += [item for item in group.items() if item[0] != "lr" and _is_value(item[1])]
    trained = (parameter.requires_grad for parameter in trainer.model.parameters())
    modules = module_key(trainer.model, trainer.loss_fn, plain=True)
    return trainer.grad_clip_norm, *trained, *map(id, arrays), *settings, modules
