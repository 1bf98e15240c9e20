"""Lesson 08: learning rate schedules, gradient clipping and the training loop."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import NoneType
from typing import Any

from .arguments import check_integer, check_number, check_type, shown
from .autograd import no_grad
from .backends.base import Array, Namespace
from .modules.module import Module, Parameter, evaluating
from .ops import random
from .ops.elementwise import where
from .ops.op import op
from .optimizers import Optimizer
from .serialization import checkpoint
from .serialization.optimizer_state import split_state
from .serialization.random_state import random_state, read_random_state
from .serialization.training_state import read_training_state
from .tensor import Tensor


class Schedule:
    """Learning rate schedule: linear warm-up to `max_lr`, then decay to `min_lr`.

    Args:
        max_lr: the highest rate; if None, rates are factors applied to each optimizer's own rate.
        min_lr: the rate after `total_steps`; a factor if `max_lr` is None.
        total_steps: length of warm-up and decay together.
        warmup_steps: steps of linear warm-up.
    """

    def __init__(
        self,
        max_lr: float | None = None,
        min_lr: float = 0.0,
        total_steps: int = 100,
        warmup_steps: int = 0,
    ) -> None:
        if max_lr is not None:
            max_lr = check_number("max_lr", max_lr)
        min_lr = check_number("min_lr", min_lr)
        self.max_lr, self.min_lr = max_lr, min_lr
        self.total_steps = check_integer("total_steps", total_steps, 1)
        self.warmup_steps = check_integer("warmup_steps", warmup_steps, 0, self.total_steps)

    def decay(self, progress: float) -> float:
        """The rate at `progress` in [0, 1] of the decay, on a scale from 0 (`min_lr`) to 1."""
        raise NotImplementedError

    def get_lr(self, step: int) -> float:
        """The rate of step number `step`, counted from 0; after `total_steps` it stays constant."""
        if not step >= 0:
            raise ValueError(f"step must be at least 0, not {step}")
        high = 1.0 if self.max_lr is None else self.max_lr
        if step < self.warmup_steps:
            return high * (step + 1) / (self.warmup_steps + 1)
        length = max(1, self.total_steps - self.warmup_steps)
        progress = min(length, step - self.warmup_steps) / length
        return self.min_lr + (high - self.min_lr) * self.decay(progress)

    def apply(self, optimizers: Optimizer | Iterable[Optimizer], step: int) -> None:
        """Set the rates of one or several optimizers for step number `step`, counted from 0."""
        rate = self.get_lr(step)
        for optimizer in optimizers if isinstance(optimizers, Iterable) else [optimizers]:
            check_type("optimizers", optimizer, Optimizer, "an Optimizer or several")
            if self.max_lr is None:
                optimizer.scale_lr(rate)
            else:
                optimizer.lr = rate


class CosineSchedule(Schedule):
    """Decay along half a cosine.

    Source: I. Loshchilov and F. Hutter, "SGDR" (2016), equation 5.

    >>> from tinytorch import CosineSchedule
    >>> schedule = CosineSchedule(max_lr=1.0, min_lr=0.1, total_steps=100, warmup_steps=9)
    >>> schedule.get_lr(0), schedule.get_lr(9), schedule.get_lr(100)
    (0.1, 1.0, 0.1)
    """

    def decay(self, progress: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * progress))


class LinearSchedule(Schedule):
    """Constant, then linear decay over the last `fraction` of the steps after the warm-up.

    Source: A. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
    Durations" (2024).
    """

    def __init__(
        self,
        max_lr: float | None = None,
        min_lr: float = 0.0,
        total_steps: int = 100,
        warmup_steps: int = 0,
        fraction: float = 1.0,
    ) -> None:
        super().__init__(max_lr, min_lr, total_steps, warmup_steps)
        fraction = check_number("fraction", fraction)
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], not {fraction}")
        self.fraction = fraction

    def decay(self, progress: float) -> float:
        return min(1.0, (1 - progress) / self.fraction)


@op(promote="float")
def clip_gradients(xp: Namespace, *gradients: Array, max_norm: float) -> Any:
    """The norm of all gradients together, and the gradients scaled to at most `max_norm`."""
    flat = [xp.reshape(g, (-1,)) for g in gradients]
    squares = [xp.vecdot(f, f) for f in flat]
    norm = xp.sqrt(sum(squares[1:], squares[0]))
    scale = max_norm / (norm + 1e-6)
    scale = xp.where(scale >= 1, xp.ones_like(scale), scale)  # NaN stays NaN
    return (norm, *(g * scale for g in gradients)), ()


@no_grad()
def clip_grad_norm(parameters: Tensor | Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients together so that their norm is at most `max_norm`.

    If the norm is NaN, all gradients become NaN, and if it is infinite, finite ones become 0, as in
    PyTorch.

    Args:
        parameters: tensors with gradients, on one backend, or a single one; those without a
            gradient are skipped.
        max_norm: the maximum, 0 or more.

    Returns:
        the norm before scaling, a 0-d tensor. It is not read on the host, so the host does not
        wait for a device.

    Raises:
        TypeError: not tensors, or `max_norm` is not a number.
        ValueError: `max_norm` is negative or NaN, or there are no gradients, as before backward;
            PyTorch returns a norm of 0 then.

    Source: R. Pascanu et al., "On the difficulty of training recurrent neural networks" (2012).
    """
    max_norm = check_number("max_norm", max_norm)
    if not isinstance(parameters, Iterable):
        raise TypeError(f"clip_grad_norm takes parameters, not {shown(parameters)}")
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for p in parameters:
        check_type("clip_grad_norm: each parameter", p, Tensor, "a Tensor")
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        raise ValueError("clip_grad_norm: no parameter has a gradient; call backward first")
    norm: Tensor
    norm, *clipped = clip_gradients(*gradients, max_norm=max_norm)
    for gradient, new in zip(gradients, clipped, strict=True):
        if new.dtype != gradient.dtype:  # gradients of several dtypes were cast to one
            new = new.to(gradient.dtype)
        gradient._set_array(new._array)
    return norm


