"""Training until a validation loss is reached."""

import time
from typing import Any

from tinytorch import CharTokenizer, backends
from tinytorch.data.datasets import tiny_shakespeare
from tinytorch.tinygpt import Preset
from tinytorch.tinygpt.run import validation_batches

from .modes import Mode, set_mode
from .our_side import OurTraining, free_memory
from .report import guarded
from .settings import Row, Rows, Settings

COLUMNS = [
    "preset, precision", "seconds of training", "steps", "validation loss", "lowest, at step",
    "seconds with validations",
]  # fmt: skip


def time_to_loss(settings: Settings) -> Rows:
    """Presets of the baby GPT's size, then the small one that is trained longest."""
    runs = [("nanogpt-gpu", mode) for mode in settings.modes]
    runs += [(name, settings.modes[0]) for name in ("best-gpu", "best")]
    for name, mode in runs:
        label = f"{name}, {mode.name}"
        yield from guarded(label, _row(label, settings.presets[name], mode, settings))


def _row(label: str, preset: Preset, mode: Mode, settings: Settings) -> Rows:
    value = train(preset, mode, settings)
    best, at = value["lowest"], value["at step"]
    yield Row(label, value, [
        f"{value['seconds']:.1f}{'' if value['reached'] else ' (not reached)'}",
        f"{value['steps']:,}", f"{value['validation loss']:.4f}", f"{best:.4f}, {at:,}",
        f"{value['seconds with validations']:.1f}",
    ])  # fmt: skip


def train(preset: Preset, mode: Mode, settings: Settings) -> dict[str, Any]:
    """Train on the first 90% of Tiny Shakespeare, validating on all of the rest every some steps.

    Stops at the target, at the preset's last step, or at the settings' maximum.
    """
    free_memory()
    set_mode(mode)
    target = backends.get("cupy")
    corpus = tiny_shakespeare()
    tokenizer = CharTokenizer(sorted(set(corpus.text)))
    train_ids, val_ids = map(tokenizer.encode_array, corpus.split())
    ours = OurTraining(preset, train_ids, tokenizer.vocab_size)
    batches = [(x.to(target), y.to(target)) for x, y in validation_batches(val_ids, preset.context)]
    begin, seconds, losses = time.perf_counter(), 0.0, {}
    for first in range(0, min(preset.steps, settings.max_steps), settings.every):
        start = time.perf_counter()
        ours.run(settings.every)
        target.synchronize()
        seconds += time.perf_counter() - start
        step = first + settings.every
        losses[step] = ours.trainer.evaluate(batches)
        if losses[step] <= settings.target:
            break
    lowest = min(losses, key=lambda step: losses[step])
    return {
        "text": corpus.name,
        "target": settings.target,
        "reached": losses[step] <= settings.target,
        "seconds": seconds,
        "seconds with validations": time.perf_counter() - begin,
        "steps": step,
        "validation loss": losses[step],
        "lowest": losses[lowest],
        "at step": lowest,
        "losses": losses,
    }
