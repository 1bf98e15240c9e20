"""Presets: a model, how it is trained, and the figures that belong together."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..losses import CrossEntropyLoss
from ..optimizers import AdamW, Muon, Optimizer
from ..runtime.trainer import Trainer
from ..training import CosineSchedule, LinearSchedule, Schedule
from ..transformers import GPT, GPTConfig


@dataclass(frozen=True)
class Preset:
    """A recipe. Sizes as in `GPT`; rates are those of the first step after warm-up."""

    embed_dim: int
    num_layers: int
    num_heads: int
    context: int  # tokens that the model sees
    batch_size: int  # blocks of `context` tokens in a step
    steps: int
    lr: float
    min_lr: float
    betas: tuple[float, float]
    weight_decay: float
    warmup_steps: int
    schedule: str  # "cosine" or "linear"
    muon_lr: float | None = None  # for the matrices within the blocks; None: AdamW for all
    grad_clip: float | None = 1.0
    dropout: float = 0.0
    bias: bool = False
    tie_weights: bool = True
    positions: str = "learned"
    activation: str = "gelu"
    init: str = "gpt2"
    accumulation: int = 1  # batches whose gradients make one step

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preset":
        """What `to_dict` wrote."""
        return replace(cls(**values), betas=tuple(values["betas"]))

    @property
    def tokens_per_step(self) -> int:
        return self.context * self.batch_size * self.accumulation


PRESETS = {
    # The best we know for under five minutes on two cores: Muon, rotary positions, zero-initialised
    # output projections, a linear decay of the rates, weight decay, and a model so small that it
    # reads the text six times.
    "default": Preset(
        embed_dim=96, num_layers=4, num_heads=3, context=128, batch_size=16, steps=3000,
        lr=3e-3, min_lr=0.0, betas=(0.9, 0.95), weight_decay=0.1, warmup_steps=20,
        schedule="linear", muon_lr=0.015, tie_weights=False, positions="rotary", init="zero",
    ),
    # The best we know for under fifteen minutes on two cores, below the loss of nanoGPT's run on a
    # GPU (1.4697) with a sixteenth of its parameters: deeper, longer, and more decay.
    "best": Preset(
        embed_dim=96, num_layers=6, num_heads=3, context=128, batch_size=16, steps=5400,
        lr=3e-3, min_lr=0.0, betas=(0.9, 0.95), weight_decay=0.2, warmup_steps=20,
        schedule="linear", muon_lr=0.015, tie_weights=False, positions="rotary", init="zero",
    ),
    # The best we know for a GPU: nanoGPT's size, held back by dropout. Loss 1.4289, measured once.
    "best-gpu": Preset(
        embed_dim=384, num_layers=6, num_heads=6, context=256, batch_size=64, steps=1500,
        lr=3e-3, min_lr=0.0, betas=(0.9, 0.95), weight_decay=0.2, warmup_steps=20,
        schedule="linear", muon_lr=0.015, dropout=0.3, tie_weights=False, positions="rotary",
        init="zero",
    ),
    # For a class to watch: shorter blocks, so that five epochs of Shakespeare take three minutes.
    "demo": Preset(
        embed_dim=96, num_layers=3, num_heads=4, context=64, batch_size=32, steps=2452,
        lr=3e-3, min_lr=0.0, betas=(0.9, 0.95), weight_decay=0.0, warmup_steps=20,
        schedule="linear", muon_lr=0.015, tie_weights=False, positions="rotary", init="zero",
    ),
    # nanoGPT's published recipe for a laptop's CPU, for comparison.
    "nanogpt-cpu": Preset(
        embed_dim=128, num_layers=4, num_heads=4, context=64, batch_size=12, steps=2000,
        lr=1e-3, min_lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, warmup_steps=100,
        schedule="cosine",
    ),
    # nanoGPT's published recipe for a GPU, its "baby GPT": 10.7 million parameters, loss 1.4697.
    "nanogpt-gpu": Preset(
        embed_dim=384, num_layers=6, num_heads=6, context=256, batch_size=64, steps=5000,
        lr=1e-3, min_lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, warmup_steps=100,
        schedule="cosine", dropout=0.2,
    ),
}  # fmt: skip


def fit_steps(preset: Preset, **changes: Any) -> Preset:
    """The preset with some of its sizes changed, and a warm-up of a tenth of it at the most."""
    changed = replace(preset, **changes)
    return replace(changed, warmup_steps=min(preset.warmup_steps, changed.steps // 10))


def fit_epochs(preset: Preset, epochs: float, train_tokens: int) -> Preset:
    """The preset with as many steps as `epochs` times through the training text take."""
    return fit_steps(preset, steps=math.ceil(epochs * train_tokens / preset.tokens_per_step))


def build_model(preset: Preset, vocab_size: int) -> GPT:
    """The preset's model with new weights."""
    config = GPTConfig(
        vocab_size, preset.embed_dim, preset.num_layers, preset.num_heads, preset.context,
        preset.dropout, preset.bias, preset.tie_weights, preset.positions, preset.activation,
        preset.init,
    )  # fmt: skip
    return GPT.from_config(config)


def build_trainer(preset: Preset, model: GPT, processes: int | None = None) -> Trainer:
    """The preset's optimizers and schedule for `model`.

    Args:
        processes: that share the rows of a batch; None for as many as serve the backend best.
    """
    return Trainer(
        model,
        _optimizers(preset, model),
        CrossEntropyLoss(),
        _schedule(preset),
        preset.grad_clip,
        model.backend.processes if processes is None else processes,
        cuda_graph=True,
    )


def _optimizers(preset: Preset, model: GPT) -> list[Optimizer]:
    """Muon for the matrices within the blocks if asked for, AdamW for everything else."""
    parameters = dict(model.named_parameters())
    matrices = {
        n: p
        for n, p in parameters.items()
        if preset.muon_lr is not None and n.startswith("blocks.") and p.ndim == 2
    }
    # Norms and biases are not decayed, as in nanoGPT.
    decayed = [p for n, p in parameters.items() if n not in matrices and p.ndim == 2]
    plain = [p for p in parameters.values() if p.ndim != 2]
    groups = [
        {"params": decayed, "weight_decay": preset.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizers: list[Optimizer] = [AdamW(groups, lr=preset.lr, betas=preset.betas)]
    if preset.muon_lr is not None:
        decay = preset.weight_decay
        optimizers.append(Muon(matrices.values(), lr=preset.muon_lr, weight_decay=decay))
    return optimizers


def _schedule(preset: Preset) -> Schedule:
    """Factors on the optimizers' own rates, so that one schedule serves Muon and AdamW."""
    low, warmup = preset.min_lr / preset.lr, preset.warmup_steps
    if preset.schedule == "cosine":
        return CosineSchedule(None, low, preset.steps, warmup)
    return LinearSchedule(None, low, preset.steps, warmup, fraction=0.6)