def count_targets(loss_fn: Callable[..., Tensor], y: Tensor) -> Any:
    """Number of targets in y that `loss_fn` averages over, as a number or a 0-d tensor.

    A loss that leaves out targets has a method ``count_targets(y)``, as `CrossEntropyLoss` does;
    for any other loss all elements of y count, also those that it ignores.
    """
    count = getattr(loss_fn, "count_targets", None)
    return y.size if count is None else count(y)


def weights_of(counts: Sequence[Any]) -> list[Any]:
    """Divide each count by their sum: the weights with which means are averaged.

    If all counts are 0, the weights are equal. Counts that are tensors are not read on the host, so
    the host does not wait for a device.
    """
    total = sum(counts)
    if isinstance(total, Tensor):
        return _weights_of_tensors(counts, total)
    return [float(count / total) if total else 1 / len(counts) for count in counts]


def _weights_of_tensors(counts: Sequence[Any], total: Tensor) -> list[Any]:
    """As `weights_of`, for counts that are tensors, with this sum."""
    empty = (total == 0).to("float64")  # 1 if all counts are 0
    total = total.to("float64") + len(counts) * empty
    return [(count.to("float64") + empty) / total for count in counts]


def accumulate_gradients(
    model: Module, loss_fn: Callable[..., Tensor], x: Tensor, y: Tensor, weight: Any = 1.0
) -> Tensor:
    """Add the gradients of ``weight * loss`` to the parameters; returns that loss.

    Args:
        model: computes the prediction, ``model(x)``.
        loss_fn: ``loss_fn(prediction, y)``.
        x: the input.
        y: the targets.
        weight: a number, or a 0-d tensor. With weight 0 the result is 0 even if the loss is NaN,
            the mean over no targets.
    """
    loss, weight = _checked_loss(loss_fn(model(x), y), weight)
    if isinstance(weight, Tensor) or weight != 1:
        loss = loss * weight
    loss.backward()
    return _zero_if_unweighted(loss.detach(), weight)


