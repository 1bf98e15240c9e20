"""What is measured: presets, sizes and numbers of repetitions, in full and tiny."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinytorch.tinygpt import PRESETS, Preset

from .modes import Mode

VOCABULARY = 65
# The commonest characters of Shakespeare's plays, a space first; the others share the rest.
FREQUENCIES = (0.152, 0.085, 0.060, 0.059, 0.050, 0.046, 0.044, 0.043, 0.041, 0.036)


@dataclass(eq=False)  # hashable, so that functions of it can be cached
class Settings:
    """The settings of a run; by default those of a real GPU.

    Attributes:
        modes: the precisions to compare.
        compiled: whether torch.compile is measured.
        rounds: measurements of each side, whose median counts.
        turn: steps before the next side is measured.
        calls: of a kernel in one measurement.
        queued: calls of a copy behind which the host may queue kernels: some 80 ms.
        copied: float32 numbers in the array whose copy measures the bandwidth.
        product: rows and columns of the product that measures the rate of tensor cores.
        target: the validation loss to train to.
        every: steps between two validations.
        max_steps: the maximum number of steps to the target.
        max_seconds: the maximum time of training to the target.
        same_steps: steps of the comparison of resumed runs, before and after the checkpoint.
        sizes: series -> the sizes that grow in it.
        tokens: of the batch of the longest context.
        vocabularies: sizes of larger embeddings.
        texts: numbers of texts that are generated at once.
        contexts: lengths of the context that are generated past its end.
        text: tokens of the random text to train on.
    """

    modes: list[Mode]
    compiled: bool = True
    presets: dict[str, Preset] = field(default_factory=lambda: dict(PRESETS))
    rounds: int = 10
    turn: int = 5
    calls: int = 20
    queued: int = 1600
    copied: int = 2**25
    product: int = 8192
    target: float = 1.4697
    every: int = 50
    max_steps: int = 6000
    max_seconds: float = 30.0
    same_steps: int = 6
    sizes: dict[str, list[int]] = field(
        default_factory=lambda: {
            "context": [128, 256, 512, 1024, 2048, 4096],
            "width": [192, 384, 768, 1536],
            "batch": [1, 4, 16, 64, 256],
        }
    )
    tokens: int = 2**15
    vocabularies: tuple[int, ...] = (1024, 8192, 50257)
    texts: tuple[int, ...] = (1, 32)
    contexts: int = 4
    text: int = 1_000_000

    @property
    def baby(self) -> Preset:
        """nanoGPT's baby GPT."""
        return self.presets["nanogpt-gpu"]


def tiny(settings: Settings) -> Settings:
    """The same program in seconds on a CPU, to rehearse it."""
    sizes = {"embed_dim": 32, "num_layers": 1, "num_heads": 2, "context": 16, "batch_size": 2}
    small = {name: replace(p, **sizes, warmup_steps=0) for name, p in settings.presets.items()}
    return replace(
        settings, presets=small, rounds=1, turn=1, calls=1, queued=1, copied=2**10, product=16,
        target=0.0, every=1, max_steps=2, same_steps=2,
        sizes={"context": [8, 16], "width": [32, 64], "batch": [1, 2]}, tokens=32,
        vocabularies=(80,), texts=(1, 2), contexts=2, text=1000,
    )  # fmt: skip


def random_text(size: int) -> np.ndarray[Any, Any]:
    """Token ids (size,) as frequent as the characters of Shakespeare's plays."""
    others = VOCABULARY - len(FREQUENCIES)
    rest = [(1 - sum(FREQUENCIES)) / others] * others
    return np.random.default_rng(0).choice(VOCABULARY, size, p=[*FREQUENCIES, *rest])


def sibling(name: str) -> Any:
    """Import a module of tests/, which is not on a program's path."""
    tests = str(Path(__file__).parents[2])
    if tests not in sys.path:
        sys.path.append(tests)  # at the end: must not shadow installed modules
    return import_module(name)


class Row(NamedTuple):
    """A measurement: its name, its value in the JSON, its cells in the Markdown table."""

    name: str
    value: Any
    cells: list[str]


Rows = Iterator[Row]
