"""The Trainer of lesson 08, with a choice of step runners."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from .. import training
from ..arguments import check_integer
from ..autograd import no_grad
from ..modules.module import Module, evaluating
from ..optimizers import Optimizer
from ..tensor import Tensor
from ..training import Schedule, checked_batches
from . import loss_scale
from .eager import EagerStep
from .graphed import GraphedStep

if TYPE_CHECKING:
    from ..backends.groups import MPIGroup
    from .ranks import Ranks
    from .sharding import ShardedUpdate

CHECK_INTERVAL = 100  # steps after which ranks compare their weights


class StepRunner(Protocol):
    """Runs the steps of a trainer: eagerly, data-parallel or graphed, with equal results."""

    def run(
        self, trainer: training.Trainer, batches: Sequence[tuple[Tensor, Tensor]]
    ) -> Tensor: ...


class Trainer(training.Trainer):
    """The training loop: gradients of batches, clipping, optimizers and their schedule.

    Args:
        model: the model to train.
        optimizer: one optimizer, or several, each for some of the parameters.
        loss_fn: ``loss_fn(prediction, target)``, the mean over the targets of a batch; see
            `training.Trainer`.
        scheduler: sets the learning rate before each step.
        grad_clip_norm: the maximum norm of all gradients together.
        processes: number of processes among which the rows of each batch are divided, at most one
            for each row; see `data_parallel.DataParallel`. After a change of the model or the loss
            they are started again; see `module_key` for what is detected.
        cuda_graph: on a GPU, capture a step once as a CUDA graph and replay it from then on, so
            that the host launches one graph per step instead of hundreds of kernels. Weights,
            learning rates, settings of optimizers, modules and their numbers and strings, also in
            lists, may change at any time; if necessary, the step is captured again. Changes of
            other objects in a module or in the loss are not detected. The model and the loss must
            not read results on the host.
        group: an `MPIGroup`, whose ranks all create this trainer and take the same steps: each of
            them computes its rows of every batch, see `ranks.Ranks`.
        own_batches: whether each rank of the group passes its rows of every batch alone, as those
            of a `DistributedSampler`; by default all pass the whole batch. Such steps are not
            captured as CUDA graphs.
        shard_optimizers: divide updates and state of the optimizers among the ranks, see
            `sharding.ShardedUpdate`. This saves memory, and sends each weight once a step; None
            divides only Muon, whose update takes longer than that. The state_dict() of a divided
            optimizer has the state of the rank alone; `save_checkpoint` saves all of it.
        record: deprecated name of `cuda_graph`.

    Attributes:
        runner: runs the steps; may be replaced at any time.
        ranks: the ranks of the group, or None.

    >>> from tinytorch import AdamW, Linear, MSELoss, Tensor
    >>> model = Linear(2, 1)
    >>> trainer = Trainer(model, AdamW(model.parameters()), MSELoss())
    >>> loss = trainer.train_step([(Tensor([[1.0, 2.0]]), Tensor([[3.0]]))])
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer | Sequence[Optimizer],
        loss_fn: Any,
        scheduler: Schedule | None = None,
        grad_clip_norm: float | None = None,
        processes: int = 1,
        cuda_graph: bool = False,
        group: "MPIGroup | None" = None,
        shard_optimizers: bool | None = False,
        own_batches: bool = False,
        *,
        record: bool | None = None,
    ) -> None:
        processes = check_integer("processes", processes, 1)
        if group is not None and processes > 1:
            raise ValueError(
                f"processes={processes} cannot be combined with group=: start more ranks instead"
            )
        if record is not None:
            warnings.warn("record= is now cuda_graph=", DeprecationWarning, stacklevel=2)
            cuda_graph = record
        super().__init__(model, optimizer, loss_fn, scheduler, grad_clip_norm)
        self.runner = make_runner(processes, cuda_graph)
        self.ranks = make_ranks(group, own_batches)
        self.shard_optimizers = shard_optimizers
        self._has_begun = False  # whether all ranks have the weights of rank 0

    @property
    def processes(self) -> int:
        """Number of processes among which the rows of each batch are divided."""
        count: int = getattr(self.runner, "count", 1)  # of a data-parallel step
        return count

    @property
    def shards(self) -> "list[ShardedUpdate]":
        """The updates of the optimizers that are divided among the ranks."""
        if self.ranks is None:
            return []
        from .sharding import updates_of

        return updates_of(self.optimizers)

    def run_step(self, batches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        ranks = self.ranks
        if ranks is None:
            self._check_undivided()
            return self.runner.run(self, batches)
        if not self._has_begun:
            self._begin(ranks, batches)
        loss = self.runner.run(self, batches)
        if (self.step + 1) % CHECK_INTERVAL == 0:
            ranks.check(self)
        return loss

    def _check_undivided(self) -> None:
        """Raise ValueError if another trainer has divided an optimizer: the others would wait."""
        if any("update" in vars(optimizer) for optimizer in self.optimizers):
            from .sharding import updates_of

            if updates_of(self.optimizers):
                raise ValueError(
                    "another trainer has divided an optimizer among the ranks of its group: pass"
                    " the same group= to this one"
                )

    def _begin(self, ranks: "Ranks", batches: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Before the first step of several ranks: give all of them the weights of rank 0."""
        from .sharding import shard_optimizers

        ranks.agree_on(batches)
        ranks.copy_first(self)
        choice = self.shard_optimizers
        for shard in shard_optimizers(self.optimizers, ranks.host, ranks.group, choice):
            shard.prepare()  # before a step is captured
        self._has_begun = True

    def accumulate(
        self,
        batches: Sequence[tuple[Tensor, Tensor]],
        backward: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
    ) -> Tensor:
        if self.ranks is None:
            return super().accumulate(batches, backward)
        return self.ranks.accumulate(self, super().accumulate, batches, backward)

    def _targets(self, batches: Sequence[Any]) -> Any:
        """As that of lesson 08; of all ranks, where each passes its own batches."""
        own = super()._targets(batches)
        return self.ranks.total(own) if self.ranks and self.ranks.own_batches else own

    @no_grad()
    def evaluate(self, loader: Iterable[Any]) -> float:
        """As that of lesson 08; with ranks, each computes the losses of some of the batches, or of
        its own."""
        if self.ranks is None:
            return super().evaluate(loader)
        own = checked_batches(loader)
        if not self.ranks.own_batches:
            own = islice(own, self.ranks.rank, None, self.ranks.size)
        with evaluating():
            return self.ranks.mean_loss(
                (self.loss_fn(self.model(x), y), training.count_targets(self.loss_fn, y))
                for x, y in own
            )

    def save_checkpoint(self, path: Any, **metadata: Any) -> None:
        """As that of lesson 08, with the scale of the loss where products are float16.

        With ranks, all of them call this, and rank 0 writes the file. It takes the state of all
        optimizers into its memory for this.
        """
        if "loss_scale" in metadata:
            raise ValueError("save_checkpoint writes ['loss_scale'] itself: use another name")
        loss_scale.settle(self)
        state = loss_scale.state_dict(self)
        for shard in self.shards:
            shard.collect()
        try:
            if self.ranks is None or self.ranks.rank == 0:
                super().save_checkpoint(
                    path, **metadata, **({"loss_scale": state} if state else {})
                )
        finally:
            for shard in self.shards:
                shard.forget()

    def load_checkpoint(self, path: Any) -> dict[str, Any]:
        """As that of lesson 08, with the scale of the loss."""
        metadata = super().load_checkpoint(path)
        loss_scale.load_state_dict(self, metadata.get("loss_scale"))
        return metadata

    def steps_at_once(self, rows: int, *shapes: tuple[int, ...]) -> int:
        """How many steps `train_steps` should take at once; 1 if it cannot, or is not faster.

        Args:
            rows: rows of activations in a step, such as the tokens of a GPT.
            shapes: of the x and the y of each batch of a step.
        """
        if isinstance(self.runner, GraphedStep):
            return self.runner.steps_at_once(self, rows, *shapes)
        return 1

    def train_steps(self, x: Tensor, y: Tensor) -> Tensor | None:
        """Take K steps from one CUDA graph, with the results of K calls of `train_step`.

        This is faster where a GPU computes a step in less time than the host needs to launch it.

        Args:
            x: inputs (K, A, B, ...): for each step A batches, whose gradients are accumulated.
            y: targets (K, A, B, ...).

        Returns:
            the loss of each step (K,); or None if no step was taken, because these cannot be
            captured together, as the first ones, or memory does not suffice.

        Raises:
            ValueError: x and y have different numbers of steps or batches.
        """
        if x.ndim < 2 or x.shape[:2] != y.shape[:2]:
            raise ValueError(
                "train_steps takes inputs and targets of shape (steps, batches, ...), not"
                f" {x.shape} and {y.shape}"
            )
        if not isinstance(self.runner, GraphedStep):
            return None
        numbers = []
        for ahead in range(len(x)):
            if self.scheduler is not None:
                self.scheduler.apply(self.optimizers, self.step + ahead)
            own = [optimizer.next_step() for optimizer in self.optimizers]
            numbers.append([n for step, *rates in own for n in (step + ahead, *rates)])
        try:
            losses: Tensor | None = self.runner.run_several(self, numbers, x, y)
        except BaseException:
            self.zero_grad()  # else the next step would add to the gradients of this one
            raise
        if losses is not None:
            before, self.step = self.step, self.step + len(x)
            self.updating = False
            if self.ranks is not None and self.step // CHECK_INTERVAL > before // CHECK_INTERVAL:
                self.ranks.check(self)
        return losses


def make_ranks(group: "MPIGroup | None", own_batches: bool = False) -> "Ranks | None":
    """The `Ranks` of a group; None without one, or if it is this process alone."""
    if group is None or group.size == 1:
        return None
    from .ranks import Ranks  # loads pickle, which few programs need

    return Ranks(group, own_batches)


def make_runner(processes: int = 1, cuda_graph: bool = False) -> StepRunner:
    """The step runner for a number of processes, or for CUDA graphs in one process."""
    if processes > 1:
        from .data_parallel import DataParallelStep  # loads multiprocessing, which is slow

        return DataParallelStep(processes)
    return GraphedStep() if cuda_graph else EagerStep()