def _checked_loss(loss: Any, weight: Any) -> tuple[Tensor, Any]:
    """The loss, if it is a tensor, and its weight, in the dtype of the loss if it is a tensor."""
    check_type("the loss", loss, Tensor, "a Tensor with one element")
    return loss, weight.to(loss.dtype) if isinstance(weight, Tensor) else weight


def _zero_if_unweighted(loss: Tensor, weight: Any) -> Tensor:
    """The weighted loss, but 0 if its weight is 0: the loss itself may be NaN then."""
    if isinstance(weight, Tensor):
        return where(weight > 0, loss, weight)
    return loss if weight else Tensor(0.0, dtype=loss.dtype, backend=loss.backend)


def checked_batches(batches: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over the batches and check each of them.

    Raises:
        TypeError: `batches` is not iterable, or one of them is not a pair of tensors.
    """
    if not (hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")):
        raise TypeError(f"expected a list of batches, [(x, y), ...], not {shown(batches)}")
    return map(_checked_batch, batches)


def _checked_batch(batch: Any) -> tuple[Tensor, Tensor]:
    """The batch, if it is a pair of tensors.

    Raises:
        TypeError: it is not.
    """
    if isinstance(batch, Tensor):
        raise TypeError(
            "expected batches (x, y), got a tensor: put a single batch in a list, [(x, y)]"
        )
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(f"a batch must be a pair (x, y) of tensors, not {shown(batch)}")
    x, y = batch
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        raise TypeError(
            f"a batch must be a pair (x, y) of tensors, not ({shown(x)}, {shown(y)}):"
            " convert arrays and lists with Tensor(...)"
        )
    return x, y


class TrainerBase:
    """What a training loop needs: the model, the loss, the optimizers and their schedule.

    Args:
        model: the model to train.
        optimizer: one optimizer, or several, each for some of the parameters.
        loss_fn: ``loss_fn(prediction, target)``, the mean over the targets of a batch. If it leaves
            out some of them, it needs a method ``count_targets(target)`` (see `count_targets`);
            else batches are weighted by all their targets. Sums are averaged as if they were means.
        scheduler: sets the learning rate before each step.
        grad_clip_norm: the maximum norm of all gradients together.

    Attributes:
        step: number of steps taken.
        updating: whether a step has begun to change the parameters and `train_step` has not counted
            it yet. True after an error in that part, which may have left some parameters with new
            values.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer | Sequence[Optimizer],
        loss_fn: Any,
        scheduler: Schedule | None = None,
        grad_clip_norm: float | None = None,
    ) -> None:
        self.model, self.loss_fn, self.scheduler = model, loss_fn, scheduler
        several = isinstance(optimizer, Iterable)
        self.optimizers: list[Optimizer] = list(optimizer) if several else [optimizer]  # type: ignore[arg-type, list-item]
        check_type("model", model, Module, "a Module")
        for each in self.optimizers:
            check_type("optimizer", each, Optimizer, "an Optimizer or several")
        if isinstance(loss_fn, type) or not callable(loss_fn):
            raise TypeError(f"loss_fn must be a loss such as MSELoss(), not {shown(loss_fn)}")
        if isinstance(scheduler, type) or not hasattr(scheduler, "apply"):
            check_type("scheduler", scheduler, NoneType, "a Schedule")
        if grad_clip_norm is not None:
            grad_clip_norm = check_number("grad_clip_norm", grad_clip_norm)
        self.grad_clip_norm = grad_clip_norm
        self.step = 0
        self.updating = False

    def parameters(self) -> list[Parameter]:
        """The parameters of the model, the loss and the optimizers, each once."""
        modules = [m for m in (self.model, self.loss_fn) if isinstance(m, Module)]
        owners: list[Any] = [*modules, *self.optimizers]
        return list({id(p): p for owner in owners for p in owner.parameters()}.values())

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def _check_optimizers(self) -> None:
        updated = (p for optimizer in self.optimizers for p in optimizer.parameters())
        if all(p.grad is None for p in updated):  # usually stops at the first parameter
            own = {id(p) for p in self.model.parameters()}
            if not any(id(p) in own for o in self.optimizers for p in o.parameters()):
                raise ValueError(
                    "the optimizers have no parameter of the model, so a step would change nothing:"
                    " create them with model.parameters()"
                )

    def _targets(self, batches: Sequence[Any]) -> Any:
        """Number of targets in the batches, as a number or a 0-d tensor."""
        return sum(count_targets(self.loss_fn, y) for _, y in batches)


