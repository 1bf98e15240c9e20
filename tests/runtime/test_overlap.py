"""Sums of gradients that run beside the backward pass, in this process; MPI's in test_ranks.py."""

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event
from types import SimpleNamespace
from typing import Any
from weakref import ref

import numpy as np
import pytest
from fake_mpi import Comm
from tiny_training import make_trainer, steps, weights

from tinytorch import (
    SGD,
    Linear,
    Module,
    MSELoss,
    Sequential,
    Tensor,
    Trainer,
    enable_grad,
    manual_seed,
    nn,
)  # fmt: skip
from tinytorch.backends import groups
from tinytorch.backends.groups import MPIGroup
from tinytorch.runtime import overlap, ranks
from tinytorch.runtime.overlap import EarlySums
from tinytorch.runtime.ranks import Ranks


class Twins(MPIGroup):
    """A group whose other rank has the same gradients; notes the sizes of their sums."""

    def __init__(self) -> None:
        super().__init__(Comm(0, 2))
        self.early: list[int] = []
        self.after: list[int] = []
        self.agreements = 0
        self.differs_by = 0  # the other rank's checksum of its buckets

    def _sum(self, array: Any) -> None:
        if array.dtype != np.int64:
            self.after.append(array.size)
        array *= 2

    def _share(self, rows: Any) -> None:
        pass

    def start_beside(self, array: Any) -> Comm:
        if array.dtype == np.int64:
            self.agreements += 1
            array[1] = array[0] + self.differs_by
        else:
            self.early.append(array.size)
            array *= 2
        return self.comm


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Twins:
    monkeypatch.setattr(overlap, "BUCKET_BYTES", 3000)
    return Twins()


