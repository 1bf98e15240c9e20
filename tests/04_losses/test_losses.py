"""Lesson 04: losses and their gradients equal PyTorch's."""

import math
from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    Embedding,
    Linear,
    Module,
    MSELoss,
    ReLU,
    Sequential,
    Tensor,
    no_grad,
    relu,
    softplus,
)

RNG = np.random.default_rng(0)


def compare(loss: Module, reference: Any, prediction: np.ndarray, target: np.ndarray) -> None:
    """Compare value and gradient with PyTorch's, in the dtype of `prediction`."""
    torch = require("torch")
    x, their_x = Tensor(prediction, True), torch.tensor(prediction, requires_grad=True)
    value, expected = loss(x, Tensor(target)), reference(torch, their_x, torch.tensor(target))
    value.backward()
    expected.backward()
    assert value.shape == ()
    assert x.grad is not None
    tolerance: Any = {"rtol": 2e-6, "atol": 1e-6}
    if prediction.dtype == np.float64:
        tolerance = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(value.item(), expected.item(), **tolerance)
    np.testing.assert_allclose(x.grad.numpy(), their_x.grad.numpy(), **tolerance)


def torch_cross_entropy(torch: Any, x: Any, y: Any, ignore_index: int = -100) -> Any:
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1)
    return torch.nn.functional.cross_entropy(x, y, ignore_index=ignore_index)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (2, 3, 4), (1,)])
@pytest.mark.parametrize("ignore_index", [-100, 0])
def test_cross_entropy_equals_pytorch(
    shape: tuple[int, ...], ignore_index: int, dtype: str
) -> None:
    logits = (RNG.standard_normal((*shape, 5)) * 4).astype(dtype)
    target = RNG.integers(1, 5, shape)
    target.flat[1::3] = ignore_index

    def reference(torch: Any, x: Any, y: Any) -> Any:
        return torch_cross_entropy(torch, x, y, ignore_index)

    compare(CrossEntropyLoss(ignore_index), reference, logits, target)


def test_cross_entropy_of_large_logits_equals_pytorch() -> None:
    logits = np.array([[1e4, 0.0, -1e4], [-1e4, 1e4, 0.0]], np.float32)
    compare(CrossEntropyLoss(), torch_cross_entropy, logits, np.array([0, 2]))


@pytest.mark.parametrize("row_spread", [1.0, 50.0, 1e4])
@pytest.mark.parametrize("hidden", [False, True])
def test_cross_entropy_of_many_rows_equals_pytorch(row_spread: float, hidden: bool) -> None:
    """The NumPy kernel shifts many rows by one maximum if they are close enough to each other.

    Where `hidden`, all classes but the target have a logit of -inf.
    """
    logits = RNG.standard_normal((100, 64)) + row_spread * RNG.standard_normal((100, 1))
    target = RNG.integers(0, 32, 100)
    if hidden:
        logits[:, 32:] = -np.inf
    compare(CrossEntropyLoss(), torch_cross_entropy, logits, target)


def test_cross_entropy_of_equal_logits_is_the_log_of_their_number(backend: str) -> None:
    loss = CrossEntropyLoss()(
        Tensor(np.zeros((2, 3, 65)), backend=backend),
        Tensor([[1, 2, 3], [0, 64, 7]], backend=backend),
    )
    np.testing.assert_allclose(loss.numpy(), math.log(65), rtol=1e-12)


def test_cross_entropy_takes_int32_targets(backend: str) -> None:
    logits, target = RNG.standard_normal((4, 3)), np.array([0, 1, -100, 2])
    losses = [
        CrossEntropyLoss()(
            Tensor(logits, backend=backend), Tensor(target.astype(t), backend=backend)
        )
        for t in (np.int32, np.int64)
    ]
    assert losses[0].tolist() == losses[1].tolist()


@pytest.mark.parametrize(
    ("logits", "target"),
    [
        (np.zeros((4, 3)), np.zeros(4)),
        (np.zeros((4, 3)), np.zeros((4, 3), int)),
        (np.zeros((4, 3)), np.zeros(3, int)),
        (np.zeros((2, 4, 3)), np.zeros(8, int)),
    ],
    ids=["floats", "one-hot", "another length", "flattened"],
)
def test_cross_entropy_with_a_wrong_shape_or_dtype_raises(
    logits: np.ndarray, target: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=r"cross entropy needs logits \(\.\.\., V\)"):
        CrossEntropyLoss()(Tensor(logits), Tensor(target))


EVERYWHERE = pytest.mark.parametrize("backend", ["numpy", "reference", "strict"])


