"""Lesson 04 with the earlier lessons, and each of its exercises on every backend.

No gradient and no later lesson is needed.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tinytorch.layers import Linear
from tinytorch.losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    MSELoss,
    binary_cross_entropy,
    cross_entropy,
    log_probabilities,
    one_hot_targets,
    perplexity,
)
from tinytorch.tensor import Tensor

RNG = np.random.default_rng(4)
TEXT = np.linalg.svd.__doc__ or ""


def each_loss(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The cross entropy of each target, (N,), computed with NumPy."""
    rows, classes = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    return np.logaddexp.reduce(rows, axis=1) - rows[np.arange(len(rows)), classes]


def test_the_example_by_hand(backend: str) -> None:
    logits = Tensor(np.log([[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]]), backend=backend)
    first, second = (
        CrossEntropyLoss()(logits[i : i + 1], Tensor([t], backend=backend)).item()
        for i, t in ((0, 2), (1, 0))
    )
    assert (round(first, 2), round(second, 2)) == (0.47, 2.08)
    both = CrossEntropyLoss()(logits, Tensor([2, 0], backend=backend)).item()
    assert both == pytest.approx((first + second) / 2)


def test_pairs_of_characters_predict_english_better_than_frequencies(backend: str) -> None:
    characters = sorted(set(TEXT))
    ids = np.array([characters.index(c) for c in TEXT])
    V, split = len(characters), len(ids) * 8 // 10
    pairs = np.ones((V, V))
    np.add.at(pairs, (ids[: split - 1], ids[1:split]), 1)
    test, loss = ids[split:], CrossEntropyLoss()
    found = {}
    for name, table in {
        "fair": np.zeros((V, V)),
        "frequencies": np.log(np.tile(pairs.sum(axis=0), (V, 1))),
        "pairs": np.log(pairs),
    }.items():
        losses, counts = [], []
        for start in range(0, len(test) - 1, 100):
            block = test[start : start + 101]
            targets = Tensor(block[1:], backend=backend)
            losses.append(loss(Tensor(table[block[:-1]], backend=backend), targets).item())
            counts.append(int(loss.count_targets(targets).item()))
        found[name] = perplexity(losses, counts)
        whole = each_loss(table[test[:-1]], test[1:])
        assert found[name] == pytest.approx(math.exp(whole.mean()))
    assert found["fair"] == pytest.approx(V)
    assert found["pairs"] < found["frequencies"] < found["fair"]


def test_a_linear_layer_is_judged_by_each_loss(backend: str) -> None:
    layer = Linear(5, 3, backend=backend)
    x = RNG.standard_normal((2, 4, 5)).astype(np.float32)
    y = layer(Tensor(x, backend=backend))
    values = y.numpy()
    targets = RNG.integers(0, 3, (2, 4))
    loss = CrossEntropyLoss()(y, Tensor(targets, backend=backend))
    assert loss.item() == pytest.approx(each_loss(values, targets).mean(), rel=1e-5)
    wanted = RNG.standard_normal((2, 4, 3)).astype(np.float32)
    error = MSELoss()(y, Tensor(wanted, backend=backend))
    assert error.item() == pytest.approx(np.mean((values - wanted) ** 2), rel=1e-5)
    assert str(loss.dtype).endswith("float32")
    assert loss.shape == error.shape == ()


# Each exercise by itself, on every backend


@pytest.mark.parametrize("shape", [(6,), (2, 3), ()])
def test_mse_is_the_mean_of_all_squares(shape: tuple[int, ...], backend: str) -> None:
    x, y = (np.asarray(RNG.standard_normal(shape)) for _ in range(2))
    loss = MSELoss()(Tensor(x, backend=backend), Tensor(y, backend=backend))
    assert loss.item() == pytest.approx(np.mean((x - y) ** 2))


@pytest.mark.parametrize("loss", [MSELoss(), BinaryCrossEntropyLoss()], ids=repr)
def test_shapes_that_broadcast_raise(loss: Any, backend: str) -> None:
    p, t = np.full((4, 1), 0.5), np.full(4, 0.5)
    with pytest.raises(ValueError, match="same shape"):
        loss(Tensor(p, backend=backend), Tensor(t, backend=backend))


