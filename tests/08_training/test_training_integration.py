"""Lesson 08 with lessons 01 to 07: a network that learns from batches, on every backend."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch.activations import Tanh
from tinytorch.dataloader import DataLoader, TensorDataset
from tinytorch.layers import Dropout, Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.ops.random import manual_seed
from tinytorch.optimizers import AdamW
from tinytorch.tensor import Tensor
from tinytorch.training import CosineSchedule, LinearSchedule, Trainer, clip_grad_norm
from tinytorch.utils.splitting import random_split


def spirals(backend: str, each: int = 60) -> TensorDataset:
    rng = np.random.default_rng(0)
    radius = np.linspace(0.2, 1.0, each)
    angle = 3 * radius + (2 * np.pi / 3) * np.arange(3)[:, None]
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], -1).reshape(-1, 2)
    points += 0.02 * rng.standard_normal(points.shape)
    classes = np.repeat(np.arange(3), each)
    return TensorDataset(
        Tensor(points.astype(np.float32), backend=backend), Tensor(classes, backend=backend)
    )


def new_trainer(seed: int, backend: str, steps: int = 120, dropout: float = 0.0) -> Trainer:
    manual_seed(seed)
    model = Sequential(Linear(2, 32), Tanh(), Dropout(dropout), Linear(32, 3)).to(backend)
    schedule = CosineSchedule(0.05, 0.001, steps, 10)
    return Trainer(model, AdamW(model.parameters()), CrossEntropyLoss(), schedule, 1.0)


def test_a_network_learns_and_is_evaluated(backend: str) -> None:
    training, held_out = random_split(spirals(backend), [150, 30], np.random.default_rng(1))
    trainer = new_trainer(0, backend)
    before = trainer.evaluate(DataLoader(held_out, batch_size=7))
    assert before == pytest.approx(math.log(3), abs=0.4)
    loader = DataLoader(training, batch_size=25, shuffle=True, generator=np.random.default_rng(2))
    epochs = [trainer.train_epoch(loader, accumulation_steps=1) for _ in range(20)]
    assert trainer.step == 120
    assert trainer.optimizers[0].lr < 0.01
    assert epochs[-1] < 0.3 * epochs[0]
    assert trainer.evaluate(DataLoader(held_out, batch_size=7)) < 0.4 * before


@pytest.mark.parametrize("parts", [1, 3, 4])
def test_parts_of_a_batch_give_the_step_of_the_whole(parts: int, backend: str) -> None:
    x, y = spirals(backend, each=5).batch(range(15))
    whole, divided = new_trainer(1, backend), new_trainer(1, backend)
    cuts = np.linspace(0, 15, parts + 1).astype(int)
    batches = [(x[i:j], y[i:j]) for i, j in pairwise(cuts)]
    losses = whole.train_step([(x, y)]).item(), divided.train_step(batches).item()
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for p, q in zip(whole.parameters(), divided.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-4, atol=1e-5)


def test_a_run_continues_bit_for_bit(tmp_path: Path, backend: str) -> None:
    batch = spirals(backend, each=4).batch(range(12))

    def losses(trainer: Trainer) -> list[float]:
        return [trainer.train_step([batch]).item() for _ in range(5)]

    first = new_trainer(1, backend, dropout=0.3)
    losses(first)
    first.save_checkpoint(tmp_path / "run", note="five")
    expected = losses(first)
    second = new_trainer(2, backend, dropout=0.3)
    assert second.load_checkpoint(tmp_path / "run")["note"] == "five"
    assert second.step == 5
    assert losses(second) == expected


@pytest.mark.parametrize("most", [0.5, 100.0])
def test_clipping_keeps_the_direction(most: float, backend: str) -> None:
    tensors = [Tensor([[1.0, 2.0]], True, backend=backend), Tensor([2.0], True, backend=backend)]
    sum((t * t).sum() for t in tensors).backward()  # type: ignore[attr-defined]
    assert clip_grad_norm(tensors, most).item() == pytest.approx(6.0)
    factor = min(1.0, most / 6.0)
    for t in tensors:
        np.testing.assert_allclose(t.grad.numpy(), 2 * factor * t.detach().numpy(), rtol=1e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (CosineSchedule(2.0, 1.0, 6, 2), [2 / 3, 4 / 3, 2.0, 1.853553, 1.5, 1.146447, 1.0, 1.0]),
        (LinearSchedule(2.0, 0.0, 6, 2, 0.5), [2 / 3, 4 / 3, 2.0, 2.0, 2.0, 1.0, 0.0, 0.0]),
    ],
)
def test_rates_of_schedules(schedule: Any, rates: list[float]) -> None:
    assert [schedule.get_lr(step) for step in range(8)] == pytest.approx(rates)
