"""Data parallelism among ranks of MPI: each computes its rows of every batch.

Every rank draws the same batch from the same seed, so no batch is sent, and updates its own copy of
the weights with the sum of all gradients. Dropout masks are indexed by the row of the whole batch.
Unlike `data_parallel` it needs no fork and no shared memory, and works across machines.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import wrap_array
from ..backends.groups import Group, MPIGroup
from ..serialization.random_state import random_state, set_random_state
from ..tensor import Tensor
from ..training import Trainer, accumulate_gradients, count_targets, weights_of
from .agreement import Agreement
from .division import divided, rows_of
from .eager import why_eager
from .overlap import EarlySums

ROUNDING = 1e-3  # by which sums of other orders may have changed a weight, of its size or of 1

Batches = Sequence[tuple[Tensor, Tensor]]
Backward = Callable[[Tensor, Tensor, Any], Tensor]


class Ranks(Agreement):
    """This process and the others that train the same model, each on its rows of every batch.

    Losses are those of one process, up to floating-point summation order, under the conditions of
    `data_parallel.DataParallel`. A rank without rows computes the first row with weight 0, so that
    all ranks draw equally many masks.

    Args:
        host: sums values of the host, and starts up the group of the devices.
        own_batches: whether each rank passes its rows alone, equally many in all ranks, as those of
            a `DistributedSampler`; else all pass the whole batch, and each computes its rows.

    Attributes:
        host: the same group.
        own_batches: the same choice.
        overlaps: whether gradients are summed while the backward pass computes the next ones. The
            first step sets it on GPUs, and on hosts if there are several machines, where MPI allows
            several threads: in one machine, whose sums are fast, the thread takes longer than it
            saves.

    Source: S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel
    Training" (2020).
    """

    def __init__(self, host: MPIGroup, own_batches: bool = False) -> None:
        super().__init__(host)
        self.own_batches = own_batches
        self.overlaps: bool | None = None
        self._groups: dict[Any, Group] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Ranks":
        return self  # a copied trainer has the same ranks

    # Training

    def group(self, backend: Any) -> Group:
        """The group that adds up arrays of a backend.

        Raises:
            BackendError: it has none, or no device for this rank.
        """
        if backend not in self._groups:
            self._groups[backend] = backend.group(self.host)
        return self._groups[backend]

    def agree_on(self, batches: Batches) -> None:
        """Check that all ranks have drawn the same batches, unless each has its own.

        Raises:
            RankError: they have not, as without a seed; raised in all ranks.
        """
        if self.own_batches:
            return
        total = 0
        for x, y in batches:
            for array in (x.numpy(), y.numpy()):
                total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
        name = "first batches (call manual_seed with the same seed in all ranks), by checksum"
        self.agree({name: total})

    def copy_first(self, trainer: Trainer) -> None:
        """Give all ranks the weights, buffers and random numbers of rank 0."""
        backend = trainer.model.backend
        if self.overlaps is None:
            apart = len(set(self.host.gather(self.host.place))) > 1
            beside = apart and self.all(self.host.allows_threads())
            self.overlaps = beside or self.group(backend) is not self.host
        for array in _arrays(trainer):
            self.group(backend).broadcast(array)
        set_random_state(self.host.first(random_state()))

    def accumulate(
        self,
        trainer: Trainer,
        accumulate: Callable[[Batches, Backward], Tensor],
        batches: Batches,
        backward: Backward | None = None,
    ) -> Tensor:
        """As ``accumulate(batches, backward)``, with the rows of each batch divided among ranks.

        Raises:
            RankError: hooks or the rows of own batches differ between the ranks.
            ValueError: a module needs whole batches, and each rank passes its own.
            Exception: the exception of the lowest rank that had one, in all ranks.
        """
        parameters = trainer.parameters()
        # Hooks see whole batches, so every rank computes all of them, and nothing is summed.
        reason = why_eager(trainer.model, trainer.loss_fn, parameters=parameters)
        own = self._own_fraction(trainer, batches, reason) if self.own_batches else None
        early = self._early_sums(parameters, bool(reason)) if backward is None else None
        loss: Tensor | None = None
        error: BaseException | None = None
        try:
            backward = backward or _backward(trainer, len(batches), early)
            if self.own_batches:
                backward = self._own_batches(trainer, backward, own)
            elif not reason:
                backward = self._own_rows(trainer, backward)
            if self.rank and not reason:
                trainer.zero_grad()  # what was there before is in all ranks, but counts once
            loss = accumulate(batches, backward)
        except BaseException as caught:
            error = caught
        if early is not None:
            error = early.finish(error)
        rows = sum(len(y) if y.ndim else 1 for _, y in batches)
        used = [p.grad is not None for p in parameters]
        if early is not None:
            used += [p in early.taken for p in parameters]
        counts = self._exchange(error, bool(reason), rows, used)
        assert loss is not None
        if not reason:
            self._sum(parameters, counts, loss, early)
        return loss

    def _exchange(
        self, error: BaseException | None, is_whole: bool, rows: int, used: list[bool]
    ) -> list[int]:
        """After the gradients of a rank: how many ranks have each of `used`.

        Raises:
            RankError: the ranks have divided the batches otherwise, see `accumulate`.
            BaseException: the exception of a rank.
        """
        numbers = np.array([error is not None, is_whole, rows, rows**2, *used], np.int64)
        self.host.sum([numbers])
        failed, whole, total, squares, *counts = map(int, numbers)
        if failed:
            raise self.first_error(error)
        if 0 < whole < self.size:
            self.fail(
                "some ranks have hooks on the model and others do not: register them in all ranks"
            )
        if self.size * squares != total**2:
            found = ", ".join(map(str, self.host.gather(rows)))
            self.fail(f"the batches of the ranks have {found} rows: each rank must have as many")
        return counts

    def _sum(
        self, parameters: Sequence[Tensor], counts: list[int], loss: Tensor, early: EarlySums | None
    ) -> None:
        """Add up the loss, and the gradients of all parameters that any rank has used.

        Args:
            parameters: all of them.
            counts: how many ranks have a gradient of each; then, with `early`, how many had one.
            loss: that of this rank.
            early: sums from the backward pass.
        """
        gradients = []
        for p, count in zip(parameters, counts, strict=False):
            if count and p.grad is None:  # only other ranks have used it
                p.grad = Tensor(p.backend.xp.zeros_like(p._array), backend=p.backend)
            if count and p.grad is not None:
                gradients.append(p.grad._array)
        self.group(loss.backend).sum([*gradients, loss._array])
        if early is not None:
            taken = counts[len(parameters) :]
            early.give_back({p for p, count in zip(parameters, taken, strict=True) if count})

    def _early_sums(self, parameters: Sequence[Tensor], is_whole: bool) -> EarlySums | None:
        """Sums during the backward pass, in all ranks or in none of them."""
        backends = {p.backend for p in parameters} if self.overlaps else set()
        if len(backends) != 1:
            return None
        return EarlySums(self.host, self.group(*backends), parameters, is_whole)

    def _own_batches(self, trainer: Trainer, backward: Backward, fraction: Any) -> Backward:
        """``backward`` of a batch of this rank, which has a part of all targets."""
        backend = trainer.model.backend

        def own(x: Tensor, y: Tensor, weight: Any) -> Tensor:
            backend.set_row_offset(self.rank * (len(y) if y.ndim else 1))
            try:
                return backward(x, y, weight * fraction)
            finally:
                backend.set_row_offset(0)

        return own

    def _own_fraction(self, trainer: Trainer, batches: Batches, reason: str) -> Any:
        """The part of the targets of all ranks that this one has in its own batches."""
        count = self.together(lambda: _own_targets(trainer, batches, reason))
        if isinstance(count, Tensor):  # stays on the device
            xp = count.backend.xp
            counts = xp.zeros((self.size,), dtype=xp.float64)
            counts = xp.index_set(counts, self.rank, count.to("float64")._array)
            self.group(count.backend).sum([counts])
            by_rank = wrap_array(Tensor, counts, count.backend)
            return weights_of([by_rank[rank] for rank in range(self.size)])[self.rank]
        numbers = np.zeros(self.size)
        numbers[self.rank] = count
        self.host.sum([numbers])
        return weights_of(list(numbers))[self.rank]

    def _own_rows(self, trainer: Trainer, backward: Backward) -> Backward:
        """``backward`` of this rank's rows of a batch."""

        def own(x: Tensor, y: Tensor, weight: Any) -> Tensor:
            count = min(rows_of(x, y), self.size)
            if count <= 1:
                return backward(x, y, weight if self.rank == 0 else 0 * weight)
            if self.rank >= count:
                return backward(x[:1], y[:1], 0 * weight)
            part, fraction = divided(trainer.loss_fn, y, count)[self.rank]
            backend = trainer.model.backend
            backend.set_row_offset(part.start)
            try:
                return backward(x[part], y[part], weight * fraction)
            finally:
                backend.set_row_offset(0)

        return own

    def check(self, trainer: Trainer) -> None:
        """Compare weights and random numbers with those of rank 0.

        Weights that differ by rounding become those of rank 0: MPI does not promise that a sum has
        the same bits in all ranks.

        Raises:
            RankError: they differ by more.
        """
        states = self.host.gather((_checksum(trainer), random_state()))
        if all(state == states[0] for state in states):
            return
        bad = [n for n, (_, numbers) in enumerate(states) if numbers != states[0][1]]
        before = [np.array(trainer.model.backend.to_numpy(a)) for a in _arrays(trainer)]
        self.copy_first(trainer)
        after = [trainer.model.backend.to_numpy(a) for a in _arrays(trainer)]
        close = all(
            np.allclose(a, b, ROUNDING, ROUNDING) for a, b in zip(before, after, strict=True)
        )
        bad += [n for n, ok in enumerate(self.host.gather(close)) if not ok]
        if bad:
            self.fail(
                f"the weights or random numbers of rank {min(bad)} differ from those of rank 0"
                f" after step {trainer.step + 1}: does the model draw or change anything that"
                " depends on the rows of a rank?"
            )


def _backward(trainer: Trainer, count: int, early: EarlySums | None) -> Backward:
    """Adds the gradients of the next of `count` batches; those of the last one are sent early."""
    left = count

    def backward(x: Tensor, y: Tensor, weight: Any) -> Tensor:
        nonlocal left
        left -= 1
        loss_fn = trainer.loss_fn if left or early is None else early.watching(trainer.loss_fn)
        return accumulate_gradients(trainer.model, loss_fn, x, y, weight)

    return backward


def _own_targets(trainer: Trainer, batches: Batches, reason: str) -> Any:
    """The number of targets of own batches, if they can be computed one rank at a time."""
    if reason:
        raise ValueError(f"own_batches=True: {reason}, so every rank needs the whole batch")
    return sum(count_targets(trainer.loss_fn, y) for _, y in batches)


def _arrays(trainer: Trainer) -> list[Any]:
    tensors = [*trainer.model.state_dict().values(), *trainer.parameters()]
    return list({id(t._array): t._array for t in tensors}.values())


def _checksum(trainer: Trainer) -> int:
    """A number that differs if a weight does."""
    total = 0
    for array in _arrays(trainer):
        total = zlib.crc32(trainer.model.backend.to_numpy(array).tobytes(), total)
    return total