def joined(trainer: Trainer, group: MPIGroup, overlaps: bool = True) -> Trainer:
    trainer.ranks = Ranks(group)
    trainer.ranks.overlaps = overlaps
    return trainer


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of each step, how many buckets were sent before the end of the backward pass, and all."""
    found: list[tuple[int, int]] = []
    finish = EarlySums.finish

    def noting(sums: EarlySums, *error: Any) -> BaseException | None:
        found.append((sums._sent, len(sums._buckets)))
        return finish(sums, *error)

    monkeypatch.setattr(EarlySums, "finish", noting)
    return found


@pytest.mark.parametrize("each", [1, 2])
def test_results_are_those_of_sums_after_the_backward_pass(
    each: int, group: Twins, sent: list[tuple[int, int]]
) -> None:
    after, early = (make_trainer("numpy", False) for _ in range(2))
    expected = steps(joined(after, group, overlaps=False), 4, each=each)
    assert group.early == []
    group.after.clear()
    assert steps(joined(early, group), 4, each=each) == expected
    for name, array in weights(after).items():
        np.testing.assert_array_equal(weights(early)[name], array, err_msg=name)
    assert sent == [(10, 11)] * 4  # the last one has the embeddings
    assert sum(group.early) == 4 * early.model.num_parameters()
    assert group.after == [1] * 4  # the losses


class Tied(Module):
    """Uses the first layer last and the last layer first, and the third not at all."""

    def __init__(self) -> None:
        self.a, self.b, self.c = Linear(30, 30), Linear(30, 30), Linear(30, 30)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(self.b(self.a(x)))


def test_a_parameter_that_is_used_twice_is_sent_after_both(
    group: Twins, sent: list[tuple[int, int]]
) -> None:
    trainers = []
    x = Tensor(np.random.default_rng(0).random((4, 30)).astype("f4"))
    for overlaps in (False, True):
        model = Tied()
        for i, p in enumerate(model.parameters()):
            p._array[...] = np.cos(np.arange(p.size).reshape(p.shape) + i) / 9
        trainer = Trainer(model, SGD(model.parameters(), lr=0.1), MSELoss())
        trainers.append(joined(trainer, group, overlaps))
        for _ in range(2):
            trainer.accumulate([(x, x)])
        assert model.c.weight.grad is None
        trainer.update()
    for ours, theirs in zip(*(t.model.parameters() for t in trainers), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    # c's before a node has run, b's before the first use of a, whose own are final at the end.
    assert sent == [(4, 6), (4, 6)]


class Late(Module):
    """Runs a backward pass within the backward pass, whose nodes the walk does not see."""

    def __init__(self) -> None:
        self.first, self.last = Linear(30, 30), Linear(30, 30)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)

        def hook(gradient: Tensor) -> None:
            with enable_grad():
                (self.last.weight * 3.0).sum().backward()

        h.register_hook(hook)
        return self.last(h)


def test_gradients_that_come_after_their_bucket_are_added(group: Twins) -> None:
    gradients = []
    for overlaps in (False, True):
        model = Late()
        for p in model.parameters():
            p._array[...] = 0.01
        trainer = joined(
            Trainer(model, SGD(model.parameters(), lr=0.1), MSELoss()), group, overlaps
        )
        x = Tensor(np.ones((2, 30), np.float32))
        trainer.accumulate([(x, x)])
        gradients.append([p.grad.numpy() for p in model.parameters() if p.grad is not None])
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert len(gradients[0]) == 4


@pytest.mark.parametrize("differs_by", [0, 1])
def test_a_parameter_without_a_shape_before_the_first_step(group: Twins, differs_by: int) -> None:
    group.differs_by = differs_by
    x = Tensor(np.random.default_rng(0).random((4, 30)).astype("f4"))
    losses, parts = [], []
    for overlaps in (False, True):
        manual_seed(0)
        model = Sequential(nn.LazyLinear(30), Linear(30, 30), Linear(30, 30))
        trainer = Trainer(model, SGD(model.parameters(), lr=0.1), MSELoss())
        joined(trainer, group, overlaps)
        losses.append([trainer.train_step([(x, x)]).item() for _ in range(3)])
        parts.append(model.parameters())
    assert losses[0] == losses[1]
    for ours, theirs in zip(*parts, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    whole = sum(p.size for p in model.parameters())
    assert sum(group.early) == (0 if differs_by else 3 * whole - 900)  # in the first step without


class Keeping(Module):
    """Keeps a computed tensor, and with it a part of the graph."""

    def __init__(self) -> None:
        self.first, self.last = Linear(30, 30), Linear(30, 30)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        self.__dict__["kept"] = [*self.__dict__.get("kept", []), h]
        return self.last(h)


def keeping(group: Twins) -> tuple[Trainer, Tensor]:
    model = Keeping()
    x = Tensor(np.ones((2, 30), np.float32))
    return joined(Trainer(model, SGD(model.parameters(), lr=0.1), MSELoss()), group), x


@pytest.mark.parametrize("fails", [False, True])
def test_a_graph_that_is_kept_does_not_hold_the_sums(
    fails: bool, group: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Noted(EarlySums):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(ref(self))

    monkeypatch.setattr(ranks, "EarlySums", Noted)
    trainer, x = keeping(group)
    if fails:  # after the exchange, as if it were another rank's
        monkeypatch.setattr(Ranks, "_exchange", lambda *_: 1 / 0)
        with suppress(ZeroDivisionError):
            trainer.train_step([(x, x)])
    else:
        trainer.train_step([(x, x)])
    (sums,) = made
    assert trainer.model.kept[0]._node.hooks  # the graph is there
    assert sums() is None


def test_parameters_whose_hooks_were_removed_are_sent_once(group: Twins) -> None:
    trainer, x = keeping(group)
    for p in trainer.parameters():
        p.register_hook(lambda g: g).remove()
    trainer.train_step([(x, x)])
    assert sum(group.early) == trainer.model.num_parameters()
    assert group.after == [1]  # the loss


def test_a_trainer_can_be_pickled_after_a_step(group: Twins) -> None:
    group._beside = (i for i in ())  # as a communicator, no pickle can hold it
    group._buffer(1000, np.dtype("f4"))
    trainer, x = keeping(group)
    copy = pickle.loads(pickle.dumps(trainer))
    assert copy.ranks.host._beside is None
    assert len(copy.ranks.host._memory) == 0
    assert copy.train_step([(x, x)]).item() == trainer.train_step([(x, x)]).item()


def trained(*values: float, size: int = 500) -> list[Tensor]:
    """Parameters with gradients of these values, each a bucket."""
    parameters = [Tensor(np.zeros(size, np.float32), requires_grad=True) for _ in values]
    for p, value in zip(parameters, values, strict=True):
        p.grad = Tensor(np.full(size, value, np.float32))
    return parameters


def early(group: Twins, parameters: list[Tensor], is_whole: bool = False) -> EarlySums:
    return EarlySums(group, group, parameters, is_whole)


def summed(group: Twins, parameters: list[Tensor], is_whole: bool = False) -> EarlySums:
    sums = early(group, parameters, is_whole)
    assert sums.finish() is None
    return sums


def test_without_the_same_buckets_all_is_summed_after_the_backward_pass(group: Twins) -> None:
    after, early = (make_trainer("numpy", False) for _ in range(2))
    expected = steps(joined(after, group, overlaps=False), 2)
    of_each = group.after.copy()
    group.after.clear()
    group.differs_by = 1
    assert steps(joined(early, group), 2) == expected
    for name, array in weights(after).items():
        np.testing.assert_array_equal(weights(early)[name], array, err_msg=name)
    assert group.early == []
    assert group.after == of_each


def test_the_checksum_tells_which_parameters_are_trained(group: Twins) -> None:
    layouts = set()
    for frozen in (None, 0, 1, 2):
        parameters = trained(1, 1, 1)
        if frozen is not None:
            parameters[frozen].requires_grad = False
        layouts.add(int(summed(group, parameters)._layouts[0]))
    layouts.add(int(summed(group, trained(1, 1, 1, size=600))._layouts[0]))
    assert len(layouts) == 5
    assert 0 not in layouts


def test_a_rank_that_computes_whole_batches_keeps_its_gradients(group: Twins) -> None:
    parameters = trained(2, 3)
    assert summed(group, parameters, is_whole=True)._layouts[0] == 0
    assert group.early == []
    assert [p.grad.numpy()[0] for p in parameters if p.grad is not None] == [2, 3]


def test_every_rank_tells_its_buckets_also_without_several(group: Twins) -> None:
    (p,) = trained(2)
    assert summed(group, [p])._layouts[0] == 0
    assert group.early == []
    assert group.agreements == 1  # else the ranks with several would wait


def test_parameters_with_the_same_array_have_gradients_of_their_own(group: Twins) -> None:
    p, q = trained(2, 3)
    q._set_array(p._array)
    summed(group, [p, q]).give_back({p, q})
    assert p.grad is not None
    assert q.grad is not None
    assert (p.grad.numpy()[0], q.grad.numpy()[0]) == (4, 6)


def test_frozen_parameters_are_not_sent(group: Twins) -> None:
    summed(group, [Tensor(np.zeros(500)), *trained(1, 2)])
    assert group.early == [500, 500]


def test_sums_have_a_communicator_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noting(Comm):
        copies, sums = 0, 0

        def Dup(self) -> "Noting":  # noqa: N802
            self.copies += 1
            self.copy = Noting(self.rank, self.size)
            return self.copy

        def Iallreduce(self, where: Any, array: Any) -> "Noting":  # noqa: N802
            self.sums += 1
            return self

    mpi = SimpleNamespace(MPI=SimpleNamespace(IN_PLACE=None))
    monkeypatch.setitem(sys.modules, "mpi4py", mpi)
    comm = Noting(0, 2)
    group = MPIGroup(comm)
    for _ in range(3):
        group.finish_beside(group.start_beside(np.zeros(1)))
    assert (comm.copies, comm.sums, comm.copy.sums) == (1, 0, 3)


def test_a_slow_network_is_no_wait_for_others(
    group: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = Event()
    waits = 0

    @contextmanager
    def waiting() -> Iterator[None]:
        nonlocal waits
        waits += 1
        yield
        is_over.set()

    def finish_beside(request: Any) -> None:
        assert is_over.wait(5), "the sums count as a wait"

    monkeypatch.setattr(group, "waiting", waiting)
    monkeypatch.setattr(group, "finish_beside", finish_beside)
    summed(group, trained(1, 2))
    assert waits == 1  # for ranks that do not come, which are looked for in waits


def test_without_memory_for_the_sums_nothing_is_sent(
    group: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(bucket: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(overlap, "_zeros", fail)
    trainer = joined(make_trainer("numpy", False), group)
    assert np.isfinite(steps(trainer, 1)).all()
    assert group.early == []
    assert sum(group.after) == trainer.model.num_parameters() + 1  # the loss


def test_without_a_thread_the_sums_follow(group: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(groups, "start_new_thread", fail)
    trainer = joined(make_trainer("numpy", False), group)
    assert np.isfinite(steps(trainer, 1)).all()
    assert sum(group.early) == trainer.model.num_parameters()


def test_all_buckets_are_sent_also_if_one_cannot_be_filled(group: Twins) -> None:
    parameters = trained(1, 2, 3)
    sums = early(group, parameters)
    sums._buckets[1][0][1].flags.writeable = False
    assert isinstance(sums.finish(), ValueError)
    assert group.early == [500] * 3
    first = KeyError("the backward pass")
    assert early(group, parameters).finish(first) is first


def test_an_error_while_buckets_are_filled_is_shared(
    group: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = EarlySums._send

    def fail(sums: EarlySums) -> None:
        send(sums)
        if sums._sent == len(sums._buckets):  # not in the backward pass
            raise ZeroDivisionError("the last bucket")

    monkeypatch.setattr(EarlySums, "_send", fail)
    with pytest.raises(ZeroDivisionError, match="the last bucket") as caught:
        steps(joined(make_trainer("numpy", False), group), 1)
    assert group.is_shared(caught.value)


class Interrupted(list[Any]):
    """Its length is once asked for when Ctrl-C comes."""

    has_come = False

    def __len__(self) -> int:
        if not self.has_come:
            self.has_come = True
            raise KeyboardInterrupt
        return super().__len__()


def test_all_buckets_are_sent_also_if_ctrl_c_comes_between_two(group: Twins) -> None:
    sums = early(group, trained(1, 2, 3))
    sums._buckets = Interrupted(sums._buckets)
    assert isinstance(sums.finish(), KeyboardInterrupt)
    assert group.early == [500] * 3


def test_ctrl_c_while_the_sums_go_on_or_the_ranks_arrive(
    group: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each bucket is sent once, and each rank comes to one barrier, also if Ctrl-C ends a call."""
    barriers = 0
    go_on, wait = groups.ThreadSums.go_on, group.wait

    class Counting(Comm):
        def Ibarrier(self) -> Comm:  # noqa: N802
            nonlocal barriers
            barriers += 1
            return self

    def interrupted(function: Any) -> Any:
        calls = iter(range(10))

        def call(*arguments: Any) -> Any:
            if next(calls) == 1:
                raise KeyboardInterrupt
            return function(*arguments)

        return call

    group.start_beside(np.ones(2, np.int64))  # the first barrier
    group.comm = Counting(0, 2)
    monkeypatch.setattr(groups.ThreadSums, "go_on", interrupted(go_on))
    sums = early(group, trained(1, 2, 3))
    assert isinstance(sums.finish(), KeyboardInterrupt)
    monkeypatch.setattr(groups.ThreadSums, "go_on", go_on)
    monkeypatch.setattr(group, "wait", interrupted(wait))
    early(group, trained(1)).finish()  # of one bucket
    assert isinstance(early(group, trained(1, 2, 3)).finish(), KeyboardInterrupt)
    assert group.early == [500] * 6
    assert barriers == 3


