"""Lesson 05 with the earlier lessons, and each of its exercises on every backend.

No gradient and no later lesson is needed.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tinytorch.data.normalization import Standardizer
from tinytorch.data.samplers import BatchSampler, RandomSampler, batched, count_batches
from tinytorch.dataloader import (
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    TokenDataset,
    collate,
)
from tinytorch.layers import Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.ops import random
from tinytorch.tensor import Tensor
from tinytorch.utils.splitting import Subset, group_split, random_split, sizes_of_fractions

PAGES = ("mean", "std", "var", "sum", "einsum", "pad", "linspace", "sort", "cumsum")
TEXT = "\n".join(getattr(np, page).__doc__ or page for page in PAGES)
LINES = [line.strip() for line in TEXT.split("\n") if line.strip()]


class Lines(Dataset):
    """Lines of text: two features, and whether the line is code."""

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def __len__(self) -> int:
        return len(LINES)

    def __getitem__(self, index: int) -> Any:
        line = LINES[index]
        features = [float(len(line)), sum(map(str.isalpha, line)) / len(line)]
        return {"x": Tensor(features, backend=self.backend), "y": line.startswith(">>>"), "t": line}


# The worked example


def test_the_batches_of_the_example_by_hand(backend: str) -> None:
    x = Tensor([[10.0 * i, 10.0 * i + 1] for i in range(5)], backend=backend)
    data = TensorDataset(x, Tensor([0, 1, 2, 3, 4], backend=backend))
    loader = DataLoader(data, 2, sampler=[3, 0, 4, 1, 2])
    batches = [(x.tolist(), x.shape, y.tolist()) for x, y in loader]
    assert batches == [
        ([[30, 31], [0, 1]], (2, 2), [3, 0]),
        ([[40, 41], [10, 11]], (2, 2), [4, 1]),
        ([[20, 21]], (1, 2), [2]),
    ]
    assert len(loader) == count_batches(5, 2, False) == 3


def test_the_blocks_of_the_example_by_hand(backend: str) -> None:
    letters = sorted(set("hello"))
    assert "".join(letters) == "ehlo"
    ids = [letters.index(c) for c in "hello"]
    blocks = TokenDataset(ids, block_size=3, backend=backend)
    assert [(x.tolist(), y.tolist()) for x, y in (blocks[0], blocks[1])] == [
        ([1, 0, 2], [0, 2, 2]),
        ([0, 2, 2], [2, 2, 3]),
    ]
    assert len(blocks) == 2


# Real data, all the way


def test_a_network_computes_a_loss_on_blocks_of_text(backend: str) -> None:
    characters = sorted(set(TEXT))
    ids, V = np.array([characters.index(c) for c in TEXT]), len(characters)
    blocks = TokenDataset(ids, 16, stride=16, backend=backend)
    random.manual_seed(0)
    network = Sequential(Linear(V, 8, backend=backend), Linear(8, V, backend=backend))
    loss_of, seen, losses = CrossEntropyLoss(), [], []
    for x, y in itertools.islice(DataLoader(blocks, batch_size=32, shuffle=True), 5):
        one_hot = np.eye(V, dtype=np.float32)[x.numpy()]  # (B, T, V)
        losses.append(loss_of(network(Tensor(one_hot, backend=backend)), y).item())
        seen += ["".join(characters[i] for i in row) for row in x.tolist()]
    assert np.mean(losses) == pytest.approx(math.log(V), rel=0.1)
    assert len(seen) == 160
    assert all(block in TEXT for block in seen)


def test_lines_are_split_in_groups_normalized_and_loaded(backend: str) -> None:
    data = Lines(backend)
    generator = np.random.default_rng(0)
    training, test = group_split(data, LINES, [0.8, 0.2], generator)
    kinds = [{LINES[i] for i in part.indices} for part in (training, test)]
    assert not kinds[0] & kinds[1]
    assert len(training) + len(test) == len(LINES)
    leaking = random_split(data, [0.8, 0.2], generator)
    assert {LINES[i] for i in leaking[0].indices} & {LINES[i] for i in leaking[1].indices}

    everything = next(iter(DataLoader(training, batch_size=len(training))))
    scale = Standardizer().fit(everything["x"])
    count, total, squares, code = 0, np.zeros(2), np.zeros(2), []
    for batch in DataLoader(training, batch_size=100, shuffle=True, generator=generator):
        z = scale(batch["x"])
        assert (z.backend.name, str(z.dtype).rpartition(".")[2]) == (backend, "float32")
        assert len(batch["t"]) == len(batch["y"]) == len(z)
        count += len(z)
        total += z.numpy().sum(axis=0)
        squares += (z.numpy() ** 2).sum(axis=0)
        code += [
            (t.startswith(">>>"), y) for t, y in zip(batch["t"], batch["y"].tolist(), strict=True)
        ]
    assert count == len(training)
    np.testing.assert_allclose(total / count, 0, atol=1e-4)
    np.testing.assert_allclose(squares / count, 1, atol=1e-4)
    assert all(text == label for text, label in code)


# Each exercise by itself, on every backend


def test_tensor_datasets_give_rows(backend: str) -> None:
    x, y = np.arange(12.0).reshape(4, 3), np.array([5, 6, 7, 8])
    data = TensorDataset(Tensor(x, backend=backend), Tensor(y, backend=backend))
    assert len(data) == 4
    for index in (0, 3, -1):
        assert [t.tolist() for t in data[index]] == [x[index].tolist(), y[index]]
    for indices in ([2, 2, 0], np.array([1]), (3, 0)):
        rows, labels = data.batch(indices)
        np.testing.assert_array_equal(rows.numpy(), x[np.array(indices)])
        np.testing.assert_array_equal(labels.numpy(), y[np.array(indices)])
    with pytest.raises(IndexError):
        data[4]


def test_collate_joins_nested_examples(backend: str) -> None:
    examples = [
        {"x": (Tensor([i, 2.0 * i], backend=backend), i), "t": [f"n{i}", np.float64(i)]}
        for i in range(3)
    ]
    batch = collate(examples)
    assert batch["x"][0].tolist() == [[0, 0], [1, 2], [2, 4]]
    assert batch["x"][0].backend.name == backend
    assert batch["x"][1].tolist() == [0, 1, 2]
    assert batch["t"][0] == ["n0", "n1", "n2"]
    assert str(batch["t"][1].dtype) == "float64"
    with pytest.raises(ValueError, match="equal shapes"):
        collate([Tensor([1.0], backend=backend), Tensor([1.0, 2.0], backend=backend)])


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("count", "size"), [(7, 3), (6, 3), (2, 5), (0, 4), (5, 1)])
def test_batches_of_a_stream(count: int, size: int, drop_last: bool) -> None:
    lists = [list(range(i, min(i + size, count))) for i in range(0, count, size)]
    expected = [b for b in lists if len(b) == size or not drop_last]
    assert list(batched(iter(range(count)), size, drop_last)) == expected
    assert count_batches(count, size, drop_last) == len(expected)
    assert len(BatchSampler(range(count), size, drop_last)) == len(expected)


def test_a_stream_is_read_no_further_than_needed() -> None:
    source = iter(range(10))
    assert next(batched(source, 3, False)) == [0, 1, 2]
    assert next(source) == 3


@pytest.mark.parametrize("samples", [None, 1, 4, 5, 12])
def test_random_orders_contain_each_round_once(samples: int | None) -> None:
    order = list(RandomSampler(range(5), num_samples=samples, generator=np.random.default_rng(0)))
    assert len(order) == (samples or 5)
    for first in range(0, len(order), 5):
        part = order[first : first + 5]
        assert len(set(part)) == len(part)
    assert set(order) <= set(range(5))


def test_orders_with_replacement_repeat_indices() -> None:
    rng = np.random.default_rng(0)
    sampler = RandomSampler(range(6), replacement=True, num_samples=600, generator=rng)
    counts = np.bincount(list(sampler), minlength=6)
    assert counts.shape == (6,)
    assert 60 < counts.min() < counts.max() < 140


def test_seeds_repeat_orders_and_epochs_differ() -> None:
    def epochs(seed: int) -> list[list[int]]:
        sampler = RandomSampler(range(30), generator=np.random.default_rng(seed))
        return [list(sampler) for _ in range(3)]

    assert epochs(1) == epochs(1)
    assert epochs(1) != epochs(2)
    assert len({tuple(order) for order in epochs(1)}) == 3


@pytest.mark.parametrize(
    ("fractions", "count", "sizes"),
    [([0.5, 0.25, 0.25], 11, [6, 3, 2]), ([0.2, 0.8], 4, [1, 3]), ([1 / 3] * 3, 8, [3, 3, 2])],
)
def test_sizes_of_fractions_use_all_examples(
    fractions: list[float], count: int, sizes: list[int]
) -> None:
    assert list(sizes_of_fractions(fractions, count)) == sizes


def test_random_splits_are_disjoint_and_complete() -> None:
    parts = random_split(LINES, [0.6, 0.3, 0.1], np.random.default_rng(0))
    assert all(type(part) is Subset for part in parts)
    assert sorted(i for part in parts for i in part.indices) == list(range(len(LINES)))
    again = random_split(LINES, [0.6, 0.3, 0.1], np.random.default_rng(0))
    assert [sorted(p.indices) for p in parts] == [sorted(p.indices) for p in again]
    assert sorted(parts[0].indices) != list(range(len(parts[0])))


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_not_divided(seed: int) -> None:
    groups = np.random.default_rng(seed).integers(0, 9, 50)
    count = len(set(groups.tolist()))
    lengths = [count - 3, 1, 2]
    parts = group_split(range(50), groups, lengths, np.random.default_rng(seed))
    kinds = [{int(groups[i]) for i in part.indices} for part in parts]
    assert [len(kind) for kind in kinds] == lengths
    assert len(set.union(*kinds)) == count
    assert sorted(i for part in parts for i in part) == list(range(50))  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_standardized_features(dtype: str, backend: str) -> None:
    rng = np.random.default_rng(0)
    training, other = (rng.integers(0, 200, (n, 3)).astype(dtype) for n in (40, 5))
    scale = Standardizer().fit(Tensor(training, backend=backend))
    mean, std = training.astype(np.float64).mean(axis=0), training.astype(np.float64).std(axis=0)
    z = scale(Tensor(other, backend=backend))
    np.testing.assert_allclose(z.numpy(), (other - mean) / std, rtol=1e-5, atol=1e-6)
    assert z.numpy().dtype == ("float32" if dtype == "uint8" else dtype)
    assert z.backend.name == backend
    np.testing.assert_allclose(scale.inverse(z).numpy(), other, atol=1e-3)


def test_images_are_standardized_by_channel(backend: str) -> None:
    images = np.random.default_rng(0).normal(3, [[[1.0]], [[5.0]]], (6, 2, 4, 3))
    z = Standardizer().fit(images, axis=(0, 2, 3))(Tensor(images, backend=backend)).numpy()
    np.testing.assert_allclose(z.mean(axis=(0, 2, 3)), 0, atol=1e-9)
    np.testing.assert_allclose(z.std(axis=(0, 2, 3)), 1)


@pytest.mark.parametrize(("n", "T", "stride"), [(9, 4, 1), (9, 4, 3), (12, 3, 5), (5, 4, 1)])
def test_blocks_and_their_targets(n: int, T: int, stride: int, backend: str) -> None:
    ids = np.random.default_rng(n).permutation(n)
    data = TokenDataset(ids, T, stride, backend=backend)
    starts = range(0, n - T, stride)
    assert len(data) == len(starts)
    x, y = data.batch(range(len(data)))
    assert (x.backend.name, y.backend.name) == (backend, backend)
    for i, start in enumerate(starts):
        for block in ((x[i], y[i]), data[i], data[i - len(data)]):
            assert [t.tolist() for t in block] == [
                ids[start : start + T].tolist(),
                ids[start + 1 : start + T + 1].tolist(),
            ]
    for wrong in (len(data), -len(data) - 1):
        with pytest.raises(IndexError):
            data[wrong]
    with pytest.raises(IndexError):
        data.batch([0, -1])


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
def test_epochs_of_a_loader(shuffle: bool, drop_last: bool) -> None:
    rng = np.random.default_rng(0)
    loader = DataLoader(range(10), 4, shuffle, drop_last=drop_last, generator=rng)
    epochs = [[batch.tolist() for batch in loader] for _ in range(2)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == ([4, 4] if drop_last else [4, 4, 2])
        flat = [i for batch in epoch for i in batch]
        assert len(set(flat)) == len(flat)
        assert shuffle or flat == list(range(len(flat)))
    assert (epochs[0] != epochs[1]) == shuffle


def test_an_interrupted_epoch_continues() -> None:
    random.manual_seed(3)
    loader, other = (DataLoader(range(11), 3, shuffle=True) for _ in range(2))
    epoch = iter(loader)
    next(epoch)
    other.load_state_dict(loader.state_dict())
    assert [b.tolist() for b in other] == [b.tolist() for b in epoch]


def test_what_a_loader_does_without_a_fast_batch() -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            return iter(LINES[:5])

    assert list(DataLoader(Stream(), 2)) == [LINES[:2], LINES[2:4], LINES[4:5]]
    assert list(DataLoader(LINES[:5], 2, collate_fn=len)) == [2, 2, 1]
    assert list(DataLoader(LINES[:3], batch_size=None)) == LINES[:3]
    assert list(DataLoader(LINES, batch_sampler=[[3], [1, 1]])) == [[LINES[3]], [LINES[1]] * 2]
