"""Optimizers that are divided among ranks, in this process; under mpiexec see test_ranks.py."""

from typing import Any

import numpy as np
import pytest
from fake_mpi import Comm

from tinytorch import SGD, AdamW, Linear, MSELoss, Muon, Parameter, Tensor
from tinytorch.backends.groups import MPIGroup
from tinytorch.runtime.graphed import _why_eager
from tinytorch.runtime.sharding import ShardedUpdate, owners_of, shard_optimizers
from tinytorch.runtime.trainer import Trainer
from tinytorch.tinygpt.presets import PRESETS, build_model, build_trainer


class Group(MPIGroup):
    """One of several ranks; `share` keeps what it sends, and brings `brought` from the others."""

    brought = 7.0

    def _share(self, rows: np.ndarray) -> None:
        self.sent = rows[self.rank].copy()
        rows[np.arange(self.size) != self.rank] = self.brought


SHAPES = [(3, 4), (5,), (2, 2), (6, 3), (1,)]


def sharded(rank: int, size: int, optimizer: Any = AdamW) -> tuple[Any, ShardedUpdate, Group]:
    """An optimizer of parameters of some shapes with gradients, divided among ranks."""
    rng = np.random.default_rng(0)
    own = optimizer([Parameter(rng.random(shape, np.float32)) for shape in SHAPES], lr=0.1)
    give_gradients(own)
    group = Group(Comm(rank, size))
    (update,) = shard_optimizers([own], group, lambda backend: group, True)
    return own, update, group


def give_gradients(optimizer: Any) -> None:
    for p in optimizer.parameters():
        p.grad = Tensor(np.ones(p.shape, np.float32))


def test_each_parameter_is_updated_by_one_rank_and_sent_to_the_others() -> None:
    whole = AdamW([p.detach().clone() for p in sharded(0, 2)[0].parameters()], lr=0.1)
    give_gradients(whole)
    whole.step()
    updated: list[int] = []
    for rank in range(3):
        own, update, group = sharded(rank, 3)
        own.step()
        mine = [i for i, owner in enumerate(update.owners) if owner == rank]
        for i, (p, q) in enumerate(zip(own.parameters(), whole.parameters(), strict=True)):
            expected = q.numpy() if i in mine else np.full(p.shape, group.brought)
            np.testing.assert_allclose(p.numpy(), expected, rtol=1e-6)
            assert (p in own.state) == (i in mine)
            assert p.grad is not None
        numbers = np.concatenate([whole.parameters()[i].numpy().ravel() for i in mine])
        assert set(numbers) <= set(group.sent)
        updated += mine
        assert (own.steps, own.missed) == (1, {})
    assert sorted(updated) == list(range(len(SHAPES)))


def test_parameters_without_a_gradient_are_counted_as_in_one_process() -> None:
    own, update, _ = sharded(1, 2)
    for i in (0, 1):
        own.parameters()[i].zero_grad()
    own.step()
    assert own.missed == {0: 1, 1: 1}
    assert [i for i, p in enumerate(own.parameters()) if p in own.state] == [
        i for i, owner in enumerate(update.owners) if owner == 1 and i > 1
    ]


def test_gradients_come_back_after_an_error() -> None:
    own, update, _ = sharded(0, 2)
    update.prepare()
    del own.param_groups[0]["betas"]
    with pytest.raises(TypeError, match="betas"):
        own.step()
    assert all(p.grad is not None for p in own.parameters())


def test_new_parameters_are_divided_and_the_others_stay_where_they_are() -> None:
    own, update, _ = sharded(0, 2)
    own.step()
    before, values = list(update.owners), [p.numpy().copy() for p in own.parameters()]
    own.add_param_group({"params": [Parameter(np.ones((9, 9), np.float32))]})
    update.prepare()
    assert update.owners[:-1] == before
    assert len(update.owners) == len(SHAPES) + 1
    for p, value in zip(own.parameters(), values, strict=False):
        np.testing.assert_array_equal(p.numpy(), value)


def test_weights_and_state_that_were_loaded_are_used() -> None:
    own, update, _ = sharded(0, 2)
    own.step()
    other, _, _ = sharded(0, 1)
    other.step()
    own.load_state_dict(other.state_dict())
    p = own.parameters()[update.owners.index(0)]
    p._set_array(np.full(p.shape, 3, np.float32))
    update.prepare()
    assert (p.numpy() == 3).all()
    assert len(own.state) == update.owners.count(0)
    p._array[...] = 4
    own.step()
    assert (abs(p.numpy() - 4) < 0.2).all()


