"""Lesson 02: activations equal PyTorch's and are stable for extreme values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch import (
    GELU,
    Module,
    ReLU,
    Sigmoid,
    Softmax,
    SquaredReLU,
    Tanh,
    Tensor,
    log_softmax,
    softmax,
    softplus,
)

MODULES = {
    "relu": (ReLU(), lambda torch: torch.nn.ReLU()),
    "squared_relu": (SquaredReLU(), lambda torch: lambda x: torch.relu(x).square()),
    "sigmoid": (Sigmoid(), lambda torch: torch.nn.Sigmoid()),
    "tanh": (Tanh(), lambda torch: torch.nn.Tanh()),
    "gelu": (GELU(), lambda torch: torch.nn.GELU(approximate="tanh")),
    "softmax": (Softmax(), lambda torch: torch.nn.Softmax(dim=-1)),
    "softmax_first": (Softmax(axis=0), lambda torch: torch.nn.Softmax(dim=0)),
}
EACH = pytest.mark.parametrize(("module", "reference"), MODULES.values(), ids=MODULES)


@EACH
def test_values_and_gradients_equal_pytorch_in_float32(module: Module, reference: Any) -> None:
    torch = require("torch")
    values = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32) * 3
    ours, theirs = Tensor(values, True), torch.tensor(values, requires_grad=True)
    y, expected = module(ours), reference(torch)(theirs)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    (y * y).sum().backward()
    (expected * expected).sum().backward()
    assert ours.grad is not None
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-4, atol=1e-5)


@EACH
def test_large_inputs_give_finite_gradients_without_warnings(
    module: Module, reference: Any, backend: str
) -> None:
    x = Tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [88.0, -104.0, 1e4]], True, backend=backend)
    y = module(x)
    y.sum().backward()
    assert x.grad is not None
    assert np.isfinite(y.numpy()).all()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize(
    ("module", "at_minus_infinity", "at_infinity"),
    [
        (ReLU(), 0, np.inf),
        (SquaredReLU(), 0, np.inf),
        (Sigmoid(), 0, 1),
        (Tanh(), -1, 1),
        (softplus, 0, np.inf),
    ],
    ids=["relu", "squared_relu", "sigmoid", "tanh", "softplus"],
)
def test_limits_at_infinity(
    module: Callable[[Tensor], Tensor], at_minus_infinity: float, at_infinity: float, backend: str
) -> None:
    y = module(Tensor([-np.inf, np.inf], backend=backend))
    assert y.tolist() == [at_minus_infinity, at_infinity]


def test_softmax_is_zero_where_the_input_is_minus_infinity(backend: str) -> None:
    x = Tensor([[0.0, -np.inf, 0.0], [-np.inf] * 3], True, backend=backend)
    y = Softmax()(x)
    assert y.tolist() == [[0.5, 0, 0.5], [0, 0, 0]]
    (y * Tensor([1.0, 2.0, 3.0], backend=backend)).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [[-0.5, 0, 0.5], [0, 0, 0]], atol=1e-7)


def test_activations_leave_the_input_unchanged_and_return_a_tensor() -> None:
    x = Tensor([-1.0, 0.0, 1.0])
    for module, _ in MODULES.values():
        assert type(module(x)) is Tensor
        assert list(module.parameters()) == []
    assert x.tolist() == [-1, 0, 1]


@pytest.mark.parametrize("size", [8, 5000])
def test_gradient_of_gelu_at_zero(size: int) -> None:
    x = Tensor(np.array([0.0, -0.0, 1.0, -1.0] * (size // 4), np.float32), requires_grad=True)
    GELU()(x).sum().backward()
    assert x.grad is not None
    expected = [0.5, 0.5, 1.0829641, -0.0829641]
    np.testing.assert_allclose(x.grad.numpy()[:4], expected, atol=1e-6)


@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_softmax_over_several_axes(function: Any, backend: str) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 4))
    for axis, whole in (((0, 2), (1, 2, 0)), ((-1, 1), (0, 1, 2)), (None, (0, 1, 2))):
        x = Tensor(values, True, backend=backend)
        kept = 3 if axis == (0, 2) else 2 if axis == (-1, 1) else 1
        y = function(x, axis=axis)
        flat = function(Tensor(values.transpose(whole).reshape(kept, -1), backend=backend))
        shape = [values.shape[a] for a in whole]
        expected = flat.numpy().reshape(shape).transpose(np.argsort(whole))
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)
        (y * y).sum().backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy().sum(), 0, atol=1e-12)
