"""Lesson 06 with lessons 01 to 04: gradients of every exercise on every backend, and learning."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch.activations import log_softmax, relu, sigmoid, softmax, tanh
from tinytorch.autograd import no_grad
from tinytorch.layers import Linear, linear
from tinytorch.losses import CrossEntropyLoss, MSELoss, cross_entropy
from tinytorch.ops.elementwise import exp, log
from tinytorch.ops.movement import getitem, permute, reshape
from tinytorch.ops.random import manual_seed
from tinytorch.ops.reductions import mean, sum
from tinytorch.tensor import Tensor

RNG = np.random.default_rng(6)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 2.0, shape)


FUNCTIONS: dict[str, tuple[Callable[..., Tensor], list[np.ndarray]]] = {
    "add": (lambda x, y: x + y, [positive(2, 3), positive(2, 3)]),
    "add a row": (lambda x, y: x + y, [positive(2, 3), positive(3)]),
    "subtract a column": (lambda x, y: x - y, [positive(2, 3), positive(2, 1)]),
    "subtract from a row": (lambda x, y: y - x, [positive(4, 2, 3), positive(1, 3)]),
    "multiply": (lambda x, y: x * y, [positive(2, 3), positive(2, 3)]),
    "multiply by a number": (lambda x, y: x * y, [positive(2, 3), positive()]),
    "multiply by itself": (lambda x: x * x * x, [positive(2, 3)]),
    "divide": (lambda x, y: x / y, [positive(2, 3), positive(2, 3)]),
    "divide a column": (lambda x, y: x / y, [positive(2, 1), positive(2, 3)]),
    "exp": (exp, [positive(2, 3)]),
    "log": (log, [positive(2, 3)]),
    "sum": (lambda x: sum(x, axis=1) * sum(x), [positive(2, 3)]),
    "mean": (lambda x: x - mean(x, axis=0, keepdims=True), [positive(4, 3)]),
    "reshape": (lambda x: reshape(x, shape=(3, 2)) * 2.0, [positive(2, 3)]),
    "permute": (lambda x: permute(x, axes=(2, 0, 1)) * 2.0, [positive(2, 3, 4)]),
    "slice": (lambda x: x[1:, 0] * 2.0, [positive(3, 2)]),
    "repeated index": (lambda x: getitem(x, key=([0, 0, 2],)) * 2.0, [positive(3, 2)]),
    "matmul": (lambda x, y: x @ y, [positive(2, 3), positive(3, 4)]),
    "matmul of a batch": (lambda x, y: x @ y, [positive(2, 2, 3), positive(3, 4)]),
    "matmul of two batches": (lambda x, y: x @ y, [positive(2, 4, 3), positive(2, 3, 2)]),
    "one matrix for a batch": (lambda x, y: x @ y, [positive(4, 3), positive(2, 3, 2)]),
    "matmul with a vector": (lambda x, y: x @ y, [positive(4, 3), positive(3)]),
    "relu": (lambda x: relu(x - 1.0), [positive(2, 3)]),
    "sigmoid": (sigmoid, [positive(2, 3)]),
    "tanh": (tanh, [positive(2, 3)]),
    "softmax": (softmax, [positive(2, 3)]),
    "softmax over axis 0": (lambda x: softmax(x, axis=0), [positive(4, 3)]),
    "log_softmax": (lambda x: log_softmax(x, axis=(0, 1)), [positive(2, 3)]),
    "linear": (linear, [positive(2, 4, 3), positive(5, 3), positive(5)]),
    "linear without a bias": (linear, [positive(4, 3), positive(5, 3)]),
    "cross_entropy": (
        lambda x: cross_entropy(x, Tensor([2, 0, -100, 1], backend=x.backend)),
        [positive(4, 3)],
    ),
    "a network": (
        lambda x, w, b, v: mean((tanh(x @ w + b) @ v) * (x @ w)),
        [positive(4, 3), positive(3, 2), positive(2), positive(2, 2)],
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_equal_small_changes(name: str, backend: str) -> None:
    function, values = FUNCTIONS[name]
    leaves = [Tensor(v, True, backend=backend) for v in values]
    result = function(*leaves)
    weights = np.cos(np.arange(result.size) + 1.0).reshape(result.shape)
    result.backward(Tensor(weights, dtype=result.dtype, backend=backend))
    for i, leaf in enumerate(leaves):
        expected, h = np.zeros_like(values[i]), 1e-6
        for place in np.ndindex(values[i].shape):
            for sign in (1, -1):
                moved = [v.copy() for v in values]
                moved[i][place] += sign * h
                output = function(*(Tensor(v, backend=backend) for v in moved)).numpy()
                expected[place] += sign * (output * weights).sum() / (2 * h)
        assert leaf.grad is not None
        np.testing.assert_allclose(leaf.grad.numpy(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_have_the_dtype_of_their_leaf(dtype: str, backend: str) -> None:
    x = Tensor([[0.5, 1.0], [2.0, 3.0]], True, dtype=dtype, backend=backend)
    y = softmax(relu(tanh(x @ x + x)) / sigmoid(x) - exp(-x) * log(x))
    loss = cross_entropy(y, Tensor([0, 1], backend=backend)) + y[[0, 0]].mean() + y.T.sum()
    loss.backward()
    assert x.grad is not None
    assert str(x.grad.dtype).endswith(dtype)


def test_a_long_chain_needs_no_recursion(backend: str) -> None:
    x = Tensor([1.0], True, backend=backend)
    y = x
    for _ in range(3000):
        y = y + x * 0.001
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(4.0, rel=1e-4)


def test_gradients_of_two_losses_add_up(backend: str) -> None:
    x = Tensor([2.0, 3.0], True, backend=backend)
    (x * x).sum().backward()
    (x * 10.0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [14.0, 16.0]


def test_paths_that_meet_do_not_write_into_each_other(backend: str) -> None:
    """add returns one array for both summands; the sum for one must not change the other."""
    x, y = (Tensor([1.0], True, backend=backend) for _ in range(2))
    a, b = x * 1.0, y * 1.0
    (a + b + a * 5.0 + a * 7.0).backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.item(), y.grad.item()) == (13.0, 1.0)


def test_a_second_backward_and_a_write_in_place_are_errors(backend: str) -> None:
    x = Tensor([2.0], True, backend=backend)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 8.0
    with pytest.raises(RuntimeError, match=r"multiply.*retain_graph=True"):
        y.backward()
    h = x * 1.0
    y = exp(h * h)
    h.data = [5.0]
    with pytest.raises(RuntimeError, match=r"multiply.*in place"):
        y.backward()


def test_no_grad_and_detach_leave_the_graph(backend: str) -> None:
    x = Tensor([2.0], True, backend=backend)
    with no_grad():
        assert not (x * x).requires_grad
    ((x * x).detach() * x).backward()
    assert x.grad is not None
    assert x.grad.item() == 4.0


def test_a_classifier_of_two_layers_learns_a_ring(backend: str) -> None:
    """A disc and the ring around it: no line separates them. Plain gradient descent."""
    manual_seed(3)
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * math.pi, 120), np.repeat([0.4, 1.0], 60)
    radius = radius + rng.uniform(-0.2, 0.2, 120)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    x = Tensor(points.astype(np.float32), backend=backend)
    targets = Tensor(np.repeat([0, 1], 60), backend=backend)
    first, second = Linear(2, 16, backend=backend), Linear(16, 2, backend=backend)
    parameters = [*first.parameters(), *second.parameters()]
    losses = []
    for _ in range(300):
        loss = CrossEntropyLoss()(second.forward(tanh(first.forward(x))), targets)
        loss.backward()
        losses.append(loss.item())
        descend(parameters, 1.0)
    right = second.forward(tanh(first.forward(x))).numpy().argmax(axis=1) == np.repeat([0, 1], 60)
    assert losses[-1] < 0.1 < 0.6 < losses[0]
    assert right.mean() > 0.97


def test_a_line_through_real_data(backend: str) -> None:
    """World records for 100 m (men), in seconds: about a hundredth faster each year."""
    year = np.array([1968, 1983, 1988, 1991, 1994, 1996, 1999, 2005, 2007, 2008, 2009])
    time = np.array([9.95, 9.93, 9.92, 9.86, 9.85, 9.84, 9.79, 9.77, 9.74, 9.69, 9.58])
    x = Tensor(((year - year.mean()) / year.std())[:, None], backend=backend)
    y = Tensor(time[:, None], backend=backend)
    manual_seed(0)
    line = Linear(1, 1, dtype="float64", backend=backend)
    for _ in range(200):
        MSELoss()(line.forward(x), y).backward()
        descend(list(line.parameters()), 0.1)
    slope, offset = np.polyfit((year - year.mean()) / year.std(), time, 1)
    assert line.weight.item() == pytest.approx(slope, abs=1e-6)
    assert line.bias is not None
    assert line.bias.item() == pytest.approx(offset, abs=1e-6)


def descend(parameters: list[Any], rate: float) -> None:
    """One step against the gradient."""
    with no_grad():
        for p in parameters:
            p.data = p.detach() - rate * p.grad
            p.grad = None
