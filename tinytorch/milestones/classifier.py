"""Training and evaluation of a network that reads digits."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..data.digits import Digits, mnist, read_folder, small_digits
from ..dataloader import DataLoader, TensorDataset
from ..modules.module import Module
from ..tensor import Tensor
from ..tinygpt import cli
from ..training import Trainer
from .program import Output

PART = 1000  # images that are evaluated or changed at a time
MANY = 10_000  # images
EPOCHS_OF_MANY = 5
LINES = 5  # epochs of a run that are printed

Array = np.ndarray[Any, Any]


def add_flags(parser: cli.Parser, epochs: int) -> None:
    """Add the flags that choose the digits, and --epochs; `epochs` is what `epochs_for` returns."""
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--mnist", action="store_true", help="download MNIST and use it")
    data.add_argument(
        "--data", type=cli.path, metavar="DIR", help="folder with IDX files [8 x 8 digits]"
    )
    parser.add_argument(
        "--epochs",
        type=cli.positive_int,
        help=f"passes over the data [{epochs}; {EPOCHS_OF_MANY} if there are more than {MANY:,}]",
    )


def epochs_for(digits: Digits, few: int) -> int:
    """Return the default number of epochs: `few` digits need more of them than many."""
    return few if len(digits.images) <= MANY else EPOCHS_OF_MANY


def load_digits(use_mnist: bool, folder: Path | None) -> Digits:
    """Return the digits that the flags choose."""
    if use_mnist:
        return mnist()
    return small_digits() if folder is None else read_folder(folder)


def as_input(images: Array) -> Tensor:
    """Return images (N, H, W) in [0, 1] as input of a network: (N, 1, H, W) in [-1, 1]."""
    return Tensor(2 * images[:, None] - 1)


@dataclass
class History:
    """The course of a training.

    Attributes:
        losses: mean training loss of each epoch.
        accuracies: share of the held-out digits that are right, after each epoch. They are shown
            only: nothing is chosen by them.
        seconds: time in training steps.
    """

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    seconds: float = 0.0


def fit(
    trainer: Trainer,
    digits: Digits,
    epochs: int,
    batch_size: int,
    output: Output,
    augment: Callable[[Array], Array] | None = None,
) -> History:
    """Train on the digits, and print the progress.

    Args:
        trainer: trains a network on batches of (images, labels).
        digits: the digits; only the training part is trained on.
        epochs: passes over the training part.
        batch_size: images of a batch.
        output: where the progress is printed.
        augment: changes the images (N, H, W) in [0, 1] before each epoch.
    """
    images, labels = as_input(digits.images), Tensor(digits.labels)
    history = History()
    for epoch in range(1, epochs + 1):
        begin = time.perf_counter()
        trainer.model.train()
        if augment:
            images = as_input(_in_parts(augment, digits.images))
        batches = DataLoader(TensorDataset(images, labels), batch_size, shuffle=True)
        losses = [trainer.train_step([batch]) for batch in batches]
        history.losses.append(float(np.mean([loss.item() for loss in losses])))
        history.seconds += time.perf_counter() - begin
        right = predict(trainer.model, digits.test_images).argmax(axis=1) == digits.test_labels
        history.accuracies.append(float(right.mean()))
        if epoch in (1, epochs) or epoch % max(1, epochs // LINES) == 0:
            output.print(
                f"epoch {epoch} ({history.seconds:.1f} s): loss {history.losses[-1]:.4f},"
                f" {right.mean():.1%} of the held-out digits are right"
            )
    return history


def predict(model: Module, images: Array) -> Array:
    """Return the scores (N, 10) of images (N, H, W), in evaluation mode."""
    model.eval()
    with no_grad():
        return _in_parts(lambda part: model(as_input(part)).numpy(), images)


def _in_parts(function: Callable[[Array], Array], images: Array) -> Array:
    """Apply a function to at most `PART` images at a time, so that little memory is needed."""
    return np.concatenate([function(images[i : i + PART]) for i in range(0, len(images), PART)])


def confusion_matrix(labels: Array, predicted: Array) -> Array:
    """Return how often each digit (row) was read as each digit (column)."""
    counts = np.zeros((10, 10), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def worst_mistakes(scores: Array, labels: Array) -> list[int]:
    """Return the places of all wrong answers, beginning with the one that was surest."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    wrong = np.flatnonzero(scores.argmax(axis=1) != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return [int(place) for place in wrong[order]]
