"""Milestones: programs that combine the lessons."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .lesson import PACKAGE, LessonError
from .written import missing_lessons

TRAINED = ("tensor", "autograd", "activations", "layers", "losses", "optimizers")
DIGITS = (*TRAINED, "dataloader", "training")
TINYGPT = (
    "tensor", "autograd", "activations", "layers", "losses", "optimizers", "dataloader",
    "training", "tokenization", "embeddings", "attention", "transformers",
)  # fmt: skip


@dataclass(frozen=True)
class Milestone:
    """A milestone.

    Attributes:
        name: name on the command line.
        description: one line.
        script: path of the program in the checkout.
        modules: lesson modules of the package that it uses.
    """

    name: str
    description: str
    script: str
    modules: tuple[str, ...]


MILESTONES = [
    Milestone(
        "01", "1958: the perceptron learns a line, and what no line can do",
        "milestones/01_perceptron_1958/perceptron.py", ("tensor",),
    ),
    Milestone(
        "02", "1969: exclusive or stops one layer; a hidden layer learns it",
        "milestones/02_xor_1969/xor.py", TRAINED,
    ),
    Milestone(
        "03", "1986: backpropagation reads handwritten digits",
        "milestones/03_mlp_1986/mlp.py", DIGITS,
    ),
    Milestone(
        "04", "1998: convolutions read more digits with fewer weights",
        "milestones/04_cnn_1998/lenet.py", (*DIGITS, "spatial"),
    ),
    Milestone(
        "05", "2017: TinyGPT learns Shakespeare, the class demo",
        "milestones/05_transformer_era_2017/tinygpt_shakespeare.py", TINYGPT,
    ),
    Milestone("tinygpt", "train TinyGPT on Shakespeare or any text", "milestones/tinygpt.py",
              TINYGPT),
]  # fmt: skip


def find(name: str) -> Milestone:
    """Return the milestone with this name.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    for milestone in MILESTONES:
        if milestone.name == name:
            return milestone
    raise ValueError(f"there is no milestone {name}; choose from {', '.join(names())}")


def names() -> list[str]:
    """Return the names of all milestones."""
    return [milestone.name for milestone in MILESTONES]


def run(milestone: Milestone, root: Path, arguments: list[str]) -> int:
    """Run a milestone's program in this terminal, and return its exit code.

    Raises:
        LessonError: lessons that it uses are blank in the package, as in a course folder.
    """
    missing = missing_lessons(root, milestone.modules)
    if missing:
        numbers = ", ".join(map(str, missing))
        raise LessonError(
            f"milestone {milestone.name} uses lessons that are blank in {PACKAGE}/: {numbers};"
            f" tito start {missing[0]} opens the next, tito export {missing[0]} writes it there"
        )
    command = [sys.executable, str(root / milestone.script), *arguments]
    return subprocess.run(command, check=False).returncode
