"""Ignored targets: steps on divided batches equal the step on one large batch.

Batches are divided by accumulation, among processes, and in evaluation.
"""

import sys
from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch import (
    SGD,
    CrossEntropyLoss,
    Linear,
    Module,
    MSELoss,
    Parameter,
    Tensor,
    Trainer,
    manual_seed,
)

IGNORED = -100
ROWS, LENGTH, CLASSES = 6, 4, 5

# Which targets are counted, (ROWS, LENGTH).
MASKS = {
    "all count": np.ones((ROWS, LENGTH), bool),
    "padding": np.arange(LENGTH) < np.array([[4], [1], [3], [4], [2], [1]]),
    "the second half has none": np.arange(ROWS)[:, None] < np.full((1, LENGTH), 3),
    "one target": (np.arange(ROWS)[:, None] == 4) & (np.arange(LENGTH) == 2),
    "none": np.zeros((ROWS, LENGTH), bool),
}
DIVISIONS = {
    "one batch": [6],
    "two batches": [3, 3],
    "uneven batches": [1, 4, 1],
    "rows": [1] * 6,
    "an empty batch": [4, 0, 2],
}
PROCESSES = [
    1,
    pytest.param(2, marks=pytest.mark.skipif(sys.platform != "linux", reason="needs fork")),
    pytest.param(3, marks=pytest.mark.skipif(sys.platform != "linux", reason="needs fork")),
]
EACH_MASK = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
EACH_DIVISION = pytest.mark.parametrize("sizes", DIVISIONS.values(), ids=DIVISIONS)


def batch(mask: np.ndarray, backend: str = "numpy") -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, LENGTH, 3))
    y = np.where(mask, rng.integers(0, CLASSES, (ROWS, LENGTH)), IGNORED)
    return Tensor(x, backend=backend), Tensor(y, backend=backend)


def divided(x: Tensor, y: Tensor, sizes: list[int]) -> list[tuple[Tensor, Tensor]]:
    ends = np.cumsum(sizes).tolist()
    starts = [end - size for end, size in zip(ends, sizes, strict=True)]
    return [(x[a:b], y[a:b]) for a, b in zip(starts, ends, strict=True)]


def train(
    batches: Any, processes: int = 1, loss: Any = None, backend: str = "numpy"
) -> tuple[float, list[np.ndarray]]:
    """The loss of a step, and the gradients, which SGD with rate 1 subtracts from the weights."""
    manual_seed(1)
    model = Linear(3, CLASSES).to("float64").to(backend)
    before = [t.numpy().copy() for t in model.state_dict().values()]
    trainer = Trainer(
        model, SGD(model.parameters(), lr=1.0), loss or CrossEntropyLoss(), processes=processes
    )
    value = trainer.train_step(batches).item()
    after = model.state_dict().values()
    return value, [a - b.numpy() for a, b in zip(before, after, strict=True)]


def assert_same(found: Any, expected: Any) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-12, nan_ok=True)
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-14)


@EACH_MASK
@EACH_DIVISION
@pytest.mark.parametrize("processes", PROCESSES)
def test_divided_batches_equal_one_large_batch(
    mask: np.ndarray, sizes: list[int], processes: int
) -> None:
    x, y = batch(mask)
    expected = train([(x, y)])
    assert np.isnan(expected[0]) == (not mask.any())
    assert all(np.isfinite(gradient).all() for gradient in expected[1])
    assert_same(train(divided(x, y, sizes), processes), expected)


@pytest.mark.filterwarnings("ignore:invalid value")  # 0 / 0 on strict if no target counts
@EACH_MASK
@EACH_DIVISION
def test_accumulated_batches_equal_one_large_batch_on_every_backend(
    mask: np.ndarray, sizes: list[int], backend: str
) -> None:
    expected = train([batch(mask)])
    assert_same(train(divided(*batch(mask, backend), sizes), backend=backend), expected)


@EACH_MASK
def test_updates_equal_pytorch(mask: np.ndarray) -> None:
    torch = require("torch")
    x, y = batch(mask)
    manual_seed(1)
    model = Linear(3, CLASSES).to("float64")
    weight, bias = (torch.tensor(p.numpy(), requires_grad=True) for p in model.parameters())
    logits = torch.tensor(x.numpy()) @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(
        logits.reshape(-1, CLASSES), torch.tensor(y.numpy()).reshape(-1), reduction="sum"
    )
    loss.backward()
    count = max(1, int(mask.sum()))
    found = train(divided(x, y, [2, 4]), 2 if sys.platform == "linux" else 1)
    if mask.any():
        assert found[0] == pytest.approx(loss.item() / count)
    for ours, theirs in zip(found[1], (weight, bias), strict=True):
        np.testing.assert_allclose(ours, theirs.grad.numpy() / count, rtol=1e-10, atol=1e-14)


