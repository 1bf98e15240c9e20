"""Lesson 02 with tensors of lesson 01, on real counts, and each exercise on every backend."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch.activations import (
    GELU,
    ReLU,
    Sigmoid,
    Softmax,
    SquaredReLU,
    Tanh,
    gelu,
    log_softmax,
    relu,
    sigmoid,
    softmax,
    softmax_array,
    softplus,
    squared_relu,
    tanh,
)
from tinytorch.tensor import Tensor

VALUES = np.random.default_rng(0).standard_normal((2, 3, 5)) * 3
TEXT = """Call me Ishmael. Some years ago - never mind how long precisely - having little or no
money in my purse, and nothing particular to interest me on shore, I thought I would sail about a
little and see the watery part of the world."""

FUNCTIONS: dict[str, tuple[Any, Any, Callable[[np.ndarray], np.ndarray]]] = {
    "relu": (relu, ReLU, lambda x: np.maximum(x, 0)),
    "squared_relu": (squared_relu, SquaredReLU, lambda x: np.maximum(x, 0) ** 2),
    "sigmoid": (sigmoid, Sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (tanh, Tanh, np.tanh),
    "gelu": (
        gelu,
        GELU,
        lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "softplus": (softplus, None, lambda x: np.log(1 + np.exp(x))),
    "softmax": (softmax, Softmax, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    "log_softmax": (
        log_softmax,
        None,
        lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
    ),
}
EACH = pytest.mark.parametrize("name", FUNCTIONS)


@EACH
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_values_on_every_backend(name: str, dtype: str, tolerance: float, backend: str) -> None:
    function, module, expected = FUNCTIONS[name]
    x = Tensor(VALUES, dtype=dtype, backend=backend)
    for y in [function(x)] + ([module().forward(x)] if module else []):
        assert str(y.dtype).endswith(dtype)
        np.testing.assert_allclose(y.numpy(), expected(VALUES), rtol=tolerance, atol=tolerance)


@EACH
def test_extreme_numbers_give_no_nan(name: str, backend: str) -> None:
    x = Tensor([[1e4, -1e4, 0.0], [88.0, -104.0, 1e4]], backend=backend)
    assert np.isfinite(FUNCTIONS[name][0](x).numpy()).all()


@EACH
def test_nan_stays_nan(name: str, backend: str) -> None:
    assert np.isnan(FUNCTIONS[name][0](Tensor([[math.nan]], backend=backend)).numpy()).all()


@EACH
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 0)], ids=str)
def test_shapes(name: str, shape: tuple[int, ...], backend: str) -> None:
    x = Tensor(np.ones(shape, np.float32), backend=backend)
    assert FUNCTIONS[name][0](x).shape == shape


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "relu"])
def test_integers_become_floats(name: str, backend: str) -> None:
    function, _, expected = FUNCTIONS[name]
    y = function(Tensor([[-1, 0, 2]], backend=backend))
    assert str(y.dtype).endswith("float32")
    np.testing.assert_allclose(y.numpy(), expected(np.array([[-1.0, 0.0, 2.0]])), rtol=1e-5)


def test_relu_keeps_integers(backend: str) -> None:
    y = relu(Tensor([-1, 0, 2], backend=backend))
    assert str(y.dtype).endswith("int64")
    assert y.tolist() == [0, 0, 2]


@pytest.mark.parametrize("axis", [0, 1, 2, -3, (0, 2), (2, 1)], ids=str)
def test_softmax_over_other_axes(axis: Any, backend: str) -> None:
    x = Tensor(VALUES, backend=backend)
    powers = np.exp(VALUES)
    expected = powers / powers.sum(axis, keepdims=True)
    np.testing.assert_allclose(softmax(x, axis=axis).numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(log_softmax(x, axis=axis).numpy(), np.log(expected), rtol=1e-5)
    if isinstance(axis, int):
        np.testing.assert_allclose(Softmax(axis).forward(x).numpy(), expected, rtol=1e-5)


def test_hidden_scores_have_no_share(backend: str) -> None:
    x = Tensor([[0.0, -math.inf, 0.0], [-math.inf] * 3], backend=backend)
    expected = [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    assert softmax(x).tolist() == expected
    shares = softmax_array(x.backend.xp, x._array)
    np.testing.assert_array_equal(x.backend.to_numpy(shares), expected)


@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_a_constant_changes_nothing(function: Any, backend: str) -> None:
    x = np.random.default_rng(1).integers(-5, 5, (4, 6)).astype(np.float32)
    here, there = (Tensor(x + c, backend=backend) for c in (0, 1024))
    np.testing.assert_allclose(function(here).numpy(), function(there).numpy(), atol=1e-3)


def test_the_softmax_of_log_counts_is_the_frequency(backend: str) -> None:
    """The letters of a text: their frequencies, and the entropy in nats."""
    counts = np.array(list(Counter(TEXT.lower()).values()), np.float32)
    shares = counts / counts.sum()
    scores = Tensor(np.log(counts), backend=backend)
    np.testing.assert_allclose(softmax(scores).numpy(), shares, rtol=1e-5)
    entropy = -(softmax(scores) * log_softmax(scores)).sum()
    np.testing.assert_allclose(entropy.numpy(), -(shares * np.log(shares)).sum(), rtol=1e-5)
    assert 2.5 < entropy.item() < 3.2


def test_functions_are_related(backend: str) -> None:
    x = Tensor(VALUES, dtype="float64", backend=backend)
    np.testing.assert_allclose(tanh(x).numpy(), (2 * sigmoid(2 * x) - 1).numpy(), atol=1e-12)
    np.testing.assert_allclose((sigmoid(x) + sigmoid(-x)).numpy(), 1, atol=1e-12)
    np.testing.assert_allclose((softplus(x) - softplus(-x)).numpy(), VALUES, atol=1e-12)
    np.testing.assert_allclose((relu(x) - relu(-x)).numpy(), VALUES)
    np.testing.assert_allclose(squared_relu(x).numpy(), (relu(x) * relu(x)).numpy())
    np.testing.assert_allclose((gelu(x) - gelu(-x)).numpy(), VALUES, atol=1e-12)
