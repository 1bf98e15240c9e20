"""TinyTorch's training of a preset, and the memory of measurements."""

import gc
from typing import Any

import numpy as np

import tinytorch
from tinytorch import TokenDataset, backends
from tinytorch.tinygpt import Preset
from tinytorch.tinygpt.presets import build_model, build_trainer

from . import torch_side
from .settings import VOCABULARY


class OurTraining:
    """A preset's training in TinyTorch, from captured graphs, on random blocks of a text.

    Attributes:
        trainer: the model's trainer.
    """

    def __init__(
        self, preset: Preset, text: np.ndarray[Any, Any], vocabulary: int = VOCABULARY
    ) -> None:
        tinytorch.manual_seed(1337)
        self._preset, self._rng = preset, np.random.default_rng(1)
        self.trainer = build_trainer(preset, build_model(preset, vocabulary).to("cupy"))
        self._blocks = TokenDataset(text, preset.context, backend="cupy")

    def step(self) -> Any:
        """Take a step; returns its loss."""
        batch = self._blocks.random_batch(self._preset.batch_size, self._rng)
        return self.trainer.train_step([batch])

    def at_once(self) -> int:
        """How many steps a run of the milestones takes from one graph, after its first steps."""
        batch = self._preset.batch_size, self._preset.context
        return self.trainer.steps_at_once(self._preset.tokens_per_step, batch, batch)

    def several(self) -> Any:
        """Take `at_once` steps from one graph; returns their losses.

        Raises:
            BackendError: they cannot be captured together.
        """
        count, rows = self.at_once(), self._preset.batch_size
        drawn = [self._blocks.random_indices(rows, self._rng) for _ in range(count)]
        x, y = self._blocks.batch(np.concatenate(drawn))
        shape = count, 1, rows, self._preset.context
        losses = self.trainer.train_steps(x.reshape(shape), y.reshape(shape))
        if losses is None:
            raise backends.BackendError(f"{count} steps cannot be captured together")
        return losses

    def run(self, steps: int) -> None:
        """Take some steps, several from one graph where a run of the milestones would."""
        last = self.trainer.step + steps
        while (left := last - self.trainer.step) > 0:
            self.several() if 1 < self.at_once() <= left else self.step()


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
