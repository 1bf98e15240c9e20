"""Checks of ranks that run under mpiexec, all in one start; rank 0 prints their results as JSON."""

import json
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from tiny_training import IDS, make_trainer, steps, weights

import tinytorch
from tinytorch import (
    SGD,
    CrossEntropyLoss,
    DataLoader,
    Linear,
    Module,
    MSELoss,
    Sequential,
    Tensor,
    TokenDataset,
    Trainer,
    cat,
)  # fmt: skip
from tinytorch.backends.groups import MPIGroup
from tinytorch.runtime import overlap
from tinytorch.runtime.agreement import RankError
from tinytorch.runtime.ranks import Ranks
from tinytorch.runtime.trainer import make_ranks
from tinytorch.utils.data import DistributedSampler

GROUP = MPIGroup(MPI.COMM_WORLD)
RANK = GROUP.rank


def difference(ours: Trainer, theirs: Trainer) -> float:
    a, b = weights(ours), weights(theirs)
    return max(float(abs(a[name] - b[name]).max()) for name in a)


def compared(
    blocks: int,
    each: int,
    count: int,
    backend: str = "numpy",
    shard: bool | None = None,
    overlaps: bool = False,
) -> dict[str, Any]:
    """Training by all ranks next to that of one process, with dropout."""
    alone, ours = make_trainer("numpy", False), make_trainer(backend, backend == "cupy")
    ours.shard_optimizers = shard
    expected = steps(alone, count, blocks, each)
    if RANK:  # the first step begins with the weights of rank 0
        ours.parameters()[0]._array[...] += 1
    ours.ranks = Ranks(GROUP)
    ours.ranks.overlaps = overlaps
    actual = steps(ours, count, blocks, each)
    losses = max(abs(a - b) for a, b in zip(expected, actual, strict=True))
    learned = expected[0] - expected[-1]
    kept = [sum(p in o.state for p in o.parameters()) for o in ours.optimizers]
    return {
        "losses": losses, "weights": difference(alone, ours), "learned": learned,
        "kept": GROUP.gather(kept), "all": [len(o.parameters()) for o in ours.optimizers],
    }  # fmt: skip


def owned(backend: str = "numpy") -> dict[str, Any]:
    """Each rank loads its rows alone, of which some targets are ignored; then one has too few."""
    alone, ours = make_trainer("numpy", False), make_trainer(backend, backend == "cupy")
    ours.ranks = Ranks(GROUP, own_batches=True)
    ours.ranks.overlaps = True
    data = TokenDataset(IDS, 8)
    parts = []
    for rank in range(GROUP.size):
        sampler = DistributedSampler(data, GROUP.size, rank, seed=3)
        part = list(DataLoader(data, 2, sampler=sampler))[:12]
        parts.append([(x, ignored(y, 3 * rank)) for x, y in part])
    whole = [
        tuple(cat(pair) for pair in zip(*batches, strict=True))
        for batches in zip(*parts, strict=True)
    ]
    own = [[t.to(backend) for t in batch] for batch in parts[RANK]]
    tinytorch.manual_seed(7)
    expected = [alone.train_step(whole[i : i + 2]).item() for i in range(0, 12, 2)]
    tinytorch.manual_seed(7)
    actual = [ours.train_step(own[i : i + 2]).item() for i in range(0, 12, 2)]
    validation = abs(alone.evaluate(whole) - ours.evaluate(own))
    tinytorch.manual_seed(8)
    epoch = alone.train_epoch(whole)
    tinytorch.manual_seed(8)
    epochs = GROUP.gather(abs(epoch - ours.train_epoch(own)))
    hook = ours.model.register_forward_hook(lambda *_: None) if GROUP.size == RANK + 1 else None
    try:
        ours.train_step(own[:1])
        hooked = ""
    except RankError as error:
        hooked = str(error)
    if hook is not None:
        hook.remove()
    try:
        ours.train_step([(x[: 2 - RANK % 2], y[: 2 - RANK % 2]) for x, y in own[:1]])
        message = ""
    except RankError as error:
        message = str(error)
    return {
        "losses": max(abs(a - b) for a, b in zip(expected, actual, strict=True)),
        "weights": difference(alone, ours), "learned": expected[0] - expected[-1],
        "validation": validation, "messages": GROUP.gather(message), "epoch": max(epochs),
        "hooked": GROUP.gather(hooked),
    }  # fmt: skip


def ignored(y: Tensor, count: int) -> Tensor:
    """Targets, the first ones of row 1 ignored."""
    array = y.numpy().copy()
    array[1, :count] = -100
    return Tensor(array)


