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
from . import loss_scale
from .clipping import folded_clipping
from .eager import EagerStep, why_eager
from .module_key import module_key

Shapes = tuple[tuple[int, ...], ...]
Numbers = list[list[float]]  # of each step: `next_step` of all optimizers

STEPS_AT_ONCE = 5  # in one graph
# Parameters times rows of a step, above which a GPU computes longer than the host needs to launch
# the next graph.
MAX_SMALL_STEP = 2**33
# Steps after a lack of memory until several are tried in one graph again; then twice as many, as
# each attempt frees the other graphs.
FIRST_PAUSE = 200


class GraphedStep:
    """Runs the steps of a trainer from a captured graph where the backend can, else eagerly.

    The values that change from step to step (learning rates, the number of the step, the seed of
    the dropout masks) are inputs of the captured work, like the batches.
    """

    def __init__(self) -> None:
        self._backend: Backend | None = None
        self._graphed: Callable[..., Array] | None = None
        self._trainer: Trainer | None = None
        self._masks: dict[Shapes, int] = {}  # batch shapes -> dropout masks per launch
        # Batch shapes -> for each step of a launch, the indices of the parameters that each
        # optimizer updates.
        self._updated: dict[Shapes, list[list[list[int]]]] = {}
        self._single_key: Hashable = None  # cache key of the last single step
        self._single_shapes: Shapes = ()  # and its batch shapes
        self._pause = self._paused = 0  # length of the last pause, and what is left of it

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
        loss_scale.settle_if_missed(trainer)
        numbers = [n for optimizer in trainer.optimizers for n in optimizer.next_step()]
        arrays = [tensor._array for tensor in tensors]
        key = self._key(trainer)
        loss = self._launch(trainer, backend, key, [numbers], arrays)
        if (key, _shapes(arrays)) != (self._single_key, self._single_shapes):
            self._pause = self._paused = 0
        self._paused = max(0, self._paused - 1)
        self._single_key, self._single_shapes = key, _shapes(arrays)
        return wrap_array(Tensor, loss, backend)

    def steps_at_once(self, trainer: Trainer, rows: int, *shapes: tuple[int, ...]) -> int:
        """How many steps one graph should run: several if the host is slower than the GPU.

        Args:
            trainer: the trainer.
            rows: rows of activations in a step, such as the tokens of a GPT.
            shapes: of the x and the y of each batch of a step.
        """
        if self._paused or self._single_key is None or self._single_shapes != shapes:
            return 1
        is_small = rows * sum(p.size for p in trainer.parameters()) <= MAX_SMALL_STEP
        if is_small and not self._why_single(trainer, self._key(trainer)):
            return STEPS_AT_ONCE
        return 1

    def _why_single(self, trainer: Trainer, key: Hashable, *batches: Tensor) -> str:
        """Why the next steps cannot be run from one graph, or an empty string."""
        if key != self._single_key:
            return "kernels are compiled, and state is allocated, in a single step"
        if any(optimizer.missed for optimizer in trainer.optimizers):
            return "some steps update only some of the parameters"
        return _why_eager(trainer, [*batches, *trainer.parameters()])

    def run_several(self, trainer: Trainer, numbers: Numbers, x: Tensor, y: Tensor) -> Any:
        """Run K steps from one graph; returns their losses (K,), or None if that is impossible.

        Args:
            trainer: its last step was a single one with such batches, or several ones.
            numbers: `next_step` of all optimizers, for each step.
            x: inputs (K, A, ...) of A batches for each step.
            y: targets (K, A, ...).
        """
        key, arrays = self._key(trainer), [x._array, y._array]
        shapes = tuple(a.shape[2:] for a in arrays) * x.shape[1]
        if len(numbers) < 2 or shapes != self._single_shapes:
            return None
        if self._why_single(trainer, key, x, y):
            return None
        losses = self._launch(trainer, x.backend, key, numbers, arrays, eager=False)
        if losses is None:
            self._pause = self._paused = 2 * self._pause or FIRST_PAUSE
            why = f"too little memory for a graph of {len(numbers)} steps"
            trace.fallback("several steps", why, x.backend.name)
            return None
        return wrap_array(Tensor, losses, x.backend)

    def _launch(
        self,
        trainer: Trainer,
        backend: Backend,
        key: Hashable,
        numbers: Numbers,
        arrays: list[Array],
        **how: bool,
    ) -> Any:
        """Launch the graph of the steps with these numbers, and count them; see `_work`."""
        if self._graphed is None or self._backend is not backend:
            assert backend.graphed is not None
            ranks = getattr(trainer, "ranks", None)
            agree = () if ranks is None else (ranks.all,)
            self._backend, self._graphed = backend, backend.graphed(self._work, *agree)
        masks = np.array([n % 2**64 for n in random.mask_state()], np.uint64).view(np.int64)
        inputs = backend.asarray(np.array(numbers, np.float64)), backend.asarray(masks)
        self._trainer = trainer
        try:
            trainer.updating = True  # a replay is one launch: its update cannot be told apart
            result = self._graphed(key, *inputs, *arrays, **how)
        finally:
            self._trainer = None
        if result is None:  # nothing was run
            trainer.updating = False
            return None
        for updated in self._updated[_shapes(arrays)]:
            for optimizer, indices in zip(trainer.optimizers, updated, strict=True):
                optimizer.count_step(indices)
        random.skip_masks(self._masks[_shapes(arrays)])
        return result

    def _key(self, trainer: Trainer) -> Hashable:
        """Cache key of the trainer's graphs."""
        return graph_key(trainer), self._earlier_updates(trainer)

    def _earlier_updates(self, trainer: Trainer) -> Hashable:
        """How many steps were missed by each parameter that any captured step may update.

        A captured step subtracts these constants from its input, the number of the step.
        """
        if not any(optimizer.missed for optimizer in trainer.optimizers):
            return ()
        places = {(n, i) for steps in self._updated.values() for step in steps
                  for n, own in enumerate(step) for i in own}  # fmt: skip
        return tuple((n, i, trainer.optimizers[n].missed.get(i, 0)) for n, i in sorted(places))

    def _work(self, numbers: Array, masks: Array, *arrays: Array) -> Array:
        """Run one step, or several: each row of `numbers` (K, n) has the numbers of a step.

        Args:
            numbers: `next_step` of all optimizers.
            masks: key and offset of the first dropout mask.
            arrays: batches x, y, x, y, ... of one step; or x (K, A, ...) and y (K, A, ...) with A
                batches for each of K steps.

        Returns:
            the loss, or those of several steps (K,).
        """
        trainer, backend = self._trainer, self._backend
        assert trainer is not None
        assert backend is not None
        count = numbers.shape[0]
        losses: list[Tensor] = []
        updated: list[list[list[int]]] = []
        is_updating = False
        with random.masks_from(masks) as seeds:
            try:
                for step in range(count):
                    batches = _batches(arrays, count, step, backend)
                    losses.append(loss_scale.accumulate(trainer, batches))
                    is_updating = True
                    updated.append(_update(trainer, backend, numbers[step, ...]))
                    loss_scale.finish(trainer, backend)
            except MemoryError as error:
                trainer.zero_grad()  # the backend may run this again
                if is_updating:
                    raise InterruptedUpdateError(str(error)) from error
                raise
        self._masks[_shapes(arrays)] = seeds.offset
        self._updated[_shapes(arrays)] = updated
        return losses[0]._array if count == 1 else _joined(losses, backend)