class AccumulatingTrainer(TrainerBase):
    """A trainer that adds up gradients of several batches, and updates the parameters."""

    def accumulate(
        self,
        batches: Sequence[tuple[Tensor, Tensor]],
        backward: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
    ) -> Tensor:
        """Add the gradients of the mean loss over all targets; returns that loss.

        Args:
            batches: pairs (x, y), weighted by their numbers of targets, see `count_targets`.
            backward: adds the gradients of one batch, ``backward(x, y, weight) -> loss``; by
                default `accumulate_gradients` of model and loss.
        """
        backward = backward or partial(accumulate_gradients, self.model, self.loss_fn)
        weights: list[Any] = [1.0]
        if len(batches) > 1:
            weights = weights_of([count_targets(self.loss_fn, y) for _, y in batches])
        losses = [backward(x, y, w) for (x, y), w in zip(batches, weights, strict=True)]
        return sum(losses[1:], losses[0])

    def update(self, step: Callable[[Optimizer], Any] | None = None) -> None:
        """Clip the gradients, step all optimizers, and clear the gradients.

        Args:
            step: called with each optimizer instead of its method `step`.

        Raises:
            ValueError: the optimizers have no parameter of the model, and nothing to update.
        """
        parameters = self.parameters()
        self._check_optimizers()
        if self.grad_clip_norm is not None:
            clip_grad_norm(parameters, self.grad_clip_norm)
        self.updating = True
        for optimizer in self.optimizers:
            if step is None:
                optimizer.step()
            else:
                step(optimizer)
        for parameter in parameters:
            parameter.zero_grad()


