"""Clipping by the updates of graphed steps equals clipping by a pass over the gradients."""

from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import (
    SGD,
    Adam,
    AdamW,
    Linear,
    MSELoss,
    Muon,
    Parameter,
    Sequential,
    Tensor,
    Trainer,
)
from tinytorch.optimizers import Optimizer


def optimizers(kind: str, model: Any) -> list[Optimizer]:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return {
        "AdamW": lambda: [AdamW(matrices + vectors, 0.1)],
        "Adam": lambda: [Adam(matrices + vectors, 0.1, weight_decay=0.1)],
        "maximize": lambda: [AdamW(matrices + vectors, 0.1, maximize=True)],
        "SGD": lambda: [SGD(matrices + vectors, 0.1, momentum=0.9)],
        "Muon and SGD": lambda: [Muon(matrices, 0.1), SGD(vectors, 0.1)],
    }[kind]()


def trained(kind: str, backend: str, max_norm: float, scale: float = 1.0) -> list[np.ndarray]:
    """The parameters after five steps; targets of size `scale`."""
    tinytorch.manual_seed(0)
    model = Sequential(Linear(3, 4), Linear(4, 2)).to(backend)
    trainer = Trainer(
        model, optimizers(kind, model), MSELoss(), grad_clip_norm=max_norm, cuda_graph=True
    )
    rng = np.random.default_rng(0)
    for _ in range(5):
        x, y = rng.standard_normal((6, 3)), scale * rng.standard_normal((6, 2))
        trainer.train_step([(Tensor(x.astype("f4"), backend=backend),
                             Tensor(y.astype("f4"), backend=backend))])  # fmt: skip
        assert trainer.grad_clip_norm == max_norm
    return [p.numpy().copy() for p in model.parameters()]


@pytest.mark.parametrize("max_norm", [0.05, 1e3, 0.0])
@pytest.mark.parametrize("kind", ["AdamW", "Adam", "maximize", "SGD", "Muon and SGD"])
def test_graphed_steps_with_clipping_equal_those_on_numpy(
    kind: str, max_norm: float, cupy_fp32: str
) -> None:
    found, expected = trained(kind, cupy_fp32, max_norm), trained(kind, "numpy", max_norm)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [np.nan, np.inf])
def test_a_norm_that_is_not_finite_spreads_as_on_numpy(scale: float, cupy_fp32: str) -> None:
    found, expected = (trained("SGD", b, 1.0, scale) for b in (cupy_fp32, "numpy"))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))


class Recorder(SGD):
    """Keeps the gradients that its updates read."""

    def update_group(self, group: Any, first: int, step: Any, lr: Any) -> list[int]:
        self.seen = [p.grad for p in group["params"]]
        return super().update_group(group, first, step, lr)


def test_an_optimizer_that_reads_the_gradients_itself_gets_clipped_ones(cupy_fp32: str) -> None:
    model = Linear(3, 2, bias=False).to(cupy_fp32)
    optimizer = Recorder(model.parameters(), 0.1)
    trainer = Trainer(model, optimizer, MSELoss(), grad_clip_norm=0.01, cuda_graph=True)
    batch = (
        Tensor(np.ones((2, 3), "f4"), backend=cupy_fp32),
        Tensor([[9.0, 9.0]] * 2, backend=cupy_fp32),
    )
    trainer.train_step([batch])
    (gradient,) = optimizer.seen
    assert np.linalg.norm(gradient.numpy()) == pytest.approx(0.01, rel=1e-4)


def test_parameters_of_two_dtypes_are_clipped_together(cupy_fp32: str) -> None:
    class Two(tinytorch.Module):
        def __init__(self) -> None:
            self.a = Parameter([1.0, 2.0], backend=cupy_fp32)
            self.b = Parameter([3.0, 4.0], dtype="float64", backend=cupy_fp32)

        def forward(self, x: Tensor) -> Tensor:
            return (self.a + self.b) * x

    model = Two()
    trainer = Trainer(
        model, SGD(model.parameters(), 1.0), MSELoss(), grad_clip_norm=0.1, cuda_graph=True
    )
    before = [p.numpy().copy() for p in model.parameters()]
    x, y = (Tensor(np.ones(2, "f4") * n, backend=cupy_fp32) for n in (1, 0))
    trainer.train_step([(x, y)])
    moved = [p.numpy() - b for p, b in zip(model.parameters(), before, strict=True)]
    assert np.linalg.norm(np.concatenate(moved)) == pytest.approx(0.1, rel=1e-4)