@EVERYWHERE
@pytest.mark.parametrize("wrong", [3, -1, 200])
def test_cross_entropy_with_a_target_out_of_range_raises(wrong: int, backend: str) -> None:
    logits = Tensor(np.zeros((2, 3)), backend=backend)
    with pytest.raises(IndexError, match="outside of the 3 classes"):
        CrossEntropyLoss()(logits, Tensor([0, wrong], backend=backend))
    with pytest.raises(IndexError, match="outside of the 3 classes"):
        CrossEntropyLoss(0)(logits, Tensor([0, wrong], backend=backend))


@EVERYWHERE
@pytest.mark.parametrize("wrong", [5, -1])
def test_embedding_of_an_id_out_of_range_raises(wrong: int, backend: str) -> None:
    with pytest.raises(IndexError, match=rf"token id {wrong} is outside of the vocabulary"):
        Embedding(5, 2, backend=backend)(Tensor([0, wrong], backend=backend))


@EVERYWHERE
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32])
@pytest.mark.parametrize("ignore_index", [-100, 255, 0])
def test_targets_may_have_any_integer_dtype(dtype: Any, ignore_index: int, backend: str) -> None:
    logits = RNG.standard_normal((4, 3))
    target = np.array([0, 1, 2, 1])
    small, large = (
        CrossEntropyLoss(ignore_index)(
            Tensor(logits, backend=backend), Tensor(t, backend=backend)
        ).item()
        for t in (target.astype(dtype), target)
    )
    assert small == large


@EVERYWHERE
def test_targets_may_be_arrays_or_lists(backend: str) -> None:
    p = Tensor([[0.25, 0.75], [0.5, 0.5]], backend=backend)
    for loss, target in [
        (CrossEntropyLoss(), [1, 0]),
        (MSELoss(), [[0, 1], [1, 0]]),
        (BinaryCrossEntropyLoss(), [[0, 1], [1, 0]]),
    ]:
        expected = loss(p, Tensor(target, backend=backend)).item()
        assert loss(p, target).item() == expected
        assert loss(p, np.array(target)).item() == expected
    embed = Embedding(3, 2, backend=backend)
    assert embed([1, 0]).tolist() == embed(Tensor([1, 0], backend=backend)).tolist()


@pytest.mark.parametrize("loss", [MSELoss(), BinaryCrossEntropyLoss(), CrossEntropyLoss()])
@pytest.mark.parametrize("wrong", ["a", None, [[1], [1, 2]]])
def test_a_target_that_is_no_tensor_raises(loss: Module, wrong: Any) -> None:
    with pytest.raises(TypeError, match="the target"):
        loss(Tensor([[0.5]]), wrong)
    with pytest.raises(TypeError, match="needs a Tensor as prediction"):
        loss(np.ones((1, 1)), Tensor([1]))


def test_boolean_classes_raise(backend: str) -> None:
    with pytest.raises(TypeError, match="needs integer targets, not bool"):
        CrossEntropyLoss()(Tensor([[0.0, 1.0]], backend=backend), Tensor([True], backend=backend))
    with pytest.raises(TypeError, match="must be integers"):
        Embedding(3, 2, backend=backend)(Tensor([True], backend=backend))


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8"])
def test_binary_cross_entropy_takes_integer_and_boolean_targets(dtype: str, backend: str) -> None:
    p, labels = Tensor([0.25, 0.75], backend=backend), Tensor([0, 1], backend=backend)
    loss = BinaryCrossEntropyLoss()(p, labels.to(dtype))
    assert loss.dtype == p.dtype
    assert loss.item() == pytest.approx(-math.log(0.75))


@pytest.mark.parametrize(
    ("p", "target", "name"),
    [([1.5], [1.0], "predictions"), ([-0.1], [1.0], "predictions"), ([0.5], [2], "targets")],
)
def test_binary_cross_entropy_outside_of_0_and_1_raises(p: Any, target: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"BinaryCrossEntropyLoss needs {name} between 0 and 1"):
        BinaryCrossEntropyLoss()(Tensor(p), Tensor(target))


def test_binary_cross_entropy_of_scores_is_nan_on_a_device(strict: str) -> None:
    """No value is read there, which would make the host wait."""
    p, t = Tensor([3.0, -2.0], backend=strict), Tensor([1.0, 0.0], backend=strict)
    assert math.isnan(BinaryCrossEntropyLoss()(p, t).numpy())


def test_losses_of_nan_are_nan(backend: str) -> None:
    nan = Tensor([[math.nan, 0.5]], backend=backend)
    target = Tensor([[1.0, 0.0]], backend=backend)
    classes = Tensor([1], backend=backend)
    for loss in (
        BinaryCrossEntropyLoss()(nan, target),
        MSELoss()(nan, target),
        CrossEntropyLoss()(nan, classes),
        relu(nan).sum(),
        softplus(nan).sum(),
    ):
        assert math.isnan(loss.numpy())


def test_a_diverged_model_with_relu_shows_nan() -> None:
    model = Sequential(Linear(2, 8), ReLU(), Linear(8, 1))
    with no_grad():
        model[0].weight[0, 0] = math.nan
    loss = MSELoss()(model(Tensor([[1.0, 2.0]])), Tensor([[1.0]]))
    assert math.isnan(loss.item())


