"""RNN, LSTM, GRU and their cells, against PyTorch's."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import load_module, require

import tinytorch
from tinytorch import Tensor, nn, zeros

against_torch = load_module(Path(__file__).with_name("against_torch.py"))
assert_same, pair = against_torch.assert_same, against_torch.pair

SETTINGS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"num_layers": 2, "batch_first": True},
    {"bidirectional": True},
    {"num_layers": 3, "bidirectional": True, "batch_first": True},
]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_equal_pytorch(name: str, settings: dict[str, Any]) -> None:
    ours, theirs = pair(name, 3, 4, **settings)
    assert_same(ours, theirs, normal(5, 6, 3))
    count = settings.get("num_layers", 1) * (2 if settings.get("bidirectional") else 1)
    B = 5 if settings.get("batch_first") else 6
    states = tuple(normal(count, B, 4) + i for i in range(2 if name == "LSTM" else 1))
    assert_same(ours, theirs, normal(5, 6, 3), states if name == "LSTM" else states[0])


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_one_sequence_without_a_batch(name: str) -> None:
    ours, theirs = pair(name, 3, 4, 2, batch_first=True)
    assert_same(ours, theirs, normal(5, 3))
    state = normal(2, 4)
    assert_same(ours, theirs, normal(5, 3), (state, state + 1) if name == "LSTM" else state)


def test_rnn_with_relu_equals_pytorch() -> None:
    assert_same(*pair("RNN", 3, 4, 2, "relu"), normal(5, 6, 3))


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_equal_pytorch(name: str) -> None:
    for settings in ({}, {"bias": False}):
        ours, theirs = pair(name, 3, 4, **settings)
        assert_same(ours, theirs, normal(6, 3))
        state = normal(6, 4)
        assert_same(ours, theirs, normal(6, 3), (state, state * 2) if "LSTM" in name else state)
    ours, theirs = pair(name, 3, 4)
    state = normal(4)
    assert_same(ours, theirs, normal(3), (state, state * 2) if "LSTM" in name else state)


def test_a_cell_repeated_computes_its_layer() -> None:
    layer, cell = nn.LSTM(3, 4), nn.LSTMCell(3, 4)
    for name, value in cell.named_parameters():
        value.data = getattr(layer, f"{name}_l0").detach()
    x = Tensor(normal(5, 2, 3))
    y, (h, c) = layer(x)
    state = None
    for t in range(5):
        state = cell(x[t], state)
        np.testing.assert_allclose(state[0].numpy(), y[t].numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state[1].numpy(), c[0].numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(h[0].numpy(), y[4].numpy())


def test_dropout_between_layers_applies_in_training_only() -> None:
    tinytorch.manual_seed(0)
    layer, x = nn.GRU(3, 4, 2, dropout=0.5), Tensor(normal(5, 2, 3))
    assert not np.array_equal(layer(x)[0].numpy(), layer(x)[0].numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].numpy(), layer(x)[0].numpy())
    with pytest.warns(UserWarning, match="no effect with one layer"):
        nn.GRU(3, 4, dropout=0.5)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_on_every_backend(name: str, backend: str) -> None:
    layer, x = getattr(nn, name)(3, 4, 2, bidirectional=True), normal(5, 2, 3)
    expected = layer(Tensor(x))[0]
    (expected * expected).sum().backward()
    gradients = [p.grad.numpy() for p in layer.parameters()]
    layer.to(backend).zero_grad()
    y = layer(Tensor(x, backend=backend))[0]
    (y * y).sum().backward()
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
    for p, wanted in zip(layer.parameters(), gradients, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), wanted, rtol=1e-3, atol=1e-5)


def test_printed_layers_look_as_in_pytorch() -> None:
    torch = require("torch")
    for text in (
        "RNN(3, 4)",
        "RNN(3, 4, nonlinearity='relu')",
        "LSTM(3, 4, 2, bias=False, batch_first=True, dropout=0.5)",
        "GRU(3, 4, bidirectional=True)",
        "GRUCell(3, 4)",
        "RNNCell(3, 4, False, 'relu')",
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert repr(eval(f"nn.{text}")) == repr(eval(f"torch.nn.{text}", {"torch": torch}))


ERRORS: list[tuple[Any, str]] = [
    (lambda: nn.LSTM(3, 4)(zeros(5, 2, 4)), r"\(T, B, 3\).* got \(5, 2, 4\)"),
    (lambda: nn.LSTM(3, 4, batch_first=True)(zeros(5, 3, 4)), r"\(B, T, 3\)"),
    (
        lambda: nn.LSTM(3, 4)(zeros(5, 2, 3), zeros(1, 2, 4)),
        r"tuple \(h_0, c_0\), got a tensor \(1, 2, 4\)",
    ),
    (
        lambda: nn.GRU(3, 4)(zeros(5, 2, 3), zeros(1, 5, 4)),
        r"a state of shape \(1, 2, 4\), got \(1, 5, 4\)",
    ),
    (lambda: nn.GRU(3, 4)(zeros(0, 2, 3)), "at least one step"),
    (lambda: nn.GRU(3, 4)([1.0]), "takes tensors, not list"),
    (lambda: nn.GRU(3, 0), "hidden_size must be at least 1"),
    (lambda: nn.RNN(3, 4, nonlinearity="gelu"), '"tanh" or "relu", got \'gelu\''),
    (lambda: nn.RNN(3, 4, 1, True), '"tanh" or "relu", got True'),
    (lambda: nn.LSTM(3, 4, proj_size=2), "proj_size must be 0"),
    (lambda: nn.LSTMCell(3, 4)(zeros(2, 3), zeros(2, 4)), r"tuple \(h, c\)"),
    (
        lambda: nn.GRUCell(3, 4)(zeros(2, 3), zeros(3, 4)),
        r"state of shape \(2, 4\), got a tensor \(3, 4\)",
    ),
    (lambda: nn.GRUCell(3, 4)(zeros(2, 4)), r"an input \(B, 3\) or \(3,\)"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_wrong_arguments_are_errors_that_name_the_right_ones(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()
