"""Milestones: programs that combine the lessons."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .lesson import PACKAGE, LessonError
from .written import blank_lessons

# In the order of the course.
LESSONS = (
    "tensor", "activations", "layers", "losses", "dataloader", "autograd", "optimizers",
    "training", "spatial", "tokenization", "embeddings", "attention", "transformers",
)  # fmt: skip
TRAINED = ("tensor", "activations", "layers", "losses", "autograd", "optimizers")
DIGITS = (*TRAINED, "dataloader", "training")
TINYGPT = tuple(name for name in LESSONS if name != "spatial")


@dataclass(frozen=True)
class Milestone:
    """A milestone.

    Attributes:
        name: name on the command line.
        year: its year in history.
        description: one line.
        script: path of the program in the checkout.
        results: default folder for its results, in runs/.
        modules: lesson modules of the package that it uses.
    """

    name: str
    year: str
    description: str
    script: str
    results: str
    modules: tuple[str, ...]

    @property
    def lessons(self) -> tuple[int, ...]:
        """The numbers of the lessons that it uses."""
        return tuple(n for n, name in enumerate(LESSONS, 1) if name in self.modules)


MILESTONES = [
    Milestone(
        "01", "1958", "the perceptron learns a line, and what no line can do",
        "milestones/01_perceptron_1958/perceptron.py", "perceptron", ("tensor",),
    ),
    Milestone(
        "02", "1969", "exclusive or stops one layer; a hidden layer learns it",
        "milestones/02_xor_1969/xor.py", "xor", TRAINED,
    ),
    Milestone(
        "03", "1986", "backpropagation reads handwritten digits",
        "milestones/03_mlp_1986/mlp.py", "mlp", DIGITS,
    ),
    Milestone(
        "04", "1998", "convolutions read more digits with fewer weights",
        "milestones/04_cnn_1998/lenet.py", "lenet", (*DIGITS, "spatial"),
    ),
    Milestone(
        "05", "2017", "TinyGPT learns Shakespeare, the class demo",
        "milestones/05_transformer_era_2017/tinygpt_shakespeare.py", "transformer_era", TINYGPT,
    ),
    Milestone(
        "06", "2024", "a conversation with a language model of 135 million weights",
        "milestones/06_chat_2024/chat.py", "chat", TINYGPT,
    ),
    Milestone(
        "tinygpt", "2018+", "train TinyGPT on Shakespeare or any text",
        "milestones/tinygpt.py", "tinygpt", TINYGPT,
    ),
    Milestone(
        "tinycoder", "2021+", "TinyGPT completes Python, after reading its standard library",
        "milestones/tinycoder.py", "tinycoder", TINYGPT,
    ),
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
    blank = blank_lessons(root)
    missing = [number for number in milestone.lessons if number in blank]
    if missing:
        numbers = ", ".join(map(str, missing))
        raise LessonError(
            f"milestone {milestone.name} uses lessons that are blank in {PACKAGE}/: {numbers};"
            f" tito start {missing[0]} opens the next, tito export {missing[0]} writes it there"
        )
    command = [sys.executable, str(root / milestone.script), *arguments]
    return subprocess.run(command, check=False).returncode