def test_binary_cross_entropy_has_a_gradient_for_targets(backend: str) -> None:
    torch = require("torch")
    p, t = RNG.uniform(0.1, 0.9, (2, 3)), RNG.uniform(0.1, 0.9, (2, 3))
    target, their_target = Tensor(t, True, backend=backend), torch.tensor(t, requires_grad=True)
    BinaryCrossEntropyLoss()(Tensor(p, backend=backend), target).backward()
    torch_binary_cross_entropy(torch, torch.tensor(p), their_target).backward()
    assert target.grad is not None
    np.testing.assert_allclose(target.grad.numpy(), their_target.grad.numpy(), rtol=1e-12)


def test_cross_entropy_with_all_targets_ignored_equals_pytorch() -> None:
    logits = np.zeros((2, 3))
    compare(CrossEntropyLoss(), torch_cross_entropy, logits, np.array([-100, -100]))
    assert math.isnan(CrossEntropyLoss()(Tensor(logits), Tensor([-100, -100])).item())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6,), (2, 3), ()])
def test_mse_equals_pytorch(shape: tuple[int, ...], dtype: str) -> None:
    prediction, target = (np.asarray(RNG.standard_normal(shape), dtype) for _ in range(2))
    compare(MSELoss(), lambda torch, x, y: torch.nn.functional.mse_loss(x, y), prediction, target)


def torch_binary_cross_entropy(torch: Any, x: Any, y: Any) -> Any:
    return torch.nn.functional.binary_cross_entropy(x, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_cross_entropy_equals_pytorch(dtype: str) -> None:
    prediction = RNG.uniform(0.01, 0.99, (4, 5)).astype(dtype)
    for target in (RNG.integers(0, 2, (4, 5)), RNG.uniform(0, 1, (4, 5))):
        compare(
            BinaryCrossEntropyLoss(), torch_binary_cross_entropy, prediction, target.astype(dtype)
        )


def test_binary_cross_entropy_of_probabilities_0_and_1_equals_pytorch() -> None:
    """log(0) is limited to -100, and the gradient is finite."""
    certain = np.array([0.0, 0.0, 1.0, 1.0], np.float32)
    compare(
        BinaryCrossEntropyLoss(),
        torch_binary_cross_entropy,
        certain,
        np.array([0, 1, 0, 1], np.float32),
    )


@pytest.mark.parametrize("loss", [MSELoss(), BinaryCrossEntropyLoss()], ids=lambda m: repr(m))
def test_shapes_that_differ_but_broadcast_raise(loss: Module) -> None:
    with pytest.raises(ValueError, match=r"of the same shape, got \(4, 1\) and \(4,\)"):
        loss(Tensor(np.full((4, 1), 0.5)), Tensor(np.full(4, 0.5)))


@pytest.mark.parametrize("loss", [MSELoss(), BinaryCrossEntropyLoss(), CrossEntropyLoss()])
def test_losses_are_equal_on_the_strict_backend(loss: Module, strict: str) -> None:
    prediction = RNG.uniform(0.1, 0.9, (4, 3))
    target = np.array([0, 1, 2, -100]) if isinstance(loss, CrossEntropyLoss) else prediction**2
    results = []
    for backend in ("numpy", strict):
        x = Tensor(prediction, True, backend=backend)
        value = loss(x, Tensor(target, backend=backend))
        value.backward()
        assert x.grad is not None
        results.append((value.numpy(), x.grad.numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-12, atol=1e-14)


def test_float16_losses_of_more_rows_than_float16_can_count() -> None:
    logits = Tensor(np.zeros((70_000, 2), np.float16), True)
    loss = CrossEntropyLoss()(logits, Tensor(np.zeros(70_000, np.int64)))
    assert loss.dtype == np.float16
    assert loss.item() == pytest.approx(math.log(2), rel=1e-3)
    half = Tensor(np.full(70_000, 0.5, np.float16))
    assert BinaryCrossEntropyLoss()(half, half).item() == pytest.approx(math.log(2), rel=1e-3)


@pytest.mark.parametrize("ignore_index", [None, 1.7, "1", True])
def test_ignore_index_must_be_an_integer(ignore_index: Any) -> None:
    with pytest.raises(TypeError, match="CrossEntropyLoss: ignore_index must be an integer"):
        CrossEntropyLoss(ignore_index)
    assert CrossEntropyLoss(np.int64(3)).ignore_index == 3


def test_cross_entropy_of_a_scalar_is_an_error(backend: str) -> None:
    with pytest.raises(ValueError, match=r"logits \(..., V\)"):
        CrossEntropyLoss()(Tensor(1.0, backend=backend), Tensor(0, backend=backend))
