"""A convolutional network reads more handwritten digits than an MLP, with fewer parameters.

    python milestones/04_cnn_1998/lenet.py [--mnist | --data DIR] [--epochs N]

Convolution and pooling are those of lesson 09; the MLP is that of milestone 03, trained beside it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# This checkout's package takes precedence over an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

try:
    import numpy as np

    from tinytorch.activations import ReLU
    from tinytorch.autograd import no_grad
    from tinytorch.data.digits import Digits
    from tinytorch.layers import Linear
    from tinytorch.losses import CrossEntropyLoss
    from tinytorch.milestones import program
    from tinytorch.milestones.classifier import (
        add_flags,
        as_input,
        confusion_matrix,
        epochs_for,
        fit,
        load_digits,
        predict,
    )
    from tinytorch.milestones.pictures import (
        plot_confusion,
        plot_feature_maps,
        plot_history,
        plot_mistakes,
    )
    from tinytorch.milestones.program import Claim, Output, Results
    from tinytorch.modules.module import Module
    from tinytorch.ops import random
    from tinytorch.optimizers import SGD
    from tinytorch.runtime.trainer import Trainer
    from tinytorch.spatial import Conv2d, Flatten, MaxPool2d
    from tinytorch.tensor import Tensor
    from tinytorch.tinygpt.run import RunError
    from tinytorch.training import CosineSchedule
except KeyboardInterrupt:  # Ctrl-C during the imports, which take a second
    sys.exit(130)

GOAL = 0.985  # share of the held-out digits
MNIST_GOAL = 0.988
EPOCHS = 80
BATCH_SIZE = 32
LR = 0.05
SMALLEST = 4  # pixels
LARGE = 16  # pixels; kernels are 3 x 3 on smaller images, 5 x 5 on larger ones
PICTURES = ["learning.png", "confusion.png", "mistakes.png", "feature_maps.png"]
MLP = program.load(Path(__file__).resolve().parents[1] / "03_mlp_1986" / "mlp.py")

Array = np.ndarray[Any, Any]


class LeNet(Module):
    """Two convolutions, each followed by pooling, then a score for each digit.

    LeNet-5 of 1998 has 6 and 16 channels, and three linear layers. This one is for smaller images.
    """

    def __init__(self, height: int, width: int, channels: tuple[int, int] = (8, 32)) -> None:
        size = 3 if min(height, width) < LARGE else 5
        self.conv1 = Conv2d(1, channels[0], size, padding=size // 2)
        self.conv2 = Conv2d(*channels, size, padding=size // 2)
        self.activation, self.pool, self.flatten = ReLU(), MaxPool2d(2), Flatten()
        self.output = Linear(channels[1] * (height // 4) * (width // 4), 10)

    def feature_maps(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, C, H, W): where the kernels of the first layer find their pattern."""
        return self.activation(self.conv1(images))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 10)."""
        x = self.pool(self.feature_maps(images))  # (N, 8, H / 2, W / 2)
        x = self.pool(self.activation(self.conv2(x)))  # (N, 32, H / 4, W / 4)
        return self.output(self.flatten(x))


def build_trainer(model: Module, steps: int) -> Trainer:
    """Gradient descent with momentum; the rate falls to 0 along half a cosine."""
    optimizer = SGD(model.parameters(), lr=LR, momentum=0.9, weight_decay=1e-3)
    schedule = CosineSchedule(max_lr=LR, total_steps=steps)
    return Trainer(model, optimizer, CrossEntropyLoss(), schedule)


def distort(images: Array) -> Array:
    """Rotate, shear, scale and shift images (N, H, W) a little, each one differently.

    Pixel (y, x) of a result is read at A (y, x) + shift, between four pixels of the image.

    Source: Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998),
    section III.C, where distorted digits are added to the training set.
    """
    rng = random.generator()
    N, H, W = images.shape
    angle, shear = rng.uniform(-0.15, 0.15, (2, N))
    scale, shift = 1 + rng.uniform(-0.1, 0.1, (2, N)), rng.uniform(-0.05, 0.05, (2, N, 1, 1))
    y, x = np.mgrid[:H, :W].astype(np.float32) - np.array([H - 1, W - 1])[:, None, None] / 2
    a, b = scale[0] * np.cos(angle), -np.sin(angle)  # (N,)
    c, d = np.sin(angle) + shear, scale[1] * np.cos(angle)
    rows = _times(a, y) + _times(b, x) + H * shift[0] + (H - 1) / 2  # (N, H, W)
    columns = _times(c, y) + _times(d, x) + W * shift[1] + (W - 1) / 2
    return _read_between(images, rows, columns)


def _times(factor: Array, grid: Array) -> Array:
    """Factors (N,) times a grid (H, W): (N, H, W)."""
    result: Array = factor[:, None, None] * grid
    return result


def _read_between(images: Array, rows: Array, columns: Array) -> Array:
    """Read images (N, H, W) at places between their pixels; around them they are 0."""
    N, H, W = images.shape
    padded = np.pad(images, ((0, 0), (1, 2), (1, 2)))
    rows, columns = np.clip(rows + 1, 0, H + 1), np.clip(columns + 1, 0, W + 1)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = rows - top, columns - left  # shares of the lower and of the right pixels
    n = np.arange(N)[:, None, None]
    upper = (1 - right) * padded[n, top, left] + right * padded[n, top, left + 1]
    lower = (1 - right) * padded[n, top + 1, left] + right * padded[n, top + 1, left + 1]
    result: Array = ((1 - down) * upper + down * lower).astype(images.dtype)
    return result


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.parser("lenet", __doc__, "lenet")
    add_flags(parser, EPOCHS)
    return parser.parse_args(argv)


def parameters_of(model: Module) -> int:
    return sum(p.size for p in model.parameters())


def count_right(scores: Array, digits: Digits) -> int:
    return int((scores.argmax(axis=1) == digits.test_labels).sum())


def train_mlp(digits: Digits, most_epochs: int, output: Output) -> tuple[int, int]:
    """Train the MLP of milestone 03; return how many digits it reads, and its parameters."""
    count, height, width = digits.images.shape
    epochs = min(epochs_for(digits, MLP.EPOCHS), most_epochs)
    model = MLP.MLP(height * width, hidden=64)
    trainer = MLP.build_trainer(model, epochs * -(-count // MLP.BATCH_SIZE))
    output.print(f"\n1. The MLP of milestone 03: {parameters_of(model):,} parameters")
    fit(trainer, digits, epochs, MLP.BATCH_SIZE, output)
    return count_right(predict(model, digits.test_images), digits), parameters_of(model)


def show(arguments: argparse.Namespace, output: Output) -> Results:
    """Train the MLP and LeNet on the same digits, and draw what LeNet has learned."""
    digits = load_digits(arguments.mnist, arguments.data)
    count, height, width = digits.images.shape
    if min(height, width) < SMALLEST:
        raise RunError(
            f"images of {height} x {width} pixels are too small: two poolings need {SMALLEST} x"
            f" {SMALLEST}"
        )
    held_out, goal = len(digits.test_labels), MNIST_GOAL if arguments.mnist else GOAL
    output.print(f"{digits.name}, {digits.source}: {count:,} to learn from, {held_out:,} held out")
    epochs = arguments.epochs or epochs_for(digits, EPOCHS)
    mlp_right, mlp_parameters = train_mlp(digits, epochs, output)

    model = LeNet(height, width)
    parameters = parameters_of(model)
    output.print(
        f"\n2. LeNet: {parameters:,} parameters; the digits are distorted differently in each epoch"
    )
    trainer = build_trainer(model, epochs * -(-count // BATCH_SIZE))
    history = fit(trainer, digits, epochs, BATCH_SIZE, output, distort)
    scores = predict(model, digits.test_images)
    right = count_right(scores, digits)
    draw(model, digits, scores, output)
    plot_history(history, goal, output.path("learning.png"))
    return Results(
        [
            Claim(
                f"at least {goal:.1%} of the held-out digits are read correctly",
                f"{right:,} of {held_out:,}, {right / held_out:.2%}",
                right / held_out >= goal,
            ),
            Claim(
                "it reads more digits than the MLP, with fewer parameters",
                f"{right:,} with {parameters:,} parameters, the MLP {mlp_right:,} with"
                f" {mlp_parameters:,}",
                right > mlp_right and parameters < mlp_parameters,
            ),
        ],
        {
            "dataset": digits.name,
            "dataset_sha256": digits.sha256,
            "parameters": parameters,
            "epochs": epochs,
            "train_seconds": round(history.seconds, 3),
            "accuracy": right / held_out,
            "accuracies": history.accuracies,
            "losses": history.losses,
            "confusion": confusion_matrix(digits.test_labels, scores.argmax(axis=1)).tolist(),
            "mlp_parameters": mlp_parameters,
            "mlp_accuracy": mlp_right / held_out,
        },
    )


def draw(model: LeNet, digits: Digits, scores: Array, output: Output) -> None:
    """Draw the mistakes, and the kernels and feature maps for one example of each digit."""
    plot_confusion(digits.test_labels, scores.argmax(axis=1), output.path("confusion.png"))
    plot_mistakes(digits, scores, output.path("mistakes.png"))
    _, examples = np.unique(digits.test_labels, return_index=True)  # the first of each digit
    images = digits.test_images[examples]
    with no_grad():
        maps = model.feature_maps(as_input(images)).numpy()
    kernels = model.conv1.weight.numpy()[:, 0]  # (C, KH, KW)
    plot_feature_maps(kernels, images, maps, output.path("feature_maps.png"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code, see `program.main`."""
    return program.main(parse(argv), "lenet", PICTURES, show)


if __name__ == "__main__":
    sys.exit(main())