class SteppingTrainer(AccumulatingTrainer):
    """A trainer that takes whole steps."""

    def train_step(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
        """Update the parameters once, with gradients accumulated over one or several batches.

        Args:
            batches: pairs (x, y); a single one is given as ``[(x, y)]``.

        Each batch is weighted by its number of targets (without those that the loss ignores), so
        the result equals that of one large batch, for all sizes. The modes of the modules are not
        changed: call ``model.train()`` after ``model.eval()``, as in PyTorch.

        Returns:
            the mean loss, a 0-d tensor without gradient. It is not read on the host, so the host
            does not wait for a device.

        Raises:
            TypeError: the batches are not pairs of tensors.
            ValueError: there is none.
        """
        batches = list(checked_batches(batches))
        if not batches:
            raise ValueError("train_step needs at least one batch (x, y)")
        if self.scheduler is not None:
            self.scheduler.apply(self.optimizers, self.step)
        try:
            loss = self.run_step(batches)
        except BaseException:
            self.zero_grad()  # else the next step would add to the gradients of this one
            raise
        self.step += 1
        self.updating = False
        return loss

    def run_step(self, batches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Accumulate the gradients of all batches, and update the parameters."""
        loss = self.accumulate(batches)
        self.update()
        return loss


def mean_loss(losses: Sequence[tuple[Tensor, Any]]) -> float:
    """The mean of losses, each weighted by its number of targets; NaN if there are none."""
    if not losses:
        raise ValueError("the loader has no batch")
    counts = [n.item() if isinstance(n, Tensor) else n for _, n in losses]
    sums = [loss.item() * n for (loss, _), n in zip(losses, counts, strict=True) if n]
    return float(sum(sums) / sum(counts)) if sums else math.nan


class EpochTrainer(SteppingTrainer):
    """A trainer that goes through all batches, for training or for evaluation."""

    def train_epoch(self, loader: Iterable[Any], accumulation_steps: int = 1) -> float:
        """Train on all batches once, `accumulation_steps` per update; returns the mean loss."""
        accumulation_steps = check_integer("accumulation_steps", accumulation_steps, 1)
        losses: list[tuple[Tensor, Any]] = []
        pending: list[Any] = []
        for batch in checked_batches(loader):
            pending.append(batch)
            if len(pending) == accumulation_steps:
                losses.append((self.train_step(pending), self._targets(pending)))
                pending = []
        if pending:  # the last update has fewer batches
            losses.append((self.train_step(pending), self._targets(pending)))
        return mean_loss(losses)

    @no_grad()
    def evaluate(self, loader: Iterable[Any]) -> float:
        """The mean loss over all targets of all batches, in eval mode and without gradients.

        Targets that the loss ignores do not count, see `count_targets`. Afterwards each module has
        its own mode again.
        """
        with evaluating():
            return mean_loss([(self.loss_fn(self.model(x), y), self._targets([(x, y)]))
                          for x, y in checked_batches(loader)])  # fmt: skip


def _check_names(metadata: dict[str, Any]) -> None:
    """Raise ValueError if metadata has a name that `save_checkpoint` writes itself."""
    reserved = [name for name in metadata if name in ("step", "optimizers", "random")]
    if reserved:
        raise ValueError(f"save_checkpoint writes {reserved} itself: use another name")


class Trainer(EpochTrainer):
    """The training loop: gradients of batches, clipping, optimizers and their schedule.

    Its arguments and attributes are those of `TrainerBase`.
    """

    def save_checkpoint(self, path: Any, **metadata: Any) -> None:
        """Write model, optimizers, step count and random state to one file, atomically.

        Parameters outside of the model, such as those of a loss, are not saved.

        Args:
            path: the file.
            metadata: more values to save, which JSON can represent.

        Raises:
            ValueError: `metadata` has a name that the checkpoint uses itself.
            CheckpointError: the file cannot be written.
        """
        _check_names(metadata)
        arrays = {f"model/{name}": t.numpy() for name, t in self.model.state_dict().items()}
        states = []
        for index, optimizer in enumerate(self.optimizers):
            state, own = split_state(optimizer.state_dict())
            arrays |= {f"optimizer{index}/{name}": a for name, a in own.items()}
            states.append(state)
        metadata |= {"step": self.step, "optimizers": states, "random": random_state()}
        checkpoint.save(path, arrays, metadata)

    def load_checkpoint(self, path: Any) -> dict[str, Any]:
        """Continue from a checkpoint, bit for bit; returns its metadata.

        Settings of the optimizers are restored too; the schedule and the maximum norm are not.
        In the middle of an epoch, restore the place of the loader as well, see
        `DataLoader.state_dict`.

        Raises:
            CheckpointError: the file cannot be read, or is not a training checkpoint.
            ValueError: it belongs to another model or other optimizers; nothing is changed then.
        """
        arrays, metadata = checkpoint.load(path)
        states, step, rng = read_training_state(path, arrays, metadata, len(self.optimizers))
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.read_state(state)  # raises before anything is changed
        generator, masks = read_random_state(rng)
        self.model.load_state_dict(checkpoint.strip_prefix(arrays, "model/"))
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)
        self.step, self.updating = step, False
        random.set_generator(generator, masks)
        return metadata