def test_binary_cross_entropy_follows_the_formula(backend: str) -> None:
    p, t = RNG.uniform(0.05, 0.95, (3, 4)), RNG.uniform(0, 1, (3, 4))
    expected = -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))
    for loss in (binary_cross_entropy, BinaryCrossEntropyLoss()):
        found = loss(Tensor(p, backend=backend), Tensor(t, backend=backend))
        assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("p", "t", "expected"), [(0.0, 1.0, 100), (1.0, 0.0, 100), (0.0, 0.0, 0), (1e-40, 1.0, 92.10)]
)
def test_logarithms_are_limited_to_100(p: float, t: float, expected: float, backend: str) -> None:
    loss = binary_cross_entropy(Tensor([p], backend=backend), Tensor([t], backend=backend))
    assert loss.item() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("p", "t"), [(1.5, 1.0), (-0.5, 0.0), (0.5, 1.5)])
def test_numbers_that_are_no_probabilities_raise(p: float, t: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        BinaryCrossEntropyLoss()(Tensor([p]), Tensor([t]))


@pytest.mark.parametrize("spread", [1.0, 1000.0])
def test_log_probabilities_of_rows_far_apart(spread: float, backend: str) -> None:
    rows = RNG.standard_normal((5, 4)) + spread * RNG.standard_normal((5, 1))
    x = Tensor(rows, backend=backend)
    found = log_probabilities(x.backend.xp, x._array)
    expected = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(x.backend.to_numpy(found), expected, atol=1e-9)


@pytest.mark.parametrize("ignored", [-100, 0, 2])
def test_one_hot_rows_of_ignored_targets_are_zero(ignored: int, backend: str) -> None:
    targets = np.array([[0, 2, 1], [3, 2, 2]])
    xp, array = Tensor(0.0, backend=backend).backend.xp, Tensor(targets, backend=backend)
    hit, counted = one_hot_targets(xp, array._array, 4, ignored, xp.float32)
    keep = (targets != ignored).reshape(6, 1)
    to_numpy = array.backend.to_numpy
    np.testing.assert_array_equal(to_numpy(hit), np.eye(4)[targets.reshape(6)] * keep)
    np.testing.assert_array_equal(to_numpy(counted), keep)


@pytest.mark.parametrize("ignored", [-100, 0, 4])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (2, 3, 4)])
def test_cross_entropy_is_the_mean_over_the_targets_that_count(
    shape: tuple[int, ...], ignored: int, backend: str
) -> None:
    logits, targets = RNG.standard_normal((*shape, 5)) * 3, RNG.integers(0, 5, shape)
    targets.flat[0], targets.flat[1] = 1, 4
    each, keep = each_loss(logits, targets), targets.reshape(-1) != ignored
    x, t = Tensor(logits, backend=backend), Tensor(targets, backend=backend)
    loss = CrossEntropyLoss(ignored)
    assert loss(x, t).item() == pytest.approx(each[keep].mean())
    assert cross_entropy(x, t, ignore_index=ignored).item() == pytest.approx(each[keep].mean())
    assert loss.count_targets(t).item() == keep.sum()


def test_cross_entropy_with_classes_of_probability_0(backend: str) -> None:
    logits = Tensor([[0.0, -math.inf, 0.0]], backend=backend)
    loss = CrossEntropyLoss()
    assert loss(logits, Tensor([2], backend=backend)).item() == pytest.approx(math.log(2))
    assert loss(logits, Tensor([1], backend=backend)).item() == math.inf
    assert math.isnan(loss(logits, Tensor([-100], backend=backend)).item())


@pytest.mark.parametrize("wrong", [3, -1])
def test_classes_that_do_not_exist_raise(wrong: int) -> None:
    with pytest.raises(IndexError, match="outside of the 3 classes"):
        CrossEntropyLoss()(Tensor(np.zeros((2, 3))), Tensor([0, wrong]))


def test_perplexity_weights_batches_by_their_targets() -> None:
    each, cuts = RNG.uniform(0, 3, 20), (0, 7, 7, 8, 20)
    parts = [each[a:b] for a, b in pairwise(cuts)]
    losses = [part.mean() if len(part) else math.nan for part in parts]
    found = perplexity(losses, [len(part) for part in parts])
    assert found == pytest.approx(math.exp(each.mean()))
    with pytest.raises(ValueError, match="target"):
        perplexity([], [])
