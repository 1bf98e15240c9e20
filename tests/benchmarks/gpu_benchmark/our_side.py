"""TinyTorch's training of a preset, and the memory of measurements."""

import gc
from typing import Any

import numpy as np

import tinytorch
from tinytorch import TokenDataset
from tinytorch.tinygpt import Preset
from tinytorch.tinygpt.presets import build_model, build_trainer

from . import torch_side
from .settings import VOCABULARY
from .timing import Step


def our_training(preset: Preset, text: np.ndarray[Any, Any]) -> tuple[Step, Any]:
    """A training step in TinyTorch, and its trainer."""
    tinytorch.manual_seed(1337)
    trainer = build_trainer(preset, build_model(preset, VOCABULARY).to("cupy"))
    blocks, rng = TokenDataset(text, preset.context, backend="cupy"), np.random.default_rng(1)
    return lambda: trainer.train_step([blocks.random_batch(preset.batch_size, rng)]), trainer


def step_flops(preset: Preset) -> float:
    """FLOPs of a step's matrix products, forward and both gradients; attention's are causal, and
    what its gradient computes again is not counted."""
    C, layers, tokens = preset.embed_dim, preset.num_layers, preset.tokens_per_step
    weights = layers * 12 * C**2 + VOCABULARY * C
    return 6.0 * tokens * (weights + layers * C * preset.context)


def free_memory() -> None:
    """Return the memory of earlier measurements to the GPU."""
    import cupy

    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    torch_side.free_memory()