def test_rows_are_aligned_and_hold_each_dtype_alone() -> None:
    parameters = [Parameter(np.ones(n, d)) for n, d in ((3, "f4"), (5, "f8"), (70, "f4"))]
    group = Group(Comm(0, 2))
    update = ShardedUpdate(SGD(parameters, lr=0.1), group, lambda backend: group)
    update.prepare()
    assert [s.rows.dtype.name for s in update._shards] == ["float32", "float64"]
    for shards in update._shards:
        start = shards.rows.__array_interface__["data"][0]
        for _, place in shards.places:
            assert (place.__array_interface__["data"][0] - start) % 256 == 0


class OwnStep(SGD):
    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class OwnUpdate(SGD):
    def update(self, step: Any, *rates: Any) -> list[int]:
        return super().update(step, *rates)


def test_parameters_may_be_replaced_and_added() -> None:
    own, update, _ = sharded(0, 2)
    update(1, 0.1)
    kept, owner = own.parameters()[1], update.owners[1]
    group = own.param_groups[0]["params"]
    group[0] = Parameter(np.ones((7, 3), np.float32))
    group.append(Parameter(np.ones(2, np.float32)))
    own.steps = 1
    give_gradients(own)
    update(2, 0.1)
    assert own.parameters()[1] is kept
    assert update.owners[1] == owner
    new = {i: update.owners[i] for i in (0, len(SHAPES))}
    for index, rank in new.items():
        p = own.parameters()[index]
        assert np.ptp(p.numpy()) == 0
        changed = Group.brought if rank else pytest.approx(0.9, abs=1e-3)
        assert p.numpy().flat[0] == changed
        assert bool(own.state.get(p)) == (rank == 0)
    assert own.missed == dict.fromkeys(new, 1)  # in all ranks, of which rank 0 saves


def test_a_second_trainer_finds_what_the_first_has_divided() -> None:
    own, update, group = sharded(0, 2)
    update(1, 0.1)
    assert shard_optimizers([own], group, lambda backend: group, False) == [update]
    assert shard_optimizers([own], group, lambda backend: group, True) == [update]


def test_only_tinygpt_divides_an_optimizer_without_being_told() -> None:
    layer = Linear(3, 4)
    trainer = Trainer(layer, Muon([layer.weight]), MSELoss(), group=Group(Comm(0, 2)))
    assert trainer.shard_optimizers is False
    preset = PRESETS["default"]
    assert build_trainer(preset, build_model(preset, 5)).shard_optimizers is None


def test_steps_of_own_batches_are_not_captured() -> None:
    layer, batch = Linear(3, 4), [Tensor(np.ones((2, 3), np.float32))]
    for own, expected in ((True, "each rank has batches of its own"), (False, "no graphs")):
        group = Group(Comm(0, 2))
        trainer = Trainer(
            layer, SGD(layer.parameters(), lr=0.1), MSELoss(), group=group, own_batches=own
        )
        assert expected in _why_eager(trainer, batch)


def test_muon_is_divided_by_none_and_others_by_choice_if_their_steps_are_known() -> None:
    layer, group = Linear(3, 4), Group(Comm(0, 2))

    def count(choice: bool | None) -> int:
        optimizers = [Muon([layer.weight]), AdamW([layer.bias])]
        optimizers += [own(Linear(2, 2).parameters(), lr=0.1) for own in (OwnStep, OwnUpdate)]
        return len(shard_optimizers(optimizers, group, lambda backend: group, choice))

    assert (count(None), count(True), count(False)) == (1, 2, 0)


@pytest.mark.parametrize(
    ("sizes", "count", "owners"),
    [
        ([], 2, []),
        ([4], 3, [0]),
        ([1, 1, 1, 1], 2, [0, 1, 0, 1]),
        ([5, 4, 3, 3, 3], 2, [0, 1, 1, 0, 1]),
        ([10, 1, 1], 3, [0, 1, 2]),
    ],
)
def test_owners(sizes: list[int], count: int, owners: list[int]) -> None:
    assert owners_of(sizes, count) == owners
