"""A tiny GPT, its trainer and its steps, for tests of how steps are run."""

from dataclasses import replace
from typing import Any

import numpy as np

import tinytorch
from tinytorch import TokenDataset, Trainer
from tinytorch.runtime.trainer import make_runner
from tinytorch.tinygpt import PRESETS
from tinytorch.tinygpt.presets import build_model, build_trainer

TINY = replace(
    PRESETS["default"], embed_dim=16, num_layers=2, num_heads=2, context=8, batch_size=3,
    dropout=0.2, warmup_steps=3, steps=12,
)  # fmt: skip
IDS = np.random.default_rng(0).integers(0, 11, 400)


def make_trainer(backend: str, graphed: bool, **changes: Any) -> Trainer:
    """A trainer of the tiny GPT; `changes` are those of its preset."""
    tinytorch.manual_seed(5)
    preset = replace(TINY, **changes)
    trainer = build_trainer(preset, build_model(preset, 11).to(backend), processes=1)
    trainer.runner = make_runner(cuda_graph=graphed)
    return trainer


def steps(trainer: Trainer, count: int, blocks: int = 3, each: int = 1) -> list[float]:
    """Losses of that many steps, each with `each` new batches and with new dropout masks."""
    tinytorch.manual_seed(100 + trainer.step)
    backend = trainer.model.backend
    data = TokenDataset(IDS, TINY.context, backend=backend)
    rng = np.random.default_rng(trainer.step)
    losses = [
        trainer.train_step([data.random_batch(blocks, rng) for _ in range(each)])
        for _ in range(count)
    ]
    return [loss.item() for loss in losses]


def weights(trainer: Trainer) -> dict[str, np.ndarray]:
    """Copies of the model's parameters and buffers on the host."""
    return {name: t.numpy().copy() for name, t in trainer.model.state_dict().items()}
