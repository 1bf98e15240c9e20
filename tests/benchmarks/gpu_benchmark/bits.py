"""Whether a resumed run, and one without graphs, end with the same bits."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tinytorch
from tinytorch import TokenDataset
from tinytorch.runtime.eager import EagerStep
from tinytorch.tinygpt import Preset
from tinytorch.tinygpt.presets import build_model, build_trainer

from .modes import Mode, set_mode
from .our_side import free_memory
from .report import guarded
from .settings import VOCABULARY, Row, Rows, Settings, random_text

COLUMNS = ["preset, precision", "resumed = uninterrupted", "eager = graphed", "largest differences"]


def same_bits(settings: Settings) -> Rows:
    """Small and large presets; the small one in the first mode only."""
    runs = [("default", settings.modes[0]), *(("nanogpt-gpu", mode) for mode in settings.modes)]
    for name, mode in runs:
        label = f"{name}, {mode.name}"
        yield from guarded(label, _row(label, settings.presets[name], mode, settings.same_steps))


def _row(label: str, preset: Preset, mode: Mode, steps: int) -> Rows:
    value = compare(preset, mode, steps)
    yield Row(label, value, [
        "yes" if value["resumed"] == 0 else "NO",
        "yes" if value["eager"] == 0 else "NO",
        f"{value['resumed']:.1e}, {value['eager']:.1e}",
    ])  # fmt: skip


def compare(preset: Preset, mode: Mode, steps: int) -> dict[str, float]:
    """Largest differences of the weights from those of an uninterrupted run, after some steps, a
    checkpoint, and as many steps again."""
    free_memory()
    set_mode(mode)
    blocks = TokenDataset(random_text(20_000), preset.context, backend="cupy")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"

        def weights(resume: bool, eager: bool = False) -> np.ndarray[Any, Any]:
            tinytorch.manual_seed(1 if resume else 0)
            trainer = build_trainer(preset, build_model(preset, VOCABULARY).to("cupy"))
            if eager:
                trainer.runner = EagerStep()

            def train() -> None:
                for _ in range(steps):
                    trainer.train_step([blocks.random_batch(preset.batch_size)])

            if resume:
                trainer.load_checkpoint(path)
            else:
                train()
                trainer.save_checkpoint(path)
            train()
            state = trainer.model.state_dict().values()
            return np.concatenate([tensor.numpy().ravel() for tensor in state])

        whole = weights(resume=False)
        others = {"resumed": weights(resume=True), "eager": weights(resume=True, eager=True)}
    return {name: float(abs(other - whole).max()) for name, other in others.items()}
