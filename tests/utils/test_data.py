"""The names of torch.utils.data, compared with PyTorch where the order is not random."""

import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import Tensor, manual_seed
from tinytorch.utils import data as ours
from tinytorch.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)


def listed(value: Any) -> Any:
    """Batches as nested lists."""
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [listed(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def datasets(library: Any) -> Any:
    """Datasets as scripts write them."""

    class Squares(library.utils.data.Dataset):  # type: ignore[misc]
        def __init__(self, count: int) -> None:
            self.count = count

        def __len__(self) -> int:
            return self.count

        def __getitem__(self, index: int) -> Any:
            return library.ones(2) * index, index * index

    class Stream(library.utils.data.IterableDataset):  # type: ignore[misc]
        def __init__(self, count: int) -> None:
            self.count = count

        def __iter__(self) -> Iterator[Any]:
            for i in range(self.count):
                yield np.array([i, i]), {"square": i * i}

    return Squares, Stream


class Backwards:
    """A sampler of one's own."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count - 1, -1, -1))


LOADERS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "defaults": lambda d, lib, squares, stream: d.DataLoader(squares(5)),
    "positional": lambda d, lib, squares, stream: d.DataLoader(squares(5), 2, False, None, None, 0),
    "drop_last": lambda d, lib, squares, stream: d.DataLoader(squares(5), 2, drop_last=True),
    "list": lambda d, lib, squares, stream: d.DataLoader([3, 1, 2], batch_size=2),
    "dicts": lambda d, lib, squares, stream: d.DataLoader([{"x": 1, "y": [i]} for i in (5, 6, 7)],
                                                          batch_size=2),
    "collate_fn": lambda d, lib, squares, stream: d.DataLoader(
        [[1], [2, 3], [4]], batch_size=2, collate_fn=lambda batch: [len(x) for x in batch]
    ),
    "collate to tensors": lambda d, lib, squares, stream: d.DataLoader(
        squares(5), 2, collate_fn=lambda batch: lib.stack([x for x, _ in batch])
    ),
    "sampler": lambda d, lib, squares, stream: d.DataLoader(squares(5), 2, sampler=Backwards(5)),
    "list as sampler": lambda d, lib, squares, stream: d.DataLoader(
        squares(9), 2, sampler=[7, 1, 3], drop_last=True
    ),
    "batch_sampler": lambda d, lib, squares, stream: d.DataLoader(
        squares(5), batch_sampler=[[0, 3], [1], [4, 4, 2]]
    ),
    "BatchSampler": lambda d, lib, squares, stream: d.DataLoader(
        squares(5), batch_sampler=d.BatchSampler(Backwards(5), 2, True)
    ),
    "no batches": lambda d, lib, squares, stream: d.DataLoader(squares(3), batch_size=None),
    "arrays, no batches": lambda d, lib, squares, stream: d.DataLoader(
        [(np.ones(2), "a"), (np.zeros(2), "b")], batch_size=None
    ),
    "workers": lambda d, lib, squares, stream: d.DataLoader(
        squares(4), 2, num_workers=0, pin_memory=False, timeout=0, worker_init_fn=None
    ),
    "tensors": lambda d, lib, squares, stream: d.DataLoader(
        d.TensorDataset(lib.ones(5, 2), lib.zeros(5)), batch_size=3
    ),
    "subset": lambda d, lib, squares, stream: d.DataLoader(
        d.Subset(d.TensorDataset(lib.ones(5, 2), lib.zeros(5)), [4, 0, 2]), batch_size=2
    ),
    "concatenated": lambda d, lib, squares, stream: d.DataLoader(
        d.ConcatDataset([squares(2), squares(3)]), batch_size=3
    ),
    "sequential sampler": lambda d, lib, squares, stream: d.DataLoader(
        squares(5), 2, sampler=d.SequentialSampler(range(4))
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
def test_batches_equal_pytorch(make: Any) -> None:
    results = []
    for library in (tinytorch, require("torch")):
        loader = make(library.utils.data, library, *datasets(library))
        epochs = [[listed(batch) for batch in loader] for _ in range(2)]
        results.append((epochs, len(loader), len(loader.dataset), loader.batch_size))
    assert results[0] == results[1]


STREAMS: dict[str, Callable[[Any, Any], Any]] = {
    "defaults": lambda d, stream: d.DataLoader(stream(3)),
    "batches": lambda d, stream: d.DataLoader(stream(5), batch_size=2),
    "drop_last": lambda d, stream: d.DataLoader(stream(5), batch_size=2, drop_last=True),
    "no batches": lambda d, stream: d.DataLoader(stream(3), batch_size=None),
    "collate_fn": lambda d, stream: d.DataLoader(stream(3), 2, collate_fn=len),
    "chained": lambda d, stream: d.DataLoader(d.ChainDataset([stream(3), stream(2)]), 2),
}


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_streams_equal_pytorch(make: Any) -> None:
    results = []
    for library in (tinytorch, require("torch")):
        loader = make(library.utils.data, datasets(library)[1])
        results.append([[listed(batch) for batch in loader] for _ in range(2)])
        with pytest.raises(TypeError, match="len"):
            len(loader)
    assert results[0] == results[1]


def test_arguments_of_the_loader_are_those_of_pytorch() -> None:
    torch = require("torch")
    names = [[*inspect.signature(make).parameters] for make in (
        DataLoader, torch.utils.data.DataLoader)]  # fmt: skip
    assert names[0] == names[1]
    ignored = DataLoader(range(3), num_workers=2, pin_memory=True, persistent_workers=True,
                         prefetch_factor=4, worker_init_fn=print)  # fmt: skip
    assert [batch.item() for batch in ignored] == [0, 1, 2]
    assert ignored.num_workers == 2


def indices(loader: Any) -> list[int]:
    return [i for batch in loader for i in batch.tolist()]


def test_a_generator_makes_the_order_repeatable() -> None:
    def order(seed: int) -> list[int]:
        generator = np.random.default_rng(seed)
        return indices(DataLoader(range(20), 4, shuffle=True, generator=generator))

    manual_seed(0)
    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(3)) == list(range(20))
    generator = np.random.default_rng(0)
    loader = DataLoader(range(20), 4, shuffle=True, generator=generator)
    assert indices(loader) != indices(loader)


def test_random_samplers() -> None:
    manual_seed(0)
    assert sorted(RandomSampler(range(6))) == list(range(6))
    assert len(list(RandomSampler(range(6), replacement=True, num_samples=50))) == 50
    assert set(RandomSampler(range(6), replacement=True, num_samples=200)) == set(range(6))
    assert len(set(RandomSampler(range(6), num_samples=4))) == 4
    many = list(RandomSampler(range(4), num_samples=10))
    assert sorted(many[:4]) == sorted(many[4:8]) == list(range(4))
    assert len(many) == len(RandomSampler(range(4), num_samples=10)) == 10
    assert sorted(SubsetRandomSampler([7, 3, 5])) == [3, 5, 7]
    drawn = list(WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    assert 0 not in drawn
    assert 2.7 < drawn.count(2) / drawn.count(1) < 3.3
    weights = Tensor([1.0, 0.0, 2.0])
    assert sorted(WeightedRandomSampler(weights, 2, replacement=False)) == [0, 2]
    assert [type(i) for i in WeightedRandomSampler(weights, 2)] == [int, int]
    loader = DataLoader(range(3), 2, sampler=WeightedRandomSampler(weights, 5))
    assert set(indices(loader)) <= {0, 2}
    assert len(loader) == 3


def test_random_split() -> None:
    manual_seed(0)
    parts = random_split(range(10), [6, 3, 1], generator=np.random.default_rng(3))
    again = random_split(range(10), [6, 3, 1], generator=np.random.default_rng(3))
    assert [len(part) for part in parts] == [6, 3, 1]
    assert [list(part) for part in parts] == [list(part) for part in again]
    assert sorted(i for part in parts for i in part) == list(range(10))
    torch = require("torch")
    for count, fractions in ((10, [0.8, 0.2]), (11, [0.5, 0.25, 0.25]), (7, [0.1] * 10)):
        with pytest.warns() if count == 7 else pytest.MonkeyPatch.context():
            sizes = [
                [len(part) for part in library.utils.data.random_split(range(count), fractions)]
                for library in (tinytorch, torch)
            ]
        assert sizes[0] == sizes[1]
    train, _ = random_split(TensorDataset(Tensor([[1.0], [2.0], [3.0]])), [2, 1])
    assert next(iter(DataLoader(train, batch_size=2)))[0].shape == (2, 1)


def test_subsets_and_concatenations_are_indexed() -> None:
    subset = Subset("abcdef", [5, 0, 2])
    assert (subset[0], subset[-1], len(subset)) == ("f", "c", 3)
    assert Subset(TensorDataset(Tensor([1, 2, 3])), Tensor([2, 0]))[0][0].item() == 3
    both = ConcatDataset([[1, 2], (3,), "a"])
    assert [both[0], both[2], both[3], both[-4]] == [1, 3, "a", 1]
    assert both.cumulative_sizes == [2, 3, 4]
    for wrong in (4, -5):
        with pytest.raises(IndexError, match="does not exist among 4"):
            both[wrong]
    assert Subset(both, [1, 3])[1] == "a"
    assert len(ChainDataset([both, both])) == 8


@pytest.mark.parametrize("name", ["sampler", "batch order"])
def test_an_epoch_of_a_sampler_continues_from_a_saved_state(name: str) -> None:
    def fresh() -> DataLoader:
        sampler: Any = SubsetRandomSampler(range(9)) if name == "sampler" else Backwards(9)
        return DataLoader(range(9), 2, sampler=sampler)

    manual_seed(1)
    loader = fresh()
    epoch = iter(loader)
    next(epoch)
    next(epoch)
    saved = json.loads(json.dumps(loader.state_dict()))
    expected = [batch.tolist() for batch in epoch]
    manual_seed(2)
    other = fresh()
    other.load_state_dict(saved)
    assert [batch.tolist() for batch in other] == expected


class NoLength:
    def __getitem__(self, index: int) -> int:
        return index


def test_a_dataset_without_length_needs_a_sampler() -> None:
    assert indices(DataLoader(NoLength(), 2, sampler=[4, 5, 6])) == [4, 5, 6]
    assert indices(DataLoader({"a": 1, "b": 2}, sampler=["b", "a"])) == [2, 1]
    with pytest.raises(TypeError, match="__len__"):
        DataLoader(NoLength())


class Empty(IterableDataset):
    pass


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "shuffle and sampler": (lambda: DataLoader([1], shuffle=True, sampler=[0]), ValueError,
                            "either shuffle=True or a sampler"),
    "batch_sampler": (lambda: DataLoader([1], 2, batch_sampler=[[0]]), ValueError,
                      "either a batch_sampler, or batch_size"),
    "stream": (lambda: DataLoader(Empty(), shuffle=True), ValueError, "in its own order"),
    "no __iter__": (lambda: list(Empty()), NotImplementedError, "Empty must define __iter__"),
    "no __getitem__": (lambda: ours.Dataset()[0], NotImplementedError, "must define __getitem__"),
    "sampler": (lambda: list(Sampler()), NotImplementedError, "must define __iter__"),
    "a number as sampler": (lambda: DataLoader([1], sampler=3), TypeError, "iterable of indices"),
    "collate_fn": (lambda: DataLoader([1], collate_fn=3), TypeError, "must be a function, not 3"),
    "generator": (lambda: DataLoader([1], shuffle=True, generator=3), TypeError,
                  "generator must be a Generator, not 3"),
    "workers": (lambda: DataLoader([1], num_workers=-1), ValueError, "num_workers must be at"),
    "lengths": (lambda: random_split([1, 2, 3], [1, 1]), ValueError,
                r"\[1, 1\] add up to 2, not to the length of the dataset, 3"),
    "fractions": (lambda: random_split([1, 2], [1.5, -0.5]), ValueError, r"fraction 0 must be in"),
    "weights": (lambda: WeightedRandomSampler([-1.0], 2), ValueError, "weights of shape"),
    "few weights": (lambda: WeightedRandomSampler([1.0, 0.0], 2, False), ValueError,
                    "cannot draw 2 of 1 indices"),
    "num_samples": (lambda: RandomSampler([1], num_samples=0), ValueError, "num_samples must be"),
    "batch size": (lambda: BatchSampler([1], 0, False), ValueError, "batch_size must be at least"),
    "nothing": (lambda: ConcatDataset([]), ValueError, "at least one dataset"),
    "streams": (lambda: ConcatDataset([Empty()]), TypeError, "use ChainDataset"),
    "missing": (lambda: ours.StackDataset, AttributeError, r"StackDataset is not in"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "match"), ERRORS.values(), ids=ERRORS)
def test_wrong_arguments_raise_an_error(call: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def test_datasets_and_samplers_are_generic_for_type_checkers() -> None:
    class Typed(ours.Dataset[int]):  # type: ignore[type-arg, misc]
        def __getitem__(self, index: int) -> int:
            return index

    assert isinstance(Typed(), ours.Dataset)
    assert isinstance(Empty(), ours.Dataset)
    assert ours.get_worker_info() is None  # type: ignore[func-returns-value]
    assert Sampler[int] is not None


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("count", "ranks"), [(7, 3), (6, 3), (2, 5), (1, 1)])
def test_a_distributed_sampler_is_pytorchs(count: int, ranks: int, drop_last: bool) -> None:
    torch_data = require("torch.utils.data")
    for rank in range(ranks):
        given = range(count), ranks, rank, False, 0, drop_last
        mine, theirs = DistributedSampler(*given), torch_data.DistributedSampler(*given)
        assert list(mine) == list(theirs)
        assert (len(mine), mine.total_size) == (len(theirs), theirs.total_size)


def test_distributed_samplers_share_an_order_that_set_epoch_changes() -> None:
    samplers = [DistributedSampler(range(12), 3, rank, seed=4) for rank in range(3)]
    epochs = []
    for epoch in (0, 1, 0):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        parts = [list(sampler) for sampler in samplers]
        assert parts == [list(sampler) for sampler in samplers]
        assert sorted(i for part in parts for i in part) == list(range(12))
        epochs.append(parts)
    assert epochs[0] == epochs[2] != epochs[1]
    assert list(DistributedSampler(range(12), 3, 0, seed=5)) != epochs[0][0]


def test_a_distributed_sampler_needs_its_rank() -> None:
    with pytest.raises(ValueError, match=r"num_replicas and rank, such as group\.size"):
        DistributedSampler(range(3))
    with pytest.raises(ValueError, match=r"rank must be in \[0, 2\), not 2"):
        DistributedSampler(range(3), 2, 2)