def _update(trainer: Trainer, backend: Backend, numbers: Array) -> list[list[int]]:
    """Update the parameters; returns the indices of those that each optimizer has updated."""
    own_numbers = iter(_split(trainer.optimizers, numbers))
    updated: list[list[int]] = []

    def update(optimizer: Optimizer) -> None:
        step, *rates = next(own_numbers)
        step = loss_scale.number_of_step(trainer, backend, step)
        updated.append(optimizer.update(step, *rates))

    with folded_clipping(trainer):
        trainer.update(update)
    return updated


def _batches(
    arrays: Sequence[Array], count: int, step: int, backend: Backend
) -> list[tuple[Tensor, Tensor]]:
    """The batches of a step, from the arrays of `GraphedStep._work` for `count` steps."""
    if count > 1:
        x, y = arrays
        arrays = [a[step, i, ...] for i in range(x.shape[1]) for a in (x, y)]
    tensors = [wrap_array(Tensor, array, backend) for array in arrays]
    return list(zip(tensors[::2], tensors[1::2], strict=True))


def _joined(losses: Sequence[Tensor], backend: Backend) -> Array:
    """0-d tensors as one array (K,), without a copy from the host."""
    joined = backend.xp.empty((len(losses),), dtype=losses[0].dtype)
    for step, loss in enumerate(losses):
        joined = backend.xp.index_set(joined, step, loss._array)
    return joined


def _why_eager(trainer: Trainer, tensors: Sequence[Tensor]) -> str:
    """Why a step cannot be captured, or an empty string."""
    ranks = getattr(trainer, "ranks", None)
    if ranks is not None and ranks.own_batches:  # a replay cannot compare them between the ranks
        return "each rank has batches of its own"
    if tensors[0].backend.graphed is None:
        return "the backend has no graphs"
    if any(tensor.backend is not tensors[0].backend for tensor in tensors):
        return "the batches are on several backends"
    if not all(map(loss_scale.has_own_step, trainer.optimizers)):
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