@EACH_MASK
@EACH_DIVISION
def test_evaluation_equals_the_loss_of_one_large_batch(mask: np.ndarray, sizes: list[int]) -> None:
    x, y = batch(mask)
    model = Linear(3, CLASSES).to("float64")
    trainer = Trainer(model, SGD(model.parameters()), CrossEntropyLoss())
    expected = CrossEntropyLoss()(model(x), y).item()
    found = trainer.evaluate(divided(x, y, sizes))
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


@EACH_MASK
@pytest.mark.parametrize("accumulation_steps", [1, 2, 3])
def test_train_epoch_returns_the_mean_over_counted_targets(
    mask: np.ndarray, accumulation_steps: int
) -> None:
    x, y = batch(mask)
    model = Linear(3, CLASSES).to("float64")
    trainer = Trainer(model, SGD(model.parameters(), lr=0.0), CrossEntropyLoss())
    expected = CrossEntropyLoss()(model(x), y).item()
    found = trainer.train_epoch(divided(x, y, [1, 2, 2, 1]), accumulation_steps)
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


class MaskedError(Module):
    """Mean squared error over the targets that are not NaN, with a parameter of its own."""

    def __init__(self) -> None:
        self.scale = Parameter(np.float64(2.0))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        known = target == target
        difference = (prediction - target.masked_fill(~known, 0.0)).masked_fill(~known, 0.0)
        total = known.to("float64").sum() + (known.to("float64").sum() == 0).to("float64")
        return self.scale * (difference * difference).sum() / total

    def count_targets(self, target: Tensor) -> Any:
        return (target == target).numpy().sum()


@EACH_MASK
@EACH_DIVISION
@pytest.mark.parametrize("processes", PROCESSES)
def test_custom_loss_with_count_targets(mask: np.ndarray, sizes: list[int], processes: int) -> None:
    x = batch(mask)[0]
    values = np.random.default_rng(1).standard_normal((ROWS, LENGTH, CLASSES))
    y = Tensor(np.where(mask[..., None], values, np.nan))
    expected = train([(x, y)], loss=MaskedError())
    assert_same(train(divided(x, y, sizes), processes, MaskedError()), expected)


@pytest.mark.parametrize("processes", PROCESSES)
def test_all_targets_count_if_the_loss_is_a_function(processes: int) -> None:
    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        return ((prediction - target) ** 2).mean()

    x = batch(MASKS["all count"])[0]
    y = Tensor(np.random.default_rng(1).standard_normal((ROWS, LENGTH, CLASSES)))
    expected = train([(x, y)], loss=MSELoss())
    assert_same(train(divided(x, y, [1, 3, 2]), processes, loss), expected)


class Flattened(Module):
    """Logits (B T, V) for inputs (B, T, 3)."""

    def __init__(self) -> None:
        self.layer = Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).reshape(-1, CLASSES)


@pytest.mark.parametrize("processes", PROCESSES)
def test_targets_with_another_first_axis_than_inputs(processes: int) -> None:
    x, y = batch(MASKS["padding"])
    results = []
    for batches in ([(x, y)], divided(x, y, [1, 5])):
        manual_seed(2)
        model = Flattened().to("float64")
        trainer = Trainer(model, SGD(model.parameters(), lr=1.0), CrossEntropyLoss(),
                          processes=processes)  # fmt: skip
        loss = trainer.train_step([(a, b.reshape(-1)) for a, b in batches]).item()
        results.append((loss, [t.numpy() for t in model.state_dict().values()]))
    assert_same(results[1], results[0])


class NumPyCount(CrossEntropyLoss):
    def count_targets(self, targets: Tensor) -> Any:
        return (targets.numpy() != self.ignore_index).sum()


@pytest.mark.parametrize("sizes", [[6], [2, 4]])
def test_float32_losses_stay_float32(sizes: list[int]) -> None:
    x, y = batch(MASKS["padding"])
    model = Linear(3, CLASSES)
    trainer = Trainer(model, SGD(model.parameters()), CrossEntropyLoss())
    loss = trainer.train_step(divided(x.to("float32"), y, sizes))
    trainer.loss_fn = NumPyCount()
    trainer.train_step(divided(x.to("float32"), y, sizes))
    assert str(loss.dtype) == "float32"
    assert all(str(p.dtype) == "float32" for p in model.parameters())
