"""An optimizer that is divided among ranks: each updates some of the parameters, and keeps their
state alone.

The gradients are those of all rows in every rank already, so nothing else of a step changes: after
the update each rank sends its parameters to the others. They are divided whole, because a rule such
as Muon's reads a matrix as a whole.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from ..backends.groups import Group, MPIGroup
from ..optimizers import Muon, Optimizer
from ..tensor import Tensor

ALIGNMENT = 256  # bytes, as those of an allocator: kernels read several numbers at once
# A step of Muon multiplies matrices 15 times, which takes longer than to send the result; a step of
# the other optimizers passes once over the numbers.
COSTLY = (Muon,)


class Shards(NamedTuple):
    """Parameters of one backend and dtype, in an array with a row for each rank.

    Attributes:
        rows: the array (size, N).
        places: the parameters, with their parts of the rows.
        group: the ranks.
    """

    rows: Any
    places: list[tuple[Tensor, Any]]
    group: Group


class ShardedUpdate:
    """What takes the place of the method `update` of an optimizer, in one of several ranks.

    Args:
        optimizer: the optimizer, with an update rule.
        host: the ranks, which all have such an optimizer.
        group_of: returns the group of a backend's arrays.

    Attributes:
        owners: the rank that updates each parameter.

    Source: S. Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter
    Models" (2020), its first stage.
    """

    def __init__(self, optimizer: Optimizer, host: MPIGroup, group_of: Any) -> None:
        self._optimizer, self._host, self._group_of = optimizer, host, group_of
        self.owners: list[int] = []
        self._parameters: list[Tensor] = []
        self._started: set[Tensor] = set()  # parameters that have had an update
        self._shards: list[Shards] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> "ShardedUpdate":
        """The update of a copied optimizer, whose arrays are allocated in its next step."""
        new = ShardedUpdate(deepcopy(self._optimizer, memo), self._host, self._group_of)
        new.owners = list(self.owners)
        new._parameters = deepcopy(self._parameters, memo)
        new._started = deepcopy(self._started, memo)
        return new

    def __reduce__(self) -> Any:
        raise TypeError(
            "an optimizer that is divided among ranks cannot be pickled, because this rank has the"
            " state of a part alone: use save_checkpoint of the trainer"
        )

    def __call__(self, step: Any, *rates: Any) -> list[int]:
        """As `Optimizer.update`, with the same result in all ranks."""
        self.prepare()
        parameters = self._optimizer.parameters()
        updated = [i for i, p in enumerate(parameters) if p.grad is not None]
        self._count_from_first_update(updated)
        others = [parameters[i] for i in updated if self.owners[i] != self._host.rank]
        gradients = [p.grad for p in others]
        try:
            for parameter in others:
                parameter.grad = None
            type(self._optimizer).update(self._optimizer, step, *rates)
        finally:
            for parameter, gradient in zip(others, gradients, strict=True):
                parameter.grad = gradient
        for shards in self._shards:
            shards.group.share(shards.rows)
        return updated

    def prepare(self) -> None:
        """Divide the parameters if they are others, and move those elsewhere to their place.

        State of the parameters of other ranks, as from a checkpoint, is dropped.
        """
        parameters = self._optimizer.parameters()
        is_known = list(map(id, parameters)) == list(map(id, self._parameters))
        if not (is_known and self._shards):
            known = dict(zip(self._parameters, self.owners, strict=True))
            before = [known.get(p, -1) for p in parameters]
            self.owners = owners_of([p.size for p in parameters], self._host.size, before)
            self._parameters = list(parameters)
            self._shards = self._allocate(parameters)
        for shards in self._shards:
            for parameter, place in shards.places:
                if parameter._array is not place:
                    place[...] = parameter._array
                    parameter._set_array(place)
        self.forget()

    def forget(self) -> None:
        """Drop the state of the parameters of other ranks."""
        self._started.update(p for p, state in self._optimizer.state.items() if state)
        for parameter, owner in zip(self._optimizer.parameters(), self.owners, strict=True):
            if owner != self._host.rank:
                self._optimizer.state.pop(parameter, None)

    def collect(self) -> None:
        """Give rank 0 the state of all parameters, on the host; all ranks call this."""
        if not self.owners:  # no step yet: each rank has all state
            return
        state = self._optimizer.state
        for parameter, owner in zip(self._optimizer.parameters(), self.owners, strict=True):
            own = {name: tensor.numpy() for name, tensor in state.get(parameter, {}).items()}
            whole = self._host.send_to_first(own, owner)
            if owner and whole:
                state[parameter] = {n: Tensor(a, backend="numpy") for n, a in whole.items()}

    def _count_from_first_update(self, updated: Sequence[int]) -> None:
        """Note in all ranks, as `Optimizer` does for own parameters, which steps were missed."""
        optimizer = self._optimizer
        groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        for index in updated:
            parameter = self._parameters[index]
            if parameter in self._started:
                continue
            self._started.add(parameter)
            if optimizer.steps and optimizer.state_names_of(groups[id(parameter)]):
                optimizer.missed[index] = optimizer.steps

    def _allocate(self, parameters: Sequence[Tensor]) -> list[Shards]:
        """Arrays for the parameters."""
        by_kind: dict[tuple[Any, Any], list[tuple[Tensor, int]]] = {}
        for parameter, owner in zip(parameters, self.owners, strict=True):
            kind = parameter.backend, parameter._array.dtype
            by_kind.setdefault(kind, []).append((parameter, owner))
        return [self._shards_of(b, dtype, owned) for (b, dtype), owned in by_kind.items()]

    def _shards_of(self, backend: Any, dtype: Any, owned: list[tuple[Tensor, int]]) -> Shards:
        """An array for parameters with their owners."""
        ends, starts = [0] * self._host.size, []
        for parameter, owner in owned:
            starts.append(ends[owner])
            ends[owner] += padded(parameter.size, np.dtype(dtype).itemsize)
        rows = backend.xp.zeros((len(ends), max(ends)), dtype=dtype)
        places = [
            (p, rows[owner, start : start + p.size].reshape(p.shape))
            for (p, owner), start in zip(owned, starts, strict=True)
        ]
        return Shards(rows, places, self._group_of(backend))


def padded(size: int, itemsize: int) -> int:
    """The size of a parameter in its row, whose next one begins at a multiple of `ALIGNMENT`."""
    step = max(1, ALIGNMENT // itemsize)
    return -(-size // step) * step


def owners_of(sizes: Sequence[int], count: int, before: Sequence[int] = ()) -> list[int]:
    """Ranks that get about the same sum of sizes: the largest one goes to whoever has least so far.

    Args:
        sizes: of the parameters.
        count: number of ranks.
        before: the ranks of the first parameters, which are kept, or -1.

    >>> owners_of([5, 4, 3, 3], 2)
    [0, 1, 1, 0]
    """
    owners = [*before, *[-1] * (len(sizes) - len(before))]
    loads = [sum(s for s, o in zip(sizes, owners, strict=True) if o == r) for r in range(count)]
    new = [i for i, owner in enumerate(owners) if owner < 0]
    for index in sorted(new, key=lambda i: -sizes[i]):
        owners[index] = loads.index(min(loads))
        loads[owners[index]] += sizes[index]
    return owners


def can_be_sharded(optimizer: Optimizer) -> bool:
    """Whether an optimizer updates each parameter by a rule of its own gradient and state."""
    methods = ("step", "update")
    return hasattr(optimizer, "rule") and all(
        getattr(type(optimizer), name) is getattr(Optimizer, name) for name in methods
    )


def updates_of(optimizers: Sequence[Optimizer]) -> list[ShardedUpdate]:
    """The updates of those optimizers that are divided."""
    updates = [vars(optimizer).get("update") for optimizer in optimizers]
    return [update for update in updates if isinstance(update, ShardedUpdate)]


def shard_optimizers(
    optimizers: Sequence[Optimizer], host: MPIGroup, group_of: Any, choice: bool | None
) -> list[ShardedUpdate]:
    """Divide optimizers among ranks; one that an earlier trainer has divided stays as it is.

    Args:
        optimizers: those of a trainer.
        host: the ranks.
        group_of: returns the group of a backend's arrays.
        choice: whether to divide them; None for those in `COSTLY`.
    """
    for optimizer in optimizers:
        wanted = isinstance(optimizer, COSTLY) if choice is None else choice
        if wanted and can_be_sharded(optimizer) and not updates_of([optimizer]):
            optimizer.update = ShardedUpdate(optimizer, host, group_of)  # type: ignore[method-assign]
    return updates_of(optimizers)
