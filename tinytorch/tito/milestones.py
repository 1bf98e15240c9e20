"""Programs in which the lessons come together."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TINYGPT = (
    "tensor", "autograd", "activations", "layers", "losses", "optimizers", "dataloader",
    "training", "tokenization", "embeddings", "attention", "transformers",
)  # fmt: skip


@dataclass(frozen=True)
class Milestone:
    """A program, and the modules of the package that it needs."""

    name: str
    says: str
    script: str
    modules: tuple[str, ...]


MILESTONES = [
    Milestone(
        "05", "the class demo: TinyGPT learns Shakespeare before your eyes",
        "milestones/05_transformer_era_2017/tinygpt_shakespeare.py", TINYGPT,
    ),
    Milestone("tinygpt", "TinyGPT on Shakespeare, the whole program", "milestones/tinygpt.py",
              TINYGPT),
]  # fmt: skip


def find(name: str) -> Milestone:
    """The milestone of that name.

    Raises:
        ValueError: there is none; it says which there are.
    """
    for milestone in MILESTONES:
        if milestone.name == name:
            return milestone
    raise ValueError(f"there is no milestone {name}; there are {', '.join(names())}")


def names() -> list[str]:
    """The names of all milestones."""
    return [milestone.name for milestone in MILESTONES]


def run(milestone: Milestone, root: Path, arguments: list[str]) -> int:
    """Run a milestone's program in this terminal; returns its exit code."""
    command = [sys.executable, str(root / milestone.script), *arguments]
    return subprocess.run(command, check=False).returncode
