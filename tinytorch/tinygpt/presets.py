"""Presets: named sets of hyperparameters for model and training."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..backends.groups import MPIGroup
from ..losses import CrossEntropyLoss
from ..optimizers import AdamW, Muon, Optimizer
from ..runtime.fused_blocks import fuse_blocks
from ..runtime.trainer import Trainer
from ..training import CosineSchedule, LinearSchedule, Schedule
from ..transformers import GPT, GPTConfig
from .checked import check_range, check_types

# Limits that no sensible run reaches; beyond them, a step would take hours or all memory.
MAX_STEPS = 10**12
MAX_SIZE = 2**20  # of a model: width, blocks, heads
MAX_CONTEXT = 2**17  # tokens
MAX_TOKENS_PER_STEP = 2**24
MAX_ACCUMULATION = 1024  # batches per step


@dataclass(frozen=True)
class Preset:
    """Hyperparameters of a run; sizes as in `GPT`, learning rates as after the warm-up.

    Raises:
        ValueError: a value has a wrong type or is out of range.
    """

    embed_dim: int
    num_layers: int
    num_heads: int
    context: int  # tokens the model sees (nanoGPT: block_size)
    batch_size: int  # blocks of `context` tokens per batch
    steps: int
    lr: float
    min_lr: float
    betas: tuple[float, float]
    weight_decay: float
    warmup_steps: int
    schedule: str  # "cosine" or "linear"
    muon_lr: float | None = None  # Muon for the matrices of the blocks; None: AdamW for all
    grad_clip: float | None = 1.0
    dropout: float = 0.0
    bias: bool = False
    tie_weights: bool = True
    positions: str = "learned"
    activation: str = "gelu"
    init: str = "gpt2"
    accumulation: int = 1  # batches per step, whose gradients are averaged
    context_doublings: int = 0  # 2: blocks of a quarter of `context`, then half, then all of it

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, 1, MAX_SIZE, ("embed_dim", "num_layers", "num_heads"))
        check_range(self, 1, MAX_CONTEXT, ("context",))
        check_range(self, 1, MAX_STEPS, ("steps",))
        check_range(self, 0, self.steps, ("warmup_steps",))
        check_range(self, 1, MAX_ACCUMULATION, ("accumulation",))
        check_range(self, 0, math.log2(MAX_CONTEXT), ("context_doublings",))
        check_range(self, 1e-30, 1e30, ("lr", "grad_clip"))
        check_range(self, 0, 1e30, ("min_lr", "weight_decay", "muon_lr"))
        if self.batch_size < 1 or self.tokens_per_step > MAX_TOKENS_PER_STEP:
            raise ValueError(
                f"batch_size must be from 1 to {MAX_TOKENS_PER_STEP // self.context}, for at most"
                f" {MAX_TOKENS_PER_STEP:,} tokens per step, not {self.batch_size!r:.40}"
            )
        if not 0 <= self.dropout < 1 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("dropout and betas must be in [0, 1)")
        if self.context % 2**self.context_doublings:
            raise ValueError(
                f"context={self.context} must be a multiple of 2**context_doublings ="
                f" {2**self.context_doublings}"
            )
        if self.schedule not in ("cosine", "linear"):
            raise ValueError(f"schedule must be 'cosine' or 'linear', not {self.schedule!r:.40}")

    def to_dict(self) -> dict[str, Any]:
        """Return the preset as values that JSON can represent."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preset":
        """Return the preset that `to_dict` has described.

        Raises:
            ValueError: `values` does not describe a preset.
        """
        try:
            return cls(**{**values, "betas": tuple(values["betas"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a preset ({error})") from error

    @property
    def tokens_per_step(self) -> int:
        """Tokens per optimizer step."""
        return self.context * self.batch_size * self.accumulation

    @property
    def contexts(self) -> list[int]:
        """Block lengths of the run, each for an equal part of it."""
        return [self.context >> n for n in range(self.context_doublings, -1, -1)]

    def batch_shape(self, progress: float) -> tuple[int, int]:
        """Number and length of the blocks of a batch at `progress` in [0, 1] of the run.

        Short blocks take less time and suffice to learn words; long ones add what was said before.
        A batch always has the same number of tokens.

        Source: O. Press et al., "Shortformer" (2020), on staged training.

        >>> from dataclasses import replace
        >>> from tinytorch.tinygpt import PRESETS
        >>> preset = replace(PRESETS["demo"], context=256, batch_size=8, context_doublings=2)
        >>> [preset.batch_shape(progress) for progress in (0, 0.5, 1)]
        [(32, 64), (16, 128), (8, 256)]
        """
        contexts = self.contexts
        context = contexts[min(int(progress * len(contexts)), len(contexts) - 1)]
        return self.batch_size * self.context // context, context


PRESETS = {
    # The lowest loss we found in under five minutes on two cores: Muon, rotary positions,
    # zero-initialised output projections, linear learning rate decay, weight decay, blocks of 64,
    # 128 and 256 characters for a third of the steps each, and a model small enough for six epochs.
    "default": Preset(
        embed_dim=96, num_layers=4, num_heads=3, context=256, batch_size=8, steps=3000,
        lr=3e-3, min_lr=0.0, betas=(0.9, 0.95), weight_decay=0.1, warmup_steps=20,
        schedule="linear", muon_lr=0.015, tie_weights=False, positions="rotary", init="zero",
        context_doublings=2,
    ),
    # The lowest loss we found in under fifteen minutes on two cores, below that of nanoGPT's GPU
    # run (1.4697) with a sixteenth of its parameters: deeper, longer, more weight decay.
    "best": Preset(
        embed_dim=96, num_layers=6, num_heads=3, context=128, batch_size=16, steps=5400,
        lr=3e-3, min_lr=0.0, betas=(0.9, 0.95), weight_decay=0.2, warmup_steps=20,
        schedule="linear", muon_lr=0.015, tie_weights=False, positions="rotary", init="zero",
    ),
    # The lowest loss we found on a GPU, 1.4289 in one run: nanoGPT's size, regularised by dropout.
    "best-gpu": Preset(
        embed_dim=384, num_layers=6, num_heads=6, context=256, batch_size=64, steps=1500,
        lr=3e-3, min_lr=0.0, betas=(0.9, 0.95), weight_decay=0.2, warmup_steps=20,
        schedule="linear", muon_lr=0.015, dropout=0.3, tie_weights=False, positions="rotary",
        init="zero",
    ),
    # For the class demo: a shorter context, so that five epochs of Shakespeare take three minutes.
    "demo": Preset(
        embed_dim=96, num_layers=3, num_heads=4, context=64, batch_size=32, steps=2452,
        lr=3e-3, min_lr=0.0, betas=(0.9, 0.95), weight_decay=0.0, warmup_steps=20,
        schedule="linear", muon_lr=0.015, tie_weights=False, positions="rotary", init="zero",
    ),
    # For code in BPE tokens, in under five minutes on two cores: milestones/tinycoder.py.
    "coder": Preset(
        embed_dim=96, num_layers=4, num_heads=3, context=256, batch_size=8, steps=1400,
        lr=3e-3, min_lr=0.0, betas=(0.9, 0.95), weight_decay=0.1, warmup_steps=20,
        schedule="linear", muon_lr=0.015, tie_weights=False, positions="rotary", init="zero",
    ),
    # nanoGPT's published CPU recipe, for comparison.
    "nanogpt-cpu": Preset(
        embed_dim=128, num_layers=4, num_heads=4, context=64, batch_size=12, steps=2000,
        lr=1e-3, min_lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, warmup_steps=100,
        schedule="cosine",
    ),
    # nanoGPT's published GPU recipe, its "baby GPT": 10.7 million parameters, loss 1.4697.
    "nanogpt-gpu": Preset(
        embed_dim=384, num_layers=6, num_heads=6, context=256, batch_size=64, steps=5000,
        lr=1e-3, min_lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, warmup_steps=100,
        schedule="cosine", dropout=0.2,
    ),
}  # fmt: skip


def fit_steps(preset: Preset, **changes: Any) -> Preset:
    """Return the preset with some values replaced and the warm-up limited to 10% of the steps."""
    steps: int = changes.get("steps", preset.steps)
    return replace(preset, **{**changes, "warmup_steps": min(preset.warmup_steps, steps // 10)})


def fit_epochs(preset: Preset, epochs: float, train_tokens: int) -> Preset:
    """Return the preset with the number of steps that `epochs` epochs take.

    Raises:
        ValueError: they take more than `MAX_STEPS` steps.
    """
    if epochs > MAX_STEPS * preset.tokens_per_step / train_tokens:
        raise ValueError(f"{epochs:g} epochs take more than {MAX_STEPS} steps")
    return fit_steps(preset, steps=math.ceil(epochs * train_tokens / preset.tokens_per_step))


def build_model(preset: Preset, vocab_size: int) -> GPT:
    """Return the preset's model, with newly initialised weights."""
    return GPT.from_config(model_config(preset, vocab_size))


def model_config(preset: Preset, vocab_size: int) -> GPTConfig:
    """Return the configuration of the preset's model."""
    return GPTConfig(
        vocab_size, preset.embed_dim, preset.num_layers, preset.num_heads, preset.context,
        preset.dropout, preset.bias, preset.tie_weights, preset.positions, preset.activation,
        preset.init,
    )  # fmt: skip


def build_trainer(
    preset: Preset, model: GPT, processes: int | None = None, group: MPIGroup | None = None
) -> Trainer:
    """Return a trainer for `model` with the preset's optimizers and schedule, in mixed precision on
    a GPU with ``TT_MATMUL=bf16`` (see `fuse_blocks`).

    Args:
        preset: the hyperparameters.
        model: the model to train.
        processes: number of processes that divide each batch, at most one for each of its rows;
            None for the backend's default.
        group: the ranks that divide each batch, see `Trainer`.
    """
    count = model.backend.processes if processes is None else processes
    return Trainer(
        fuse_blocks(model),
        _optimizers(preset, model),
        CrossEntropyLoss(),
        _schedule(preset),
        preset.grad_clip,
        min(count, preset.batch_size),
        cuda_graph=True,
        group=group,
        shard_optimizers=None,
    )


def _optimizers(preset: Preset, model: GPT) -> list[Optimizer]:
    """AdamW, or Muon for the matrices of the blocks and AdamW for everything else."""
    parameters = dict(model.named_parameters())
    matrices = {
        n: p
        for n, p in parameters.items()
        if preset.muon_lr is not None and n.startswith("blocks.") and p.ndim == 2
    }
    # As in nanoGPT, norms and biases have no weight decay.
    decayed = [p for n, p in parameters.items() if n not in matrices and p.ndim == 2]
    not_decayed = [p for p in parameters.values() if p.ndim != 2]
    groups = [
        {"params": decayed, "weight_decay": preset.weight_decay},
        {"params": not_decayed, "weight_decay": 0.0},
    ]
    optimizers: list[Optimizer] = [AdamW(groups, lr=preset.lr, betas=preset.betas)]
    if preset.muon_lr is not None:
        decay = preset.weight_decay
        optimizers.append(Muon(matrices.values(), lr=preset.muon_lr, weight_decay=decay))
    return optimizers


def _schedule(preset: Preset) -> Schedule:
    """A schedule of factors on the optimizers' own rates, so one serves both Muon and AdamW."""
    low, warmup = preset.min_lr / preset.lr, preset.warmup_steps
    if preset.schedule == "cosine":
        return CosineSchedule(None, low, preset.steps, warmup)
    return LinearSchedule(None, low, preset.steps, warmup, fraction=0.6)
