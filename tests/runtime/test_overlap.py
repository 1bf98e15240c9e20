"""Sums of gradients that run beside the backward pass, in this process; MPI's in test_ranks.py."""

from typing import Any

import numpy as np
import pytest
from fake_mpi import Comm
from tiny_training import make_trainer, steps, weights

from tinytorch import SGD, Linear, Module, MSELoss, Tensor, Trainer, enable_grad
from tinytorch.backends.groups import MPIGroup
from tinytorch.runtime import overlap
from tinytorch.runtime.overlap import EarlySums
from tinytorch.runtime.ranks import Ranks


class Twins(MPIGroup):
    """A group whose other rank has the same gradients; notes the sizes of their sums."""

    def __init__(self) -> None:
        super().__init__(Comm(0, 2))
        self.early: list[int] = []
        self.after: list[int] = []
        self.others_are_whole = False

    def _sum(self, array: Any) -> None:
        if array.dtype != np.int64:
            self.after.append(array.size)
        array *= 2

    def _share(self, rows: Any) -> None:
        pass

    def sum_beside(self, array: Any) -> None:
        if array.dtype == np.int64:
            array += self.others_are_whole
            return
        self.early.append(array.size)
        array *= 2


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

    def noting(sums: EarlySums) -> None:
        found.append((len(sums._sums), len(sums._buckets)))
        finish(sums)

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


def test_nothing_is_summed_if_another_rank_computes_whole_batches(group: Twins) -> None:
    trainer = joined(make_trainer("numpy", False), group)
    group.others_are_whole = True
    EarlySums(group, trainer.parameters(), is_whole=False).finish()
    assert group.early == []


def test_a_rank_that_computes_whole_batches_keeps_its_gradients(group: Twins) -> None:
    p = Tensor([1.0], requires_grad=True)
    p.grad = Tensor([2.0])
    EarlySums(group, [p], is_whole=True).finish()
    assert group.early == []
    assert p.grad.item() == 2


def test_parameters_with_the_same_array_have_gradients_of_their_own(group: Twins) -> None:
    p, q = (Tensor([1.0], requires_grad=True) for _ in range(2))
    q._set_array(p._array)
    p.grad, q.grad = Tensor([2.0]), Tensor([3.0])
    sums = EarlySums(group, [p, q], is_whole=False)
    sums.finish()
    sums.give_back({p, q})
    assert (p.grad.item(), q.grad.item()) == (4, 6)


def test_frozen_parameters_are_not_sent(group: Twins) -> None:
    EarlySums(group, [Tensor([1.0, 2.0]), Tensor([3.0], requires_grad=True)], False).finish()
    assert group.early == [1]


@pytest.mark.parametrize("places", [["pc01", "pc01"], ["pc01", "pc02"]])
def test_sums_run_beside_the_backward_pass_on_several_machines(
    places: list[str], group: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    group.place = places[0]
    monkeypatch.setattr(
        group, "gather", lambda value: places if value == group.place else [value] * 2
    )
    trainer = make_trainer("numpy", False)
    trainer.ranks = Ranks(group)
    steps(trainer, 1)
    assert bool(group.early) == (len(set(places)) == 2)
    group.early.clear()
    monkeypatch.setattr(overlap, "BUCKET_BYTES", 10**6)
    steps(trainer, 1)  # a single bucket is complete at the end only
    assert group.early == []


def test_an_error_of_a_sum_is_raised(group: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(array: Any) -> None:
        raise OSError("the network is down")

    monkeypatch.setattr(group, "sum_beside", fail)
    trainer = joined(make_trainer("numpy", False), group)
    before = weights(trainer)
    with pytest.raises(OSError, match="the network is down"):
        steps(trainer, 1)
    for name, array in weights(trainer).items():
        np.testing.assert_array_equal(array, before[name])


def test_an_error_of_the_model_ends_all_sums(group: Twins) -> None:
    trainer = joined(make_trainer("numpy", False), group)
    with pytest.raises(IndexError):
        trainer.train_step([(Tensor(np.full((2, 8), 99)), Tensor(np.zeros((2, 8), np.int64)))])
    assert sum(group.early) == trainer.model.num_parameters()  # the other ranks wait for them
    assert all(p.grad is None for p in trainer.parameters())
    assert np.isfinite(steps(trainer, 1)).all()
