"""Lesson 05: datasets and loaders."""

from typing import Any

import numpy as np
import pytest

from tinytorch import DataLoader, Dataset, Tensor, TensorDataset, TokenDataset, manual_seed


class Squares(Dataset):
    """A dataset that inherits `batch`."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return Tensor(index), Tensor([index * index, 0.0])


def batches_of(loader: DataLoader) -> list[list[int]]:
    return [batch[0].tolist() for batch in loader]


def numbers(count: int) -> TensorDataset:
    return TensorDataset(Tensor(np.arange(count)), Tensor(np.arange(count) * 2.0))


def test_the_default_batch_stacks_examples() -> None:
    x, y = Squares().batch([3, 1])
    assert x.tolist() == [3, 1]
    assert y.tolist() == [[9, 0], [1, 0]]
    assert batches_of(DataLoader(Squares(), 2)) == [[0, 1], [2, 3], [4]]


def test_tensor_dataset_returns_rows_of_all_tensors(backend: str) -> None:
    rows = np.arange(12.0).reshape(4, 3)
    data = TensorDataset(Tensor(rows, backend=backend), Tensor(np.arange(4), backend=backend))
    assert len(data) == 4
    for row, label in (data[1], data[-3]):
        np.testing.assert_array_equal(row.numpy(), rows[1])
        np.testing.assert_array_equal(label.numpy(), 1)
    x, y = data.batch([3, 0, 3])
    np.testing.assert_array_equal(x.numpy(), rows[[3, 0, 3]])
    np.testing.assert_array_equal(y.numpy(), [3, 0, 3])
    assert x.backend.name == backend
    with pytest.raises(IndexError):
        data[4]


@pytest.mark.parametrize("lengths", [(), (3, 4)])
def test_tensor_dataset_with_unequal_lengths_raises(lengths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="tensors of equal length"):
        TensorDataset(*(Tensor(np.zeros(n)) for n in lengths))


@pytest.mark.parametrize(
    ("tokens", "block", "stride"), [(10, 3, 1), (10, 3, 3), (11, 4, 2), (4, 3, 9)]
)
def test_targets_are_the_token_blocks_shifted_by_one(tokens: int, block: int, stride: int) -> None:
    ids = np.arange(tokens) + 100
    data = TokenDataset(ids, block, stride)
    starts = [s for s in range(0, tokens, stride) if s + block + 1 <= tokens]
    assert len(data) == len(starts)
    for index, start in enumerate(starts):
        for x, y in (data[index], data[index - len(data)]):
            assert x.tolist() == list(ids[start : start + block])
            assert y.tolist() == list(ids[start + 1 : start + block + 1])
    for wrong in (len(data), -len(data) - 1):
        with pytest.raises(IndexError, match="does not exist"):
            data[wrong]
    x, y = data.batch(range(len(data)))
    assert x.shape == y.shape == (len(data), block)


@pytest.mark.parametrize(
    ("ids", "block", "stride", "message"),
    [
        (np.arange(3), 3, 1, "3 tokens is too short for blocks of 3"),
        ([], 1, 1, "too short"),
        (np.zeros((2, 9)), 3, 1, "too short"),
        (np.arange(9), 0, 1, "at least 1"),
        (np.arange(9), 3, 0, "at least 1"),
    ],
)
def test_invalid_block_sizes_raise(ids: Any, block: int, stride: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenDataset(ids, block, stride)


def test_random_batches_are_reproducible_and_cover_the_text(backend: str) -> None:
    data = TokenDataset(Tensor(np.arange(20)), block_size=4, backend=backend)
    firsts = []
    for _ in range(2):
        manual_seed(3)
        x, y = data.random_batch(400)
        assert x.backend.name == backend
        np.testing.assert_array_equal(y.numpy(), x.numpy() + 1)
        firsts.append(x.numpy()[:, 0])
    np.testing.assert_array_equal(*firsts)
    assert set(firsts[0]) == set(range(16))
    own = data.random_batch(5, np.random.default_rng(1))[0].numpy()
    np.testing.assert_array_equal(own, data.random_batch(5, np.random.default_rng(1))[0].numpy())


@pytest.mark.parametrize("count", [0, 1, 6, 7])
@pytest.mark.parametrize("batch_size", [1, 3, 10])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
def test_an_epoch_contains_each_example_once(
    count: int, batch_size: int, shuffle: bool, drop_last: bool
) -> None:
    loader = DataLoader(numbers(count), batch_size, shuffle, drop_last)
    batches = batches_of(loader)
    assert len(batches) == len(loader)
    assert all(batches), "no batch is empty"
    flat = [i for batch in batches for i in batch]
    kept = count - count % batch_size if drop_last else count
    assert len(flat) == len(set(flat)) == kept
    assert all(len(batch) == batch_size for batch in batches[:-1])
    if not shuffle:
        assert flat == list(range(kept))


def test_shuffles_differ_between_epochs_and_are_reproducible() -> None:
    loader = DataLoader(numbers(50), 50, shuffle=True)
    manual_seed(7)
    first, second = batches_of(loader), batches_of(loader)
    manual_seed(7)
    assert [batches_of(loader), batches_of(loader)] == [first, second]
    assert first != second
    assert first[0] != list(range(50))
    for x, y in loader:
        assert (x.to("float64") * 2).tolist() == y.tolist()  # examples stay aligned


def test_a_batch_size_below_1_raises() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        DataLoader(numbers(3), 0)