def resumed() -> dict[str, Any]:
    """A checkpoint of divided optimizers is whole: all ranks go on with it, or one process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(GROUP.first(folder)) / "checkpoint"
        first = make_trainer("numpy", False)
        first.ranks, first.shard_optimizers = make_ranks(GROUP), True
        steps(first, 3)
        first.save_checkpoint(path)
        GROUP.barrier()
        alone, ours = make_trainer("numpy", False), make_trainer("numpy", False)
        ours.ranks, ours.shard_optimizers = make_ranks(GROUP), True
        for trainer in (alone, ours):
            trainer.load_checkpoint(path)
        GROUP.barrier()  # before the folder of rank 0 is removed
    whole = make_trainer("numpy", False)
    steps(whole, 3)
    same = [a.keys() == b.keys() for a, b in zip(states(whole), states(alone), strict=True)]
    before = max(
        float(abs(a - b[index][name]).max())
        for own, b in zip(states(whole), states(alone), strict=True)
        for index, values in own.items() for name, a in values.items()
    )  # fmt: skip
    for trainer in (whole, alone, ours):
        steps(trainer, 3)
    return {
        "same": same, "states": before,
        "weights": max(difference(whole, alone), difference(whole, ours)),
    }  # fmt: skip


def states(trainer: Trainer) -> list[dict[int, dict[str, Any]]]:
    """The state of each optimizer as in a checkpoint, on the host."""
    return [
        {index: {name: tensor.numpy() for name, tensor in values.items()}
         for index, values in optimizer.state_dict()["state"].items()}
        for optimizer in trainer.optimizers
    ]  # fmt: skip


class Gate(Module):
    """A model of which each row uses one of two layers; the second is used by rank 1 alone."""

    def __init__(self) -> None:
        self.first, self.second, self.third = Linear(2, 3), Linear(2, 3), Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return (self.second if float(x.numpy()[0, 0]) > 0 else self.first)(x)


def unused() -> dict[str, Any]:
    """Parameters that one rank uses get its gradients in all, and those that none uses get none."""
    tinytorch.manual_seed(1)
    model = Gate()
    trainer = Trainer(model, SGD(model.parameters(), lr=0.1), CrossEntropyLoss(), group=GROUP)
    before = [p.numpy().copy() for p in model.parameters()]
    rows = np.float32([[-1, 1]] * (GROUP.size - 1) + [[1, 1]])
    trainer.train_step([(Tensor(rows), Tensor(np.zeros(len(rows), np.int64)))])
    moved = [bool((p.numpy() != b).any()) for p, b in zip(model.parameters(), before, strict=True)]
    return {"moved": GROUP.gather(moved)}


def earlier() -> dict[str, Any]:
    """Gradients from before a step are in all ranks, but count once."""
    batch = Tensor(np.ones((6, 2), np.float32)), Tensor(np.zeros(6, np.int64))
    biases = []
    for group in (None, GROUP):
        tinytorch.manual_seed(1)
        model = Linear(2, 3)
        trainer = Trainer(model, SGD(model.parameters(), lr=1.0), CrossEntropyLoss(), group=group)
        model.bias.grad = Tensor([10.0, 0.0, 0.0])
        trainer.train_step([batch])
        biases.append(model.bias.numpy())
    return {"difference": float(abs(biases[0] - biases[1]).max()), "moved": float(biases[0][0])}


def frozen() -> dict[str, Any]:
    """Sums of gradients if each rank has frozen another layer; then if one has a single bucket."""
    x = Tensor(np.random.default_rng(0).random((6, 30)).astype("f4"))
    differences = []
    for numbers in ([RANK], [] if RANK == 0 else range(1, 4)):
        sums = []
        for overlaps in (False, True):
            tinytorch.manual_seed(0)
            model = Sequential(*[Linear(30, 30, bias=False) for _ in range(4)])
            trainer = Trainer(model, SGD(model.parameters(), lr=1.0), MSELoss(), group=GROUP)
            trainer.ranks.overlaps = overlaps  # type: ignore[union-attr]
            for number in numbers:
                list(model.parameters())[number].requires_grad = False
            trainer.accumulate([(x, x)])
            sums.append([p.grad.numpy() for p in model.parameters() if p.grad is not None])
        differences += [float(abs(a - b).max()) for a, b in zip(*sums, strict=True)]
    return {"differences": differences}


def copied() -> dict[str, Any]:
    """A copy of a trainer whose optimizers are divided trains as it does, and alone."""
    ours = make_trainer("numpy", False)
    ours.ranks, ours.shard_optimizers = make_ranks(GROUP), True
    steps(ours, 2)
    before, copy = weights(ours), deepcopy(ours)
    losses = steps(copy, 2)
    same = all(np.array_equal(before[name], array) for name, array in weights(ours).items())
    kept = [len(o.state) for o in copy.optimizers]
    return {
        "same": same, "losses": losses == steps(ours, 2), "weights": difference(ours, copy),
        "kept": GROUP.gather(kept), "all": [len(o.parameters()) for o in ours.optimizers],
    }  # fmt: skip


class Failing(Module):
    def __init__(self, bad: int) -> None:
        self.bad, self.layer = bad, Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.bad == RANK:
            raise ZeroDivisionError(f"rows of rank {RANK}")
        return self.layer(x)


def failing(overlaps: bool) -> dict[str, Any]:
    """An error in the last rank is raised in all, nothing has changed, and training goes on."""
    model = Failing(GROUP.size - 1)
    trainer = Trainer(model, SGD(model.parameters(), lr=0.1), CrossEntropyLoss(), group=GROUP)
    assert trainer.ranks is not None
    trainer.ranks.overlaps = overlaps
    overlap.BUCKET_BYTES = 20  # the layer has more
    batch = Tensor(np.ones((6, 2), np.float32)), Tensor(np.zeros(6, np.int64))
    before = model.layer.weight.numpy().copy()
    try:
        trainer.train_step([batch])
        caught = ""
    except ZeroDivisionError as error:
        caught = str(error)
    same = bool((model.layer.weight.numpy() == GROUP.first(before)).all())
    model.bad = -1
    hook = model.register_forward_hook(lambda *_: None) if RANK else None
    try:
        trainer.train_step([batch])
        hooked = ""
    except RankError as error:
        hooked = str(error)
    if hook is not None:
        hook.remove()
    loss = trainer.train_step([batch]).item()
    return {
        "caught": GROUP.gather(caught), "same": GROUP.gather(same), "loss": loss,
        "hooked": GROUP.gather(hooked),
    }  # fmt: skip


def checked() -> dict[str, Any]:
    """Weights that have drifted by rounding become those of rank 0; by more is an error."""
    trainer = make_trainer("numpy", False)
    trainer.ranks = ranks = Ranks(GROUP)
    ranks.copy_first(trainer)
    ranks.check(trainer)
    array = trainer.parameters()[0]._array
    array[...] += 1e-6 * RANK
    ranks.check(trainer)
    repaired = all(np.array_equal(a, array) for a in GROUP.gather(array))
    tinytorch.manual_seed(RANK)
    messages = []

    def drift() -> None:
        array[...] += RANK == 1
        ranks.check(trainer)

    for action in (
        lambda: ranks.check(trainer), drift, lambda: ranks.agree({"texts": RANK // 2})
    ):  # fmt: skip
        try:
            action()
            messages.append("")
        except RankError as error:
            messages.append(str(error))
    return {"repaired": repaired, "messages": messages}


def validated() -> dict[str, Any]:
    """The batches of an evaluation are divided; there are fewer than ranks in the second one."""
    trainer = make_trainer("numpy", False)
    rng = np.random.default_rng(0)
    batches = [[Tensor(rng.integers(0, 11, (rows, 8))) for _ in range(2)] for rows in (3, 1, 4, 2)]
    found = []
    for part in (batches, batches[:1]):
        trainer.ranks = None
        alone = trainer.evaluate(part)
        trainer.ranks = Ranks(GROUP)
        found.append(abs(alone - trainer.evaluate(part)))
    return {"difference": max(found)}


def captured() -> dict[str, Any]:
    """NCCL on the fake CuPy, with a device for each rank: eager, captured and replayed steps."""
    from cupy.cuda import runtime

    runtime.capabilities = ["90"] * GROUP.size
    runtime.setDevice(RANK)
    from cupy_backends.cuda.libs.cublas import Library
    from cupyx import distributed

    from tinytorch import backends

    backends.get("cupy")
    from tinytorch.backends.cupy import cublas

    library = Library()
    cublas._handles, cublas._library = cublas._Handles(), lambda: library  # type: ignore[assignment]
    after = compared(3, 1, 4, "cupy", shard=True)
    distributed.calls.clear()
    early = compared(3, 1, 4, "cupy", shard=True, overlaps=True)
    sums = [call for call in distributed.calls if call[0] != "broadcast"]  # at the start
    again = owned("cupy")
    worse = {key: max(after[key], early[key]) for key in ("losses", "weights")}
    return {
        **early,
        **worse,
        "owned": again,
        "calls": GROUP.gather([call[:2] for call in sums]),
        "captured": [call[3] for call in sums],
        "streams": [call[2] for call in sums],
    }


def main() -> None:
    overlap.BUCKET_BYTES = 3000
    results = {
        "divided": compared(5, 2, 50),
        "too many": compared(GROUP.size - 1, 1, 4, shard=True),
        "resumed": resumed(),
        "owned": owned(),
        "unused": unused(),
        "earlier": earlier(),
        "frozen": frozen(),
        "copied": copied(),
        "early": compared(5, 2, 10, overlaps=True),
        "checked": checked(),
        "validated": validated(),
        "failing": failing(overlaps=False),
        "failing early": failing(overlaps=True),
    }
    if "cupy" in sys.argv:
        results["captured"] = captured()
    if RANK == 0:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
