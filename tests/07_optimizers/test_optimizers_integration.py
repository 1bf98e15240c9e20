"""Lesson 07 with lessons 01 to 06: optimizers on every backend, and learning of real digits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch.activations import ReLU
from tinytorch.autograd import no_grad
from tinytorch.data.digits import small_digits
from tinytorch.layers import Linear
from tinytorch.losses import CrossEntropyLoss
from tinytorch.modules.containers import Sequential
from tinytorch.modules.module import Parameter
from tinytorch.ops.random import manual_seed
from tinytorch.optimizers import SGD, Adam, AdamW, Muon, Optimizer
from tinytorch.tensor import Tensor

Make = Callable[[Any], Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "SGD": lambda p: SGD(p, lr=0.2),
    "SGD with decay": lambda p: SGD(p, lr=0.2, weight_decay=0.001),
    "momentum": lambda p: SGD(p, lr=0.05, momentum=0.8),
    "dampening": lambda p: SGD(p, lr=0.1, momentum=0.8, dampening=0.5),
    "Nesterov": lambda p: SGD(p, lr=0.05, momentum=0.8, nesterov=True),
    "Adam": lambda p: Adam(p, lr=0.02),
    "Adam with decay": lambda p: Adam(p, lr=0.02, weight_decay=0.001),
    "amsgrad": lambda p: Adam(p, lr=0.02, amsgrad=True),
    "AdamW": lambda p: AdamW(p, lr=0.02, weight_decay=0.1),
    "Muon": lambda p: Muon(p, lr=0.05, weight_decay=0.01),
}
EACH = pytest.mark.parametrize("name", OPTIMIZERS)


def problem(backend: str) -> tuple[Parameter, Callable[[], Tensor]]:
    """A matrix, and its squared distance to another one, steeper in some rows than in others."""
    rng = np.random.default_rng(7)
    weight = Parameter(rng.standard_normal((4, 3)).astype(np.float32), backend=backend)
    target = Tensor(rng.standard_normal((4, 3)).astype(np.float32), backend=backend)
    scale = Tensor(np.array([[0.5], [1.0], [2.0], [4.0]], np.float32), backend=backend)

    def loss() -> Tensor:
        difference = weight - target
        return (difference * difference * scale).sum() / 4.0

    return weight, loss


def steps(optimizer: Optimizer, loss: Callable[[], Tensor], count: int) -> list[float]:
    history = []
    for _ in range(count):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        history.append(value.item())
    return history


@EACH
def test_the_loss_falls(name: str, backend: str) -> None:
    weight, loss = problem(backend)
    history = steps(OPTIMIZERS[name]([weight]), loss, 60)
    assert history[-1] < 0.3 * history[0]


@EACH
def test_backends_take_the_same_steps(name: str, backend: str) -> None:
    ends = []
    for own in ("numpy", backend):
        weight, loss = problem(own)
        steps(OPTIMIZERS[name]([weight]), loss, 10)
        ends.append(weight.numpy())
    np.testing.assert_allclose(ends[0], ends[1], rtol=2e-3, atol=2e-4)


@EACH
def test_training_goes_on_from_a_saved_state(name: str) -> None:
    weight, loss = problem("numpy")
    optimizer = OPTIMIZERS[name]([weight])
    steps(optimizer, loss, 5)
    state, middle = optimizer.state_dict(), weight.numpy().copy()
    steps(optimizer, loss, 5)
    end = weight.numpy().copy()
    weight.data = middle
    other = OPTIMIZERS[name]([weight])
    other.load_state_dict(state)
    steps(other, loss, 5)
    np.testing.assert_array_equal(weight.numpy(), end)


def test_groups_and_parameters_without_a_gradient() -> None:
    a, b, c = (Parameter(np.ones(2)) for _ in range(3))
    optimizer = AdamW([{"params": [a, b]}, {"params": [c], "lr": 0.5}], lr=0.1, weight_decay=0.0)
    for step in range(3):
        for p in (a, c):
            p.grad = Tensor(np.ones(2))
        b.grad = Tensor(np.ones(2)) if step == 2 else None
        optimizer.step()
    np.testing.assert_allclose(a.numpy(), 0.7, rtol=1e-5)
    np.testing.assert_allclose(b.numpy(), 0.9, rtol=1e-5)  # its first step
    np.testing.assert_allclose(c.numpy(), -0.5, rtol=1e-5)


def test_a_closure_computes_the_gradients() -> None:
    weight, loss = problem("numpy")
    optimizer = SGD([weight], lr=0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    with no_grad():
        first = optimizer.step(closure).item()
    assert loss().item() < first


def hidden_and_rest(model: Sequential) -> list[Optimizer]:
    hidden = [model[0].weight, model[2].weight]
    rest = [p for p in model.parameters() if all(p is not h for h in hidden)]
    return [Muon(hidden, lr=0.03), AdamW(rest, lr=0.003)]


RACERS: dict[str, Callable[[Sequential], list[Optimizer]]] = {
    "momentum": lambda model: [SGD(model.parameters(), lr=0.1, momentum=0.9)],
    "Adam": lambda model: [Adam(model.parameters(), lr=0.01)],
    "AdamW": lambda model: [AdamW(model.parameters(), lr=0.01)],
    "Muon and AdamW": hidden_and_rest,
}


@pytest.mark.parametrize("name", RACERS)
def test_a_network_learns_digits(name: str) -> None:
    pytest.importorskip("sklearn")  # a course has no `require`
    digits = small_digits()
    images, labels = Tensor(digits.images.reshape(-1, 64)), Tensor(digits.labels)
    manual_seed(0)
    model = Sequential(Linear(64, 64), ReLU(), Linear(64, 64), ReLU(), Linear(64, 10))
    optimizers = RACERS[name](model)
    criterion, rng = CrossEntropyLoss(), np.random.default_rng(0)
    for _ in range(200):
        chosen = rng.integers(0, len(digits.labels), 64)
        for optimizer in optimizers:
            optimizer.zero_grad()
        criterion(model(images[chosen]), labels[chosen]).backward()
        for optimizer in optimizers:
            optimizer.step()
    with no_grad():
        guesses = model(Tensor(digits.test_images.reshape(-1, 64))).numpy().argmax(axis=1)
    assert (guesses == digits.test_labels).mean() > 0.88