def test_the_others_learn_of_ctrl_c_during_a_wait_for_sums(
    group: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = Event()

    class Interrupting(Event):
        def wait(self, timeout: float | None = None) -> bool:
            if not goes_on.is_set():
                goes_on.set()
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(groups, "Event", Interrupting)
    monkeypatch.setattr(group, "finish_beside", lambda request: goes_on.wait(5))
    trainer, x = keeping(group)
    with pytest.raises(KeyboardInterrupt) as caught:
        trainer.train_step([(x, x)])
    assert group.is_shared(caught.value)
    assert sum(group.early) == trainer.model.num_parameters()


def test_an_error_before_the_first_batch_is_shared(
    group: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ranks, "_own_rows", lambda *_: 1 / 0)
    trainer, x = keeping(group)
    with pytest.raises(ZeroDivisionError) as caught:
        trainer.train_step([(x, x)])
    assert group.is_shared(caught.value)
    assert sum(group.early) == trainer.model.num_parameters()


@pytest.mark.parametrize(("places", "levels"), [
    (["pc01", "pc01"], [3, 3]), (["pc01", "pc02"], [3, 3]),
    (["pc01", "pc02"], [3, 2]), (["pc01", "pc02"], [2, 3]),
])  # fmt: skip
def test_sums_run_beside_the_backward_pass_on_several_machines_with_threads(
    places: list[str], levels: list[int], group: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    mpi = SimpleNamespace(THREAD_MULTIPLE=3, Query_thread=lambda: levels[0])
    monkeypatch.setitem(sys.modules, "mpi4py", SimpleNamespace(MPI=mpi))
    group.place = places[0]

    def gather(value: Any) -> list[Any]:
        if value == group.place:
            return places
        return [value, levels[1] == 3 if isinstance(value, bool) else value]

    monkeypatch.setattr(group, "gather", gather)
    trainer = make_trainer("numpy", False)
    trainer.ranks = Ranks(group)
    steps(trainer, 1)
    assert bool(group.early) == (len(set(places)) == 2 and levels == [3, 3])
    group.early.clear()
    monkeypatch.setattr(overlap, "BUCKET_BYTES", 10**6)
    steps(trainer, 1)  # a single bucket is complete at the end only
    assert group.early == []


def test_an_error_of_a_sum_is_raised(group: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(request: Any) -> None:
        raise OSError("the network is down")

    monkeypatch.setattr(group, "finish_beside", fail)
    trainer = joined(make_trainer("numpy", False), group)
    before = weights(trainer)
    with pytest.raises(OSError, match="the network is down"):
        steps(trainer, 1)
    for name, array in weights(trainer).items():
        np.testing.assert_array_equal(array, before[name])


def test_an_error_of_a_sum_does_not_hide_that_of_this_rank(
    group: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: Any) -> None:
        raise OSError("the network is down")

    monkeypatch.setattr(group, "finish_beside", fail)
    own = KeyError("the backward pass")
    with pytest.raises(OSError, match="the network is down") as caught:
        early(group, trained(1, 2)).finish(own)
    assert caught.value.__cause__ is own


def test_an_error_of_the_model_ends_all_sums(group: Twins) -> None:
    trainer = joined(make_trainer("numpy", False), group)
    with pytest.raises(IndexError):
        trainer.train_step([(Tensor(np.full((2, 8), 99)), Tensor(np.zeros((2, 8), np.int64)))])
    assert sum(group.early) == trainer.model.num_parameters()  # the other ranks wait for them
    assert all(p.grad is None for p in trainer.parameters())
    assert np.isfinite(steps(trainer, 1)).all()
