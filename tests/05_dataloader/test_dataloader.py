"""Lesson 05: datasets and loaders."""

import json
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch import (
    SGD,
    CrossEntropyLoss,
    DataLoader,
    Dataset,
    Linear,
    Tensor,
    TensorDataset,
    TokenDataset,
    Trainer,
    manual_seed,
)
from tinytorch.dataloader import collate
from tinytorch.ops import random


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
        (np.zeros((2, 9)), 3, 1, r"shape \(N,\), not \(2, 9\)"),
        (np.zeros((2, 9), int), 3, 1, r"shape \(N,\), not \(2, 9\)"),
        (5, 3, 1, r"shape \(N,\), not \(\)"),
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
    loader = DataLoader(numbers(count), batch_size, shuffle, drop_last=drop_last)
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


class Given(Dataset):
    """The values of a function as examples."""

    def __init__(self, function: Callable[[int], Any]) -> None:
        self.function = function

    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> Any:
        return self.function(i)


def described(batch: Any) -> Any:
    """Types, dtypes and values of a batch."""
    if isinstance(batch, dict):
        return {key: described(value) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return [described(value) for value in batch]
    return (str(batch.dtype), batch.tolist()) if isinstance(batch, Tensor) else batch


EXAMPLES: dict[str, Callable[[Any, int], Any]] = {
    "tensor": lambda make, i: make([1.0, i]),
    "scalar tensor": lambda make, i: make(i * 1.0),
    "matrix": lambda make, i: make([[1.0, i]]),
    "pair": lambda make, i: (make([1.0]), make([i])),
    "tensor and int": lambda make, i: (make([1.0]), i),
    "array and int": lambda make, i: (np.ones(2, np.float32) * i, i),
    "ints": lambda make, i: i,
    "bools": lambda make, i: i > 1,
    "NumPy scalars": lambda make, i: np.float64(i),
    "array of bytes": lambda make, i: np.full((2, 2), i, np.uint8),
    "dict": lambda make, i: {"x": make([1.0]), "y": i, "name": f"n{i}"},
    "nested": lambda make, i: (make([1.0]), {"y": [i, (make([i]),)]}),
    "strings": lambda make, i: ("a", i),
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_examples_are_collated_as_in_pytorch(example: Any) -> None:
    torch = require("torch")
    ours = collate([example(Tensor, i) for i in range(3)])
    theirs = torch.utils.data.default_collate([example(torch.tensor, i) for i in range(3)])

    def of_torch(batch: Any) -> Any:
        if isinstance(batch, dict):
            return {key: of_torch(value) for key, value in batch.items()}
        if isinstance(batch, tuple | list):
            return [of_torch(value) for value in batch]
        is_tensor = isinstance(batch, torch.Tensor)
        return (str(batch.dtype)[6:], batch.tolist()) if is_tensor else batch

    assert described(ours) == of_torch(theirs)


def test_floats_are_float32_and_named_tuples_stay() -> None:
    point = namedtuple("point", "x y")
    batch = collate([point(1.5, 1), point(2, 2)])
    assert isinstance(batch, point)
    assert described(batch) == [("float32", [1.5, 2]), ("int64", [1, 2])]


def test_any_sequence_is_a_dataset() -> None:
    pairs = [(Tensor([1.0]), Tensor([0])), (Tensor([2.0]), Tensor([1]))]
    for dataset in (pairs, tuple(pairs), Given(lambda i: pairs[i % 2])):
        x, y = next(iter(DataLoader(dataset, 2)))
        assert (x.tolist(), y.tolist()) == ([[1], [2]], [[0], [1]])
    assert next(iter(DataLoader(np.arange(6).reshape(3, 2), 2))).tolist() == [[0, 1], [2, 3]]
    assert next(iter(DataLoader(range(5), 2, shuffle=True))).shape == (2,)
    arrays = TensorDataset(np.ones((3, 2)), [1, 2, 3])
    assert [type(t) for t in arrays[0]] == [Tensor, Tensor]


LOADER_ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "types": (
        lambda: collate([Tensor([1.0]), 2.0]),
        TypeError,
        r"float \(example 1 of the batch\) to Tensor",
    ),
    "None": (lambda: collate([None, None]), TypeError, r"NoneType \(example 0"),
    "objects": (lambda: collate([(1, object())]), TypeError, "cannot join object"),
    "shapes": (
        lambda: collate([Tensor([1.0]), Tensor([1.0, 2.0])]),
        ValueError,
        r"equal shapes: \(1,\) in example 0 .* \(2,\) in example 1; pad",
    ),
    "array shapes": (lambda: collate([np.ones(1), np.ones(2)]), ValueError, "equal shapes"),
    "lengths": (lambda: collate([(1,), (1, 2)]), ValueError, "equal lengths: 1 .* 2"),
    "keys": (lambda: collate([{"a": 1}, {"b": 1}]), ValueError, "equal keys"),
    "generator": (lambda: DataLoader(iter([1])), TypeError, "__len__ and __getitem__"),
    "None as dataset": (lambda: DataLoader(None), TypeError, "NoneType"),
    "batch_size 0": (
        lambda: DataLoader([1], 0),
        ValueError,
        "batch_size must be at least 1, not 0",
    ),
    "negative": (lambda: DataLoader([1], -2), ValueError, "batch_size must be at least 1, not -2"),
    "float": (lambda: DataLoader([1], 2.0), TypeError, "batch_size must be an integer"),
    "bool": (lambda: DataLoader([1], True), TypeError, "batch_size must be an integer, not True"),
    "sampler": (lambda: DataLoader([1], 1, False, 4), TypeError, "sampler must be an iterable"),
    "shuffle": (lambda: DataLoader([1], 1, "yes"), TypeError, "shuffle must be True or False"),
    "0-d": (lambda: TensorDataset(Tensor(1.0)), ValueError, "equal length"),
    "float ids": (lambda: TokenDataset([0.5, 1.5, 2.5], 1), TypeError, "integer token ids"),
    "bool ids": (lambda: TokenDataset([True, False], 1), TypeError, "integer token ids"),
    "text": (lambda: TokenDataset(["a", "b"], 1), TypeError, "integer token ids"),
    "float block": (lambda: TokenDataset([1, 2, 3], 1.5), TypeError, "block_size must be an int"),
    "float stride": (lambda: TokenDataset([1, 2, 3], 1, 1.0), TypeError, "stride must be an int"),
}


@pytest.mark.parametrize(("call", "error", "match"), LOADER_ERRORS.values(), ids=LOADER_ERRORS)
def test_wrong_data_raise_errors_that_name_the_example(call: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def test_random_batches_take_a_seed() -> None:
    data = TokenDataset(np.arange(1000), 4)
    for seed in (0, 5, np.int64(7), -1):
        first, second = (data.random_batch(3, seed)[0].tolist() for _ in range(2))
        assert first == second
        assert first == data.random_batch(3, random.new_generator(seed))[0].tolist()


def test_a_dataset_may_change_its_length_between_epochs() -> None:
    data = [1, 2, 3]
    loader = DataLoader(data, 2)
    assert [b.tolist() for b in loader] == [[1, 2], [3]]
    data.append(4)
    epoch = iter(loader)
    next(epoch)
    data.append(5)  # seen in the next epoch
    assert [b.tolist() for b in epoch] == [[3, 4]]
    assert [b.tolist() for b in loader] == [[1, 2], [3, 4], [5]]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("seen", range(1, 4))
def test_an_epoch_continues_from_a_saved_state(shuffle: bool, drop_last: bool, seen: int) -> None:
    manual_seed(4)
    loader = DataLoader(range(7), 2, shuffle, drop_last=drop_last)
    list(loader)
    epoch = iter(loader)
    for _ in range(seen):
        next(epoch)
    saved = json.dumps([loader.state_dict(), random.generator().bit_generator.state])
    expected = [batch.tolist() for rest in (epoch, loader) for batch in rest]

    manual_seed(9)
    place, generator = json.loads(saved)
    random.generator().bit_generator.state = generator
    other = DataLoader(range(7), 2, shuffle, drop_last=drop_last)
    other.load_state_dict(place)
    assert [batch.tolist() for _ in "ab" for batch in other] == expected


@pytest.mark.parametrize("bits", ["PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_a_saved_state_works_with_every_bit_generator(bits: str) -> None:
    before = random.generator(), random.mask_state()
    random.set_generator(np.random.Generator(getattr(np.random, bits)(5)))
    loader = DataLoader(range(7), 2, shuffle=True)
    epoch = iter(loader)
    next(epoch)
    state = json.loads(json.dumps(loader.state_dict()))
    random.set_generator(*before)
    other = DataLoader(range(7), 2, shuffle=True)
    other.load_state_dict(state)
    assert [batch.tolist() for batch in other] == [batch.tolist() for batch in epoch]


def test_training_continues_bit_for_bit_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = TensorDataset(rng.normal(size=(12, 4)).astype(np.float32), np.arange(12) % 3)

    def fresh() -> tuple[Trainer, DataLoader]:
        manual_seed(0)
        model = Linear(4, 3)
        trainer = Trainer(model, SGD(model.parameters(), lr=0.3), CrossEntropyLoss())
        return trainer, DataLoader(data, 3, shuffle=True)

    trainer, loader = fresh()
    for i, batch in enumerate(loader):
        trainer.train_step([batch])
        if i == 1:
            trainer.save_checkpoint(tmp_path / "c", loader=loader.state_dict())
    resumed, other = fresh()
    other.load_state_dict(resumed.load_checkpoint(tmp_path / "c")["loader"])
    for batch in other:
        resumed.train_step([batch])
    assert resumed.step == trainer.step
    np.testing.assert_array_equal(resumed.model.weight.numpy(), trainer.model.weight.numpy())


def test_a_state_saved_between_epochs_starts_the_next_epoch() -> None:
    manual_seed(0)
    loader = DataLoader(numbers(5), 2, shuffle=True)
    batches_of(loader)
    state = json.loads(json.dumps(loader.state_dict()))
    generator = random.generator().bit_generator.state
    expected = [batches_of(loader), batches_of(loader)]
    random.generator().bit_generator.state = generator
    resumed = DataLoader(numbers(5), 2, shuffle=True)
    resumed.load_state_dict(state)
    assert [batches_of(resumed), batches_of(resumed)] == expected


@pytest.mark.parametrize("state", [None, {}, {"position": 2}, [1, 2]])
def test_load_state_dict_of_a_loader_checks_its_argument(state: Any) -> None:
    with pytest.raises(ValueError, match="takes what state_dict"):
        DataLoader([1, 2]).load_state_dict(state)
    with pytest.raises(ValueError, match="not the state of a random generator"):
        DataLoader([1, 2]).load_state_dict({"generator": 3, "position": 2})


def test_a_dataset_may_have_an_attribute_batch_that_is_no_method() -> None:
    class Sized(list[int]):
        batch = 32

    assert [b.tolist() for b in DataLoader(Sized([1, 2, 3]), 2)] == [[1, 2], [3]]


def test_collate_joins_dicts_whose_keys_are_in_another_order() -> None:
    batch = collate([{"x": 1, "y": 2}, {"y": 3, "x": 4}])
    assert [batch["x"].tolist(), batch["y"].tolist()] == [[1, 4], [2, 3]]


def test_collate_joins_tensors_of_other_libraries() -> None:
    torch = require("torch")
    x, y = collate([(torch.ones(2), torch.tensor(3)), (torch.zeros(2), torch.tensor(4))])
    assert isinstance(x, Tensor)
    assert x.tolist() == [[1, 1], [0, 0]]
    assert y.tolist() == [3, 4]


@pytest.mark.parametrize("index", [-1, 8])
def test_a_batch_of_blocks_that_do_not_exist_is_an_error(index: int) -> None:
    data = TokenDataset(np.arange(10), block_size=2)
    assert data.batch([0, 7])[0].tolist() == [[0, 1], [7, 8]]
    with pytest.raises(IndexError, match="does not exist among 8"):
        data.batch([0, index])


@pytest.mark.parametrize("taken", [0, 1, 3, 5])
def test_epochs_after_a_resumed_one_continue_with_the_loaders_own_generator(taken: int) -> None:
    def loader(seed: int) -> DataLoader:
        return DataLoader(numbers(9), 2, shuffle=True, generator=np.random.default_rng(seed))

    first = loader(1)
    batches_of(first)
    batches = iter(first)
    for _ in range(taken):
        next(batches)
    state = json.loads(json.dumps(first.state_dict()))
    expected = [[batch[0].tolist() for batch in batches], batches_of(first), batches_of(first)]
    for seed in (1, 7):
        other = loader(seed)
        other.load_state_dict(state)
        assert [batches_of(other) for _ in range(3)] == expected


@pytest.mark.parametrize("options", [{"batch_size": None}, {"batch_sampler": [[0], [1]]}])
def test_state_dict_warns_where_the_place_in_an_epoch_is_unknown(options: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="start from the beginning"):
        DataLoader([5, 6, 7], **options).state_dict()
