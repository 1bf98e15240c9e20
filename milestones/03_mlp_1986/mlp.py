"""A network with a hidden layer learns to read handwritten digits by backpropagation.

    python milestones/03_mlp_1986/mlp.py [--mnist | --data DIR] [--epochs N]

Layers, loss, optimizer, data loader and training loop are those of lessons 03 to 08.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

# This checkout's package takes precedence over an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

try:
    from tinytorch.activations import ReLU
    from tinytorch.layers import Linear
    from tinytorch.losses import CrossEntropyLoss
    from tinytorch.milestones import program
    from tinytorch.milestones.classifier import (
        add_flags,
        confusion_matrix,
        epochs_for,
        fit,
        load_digits,
        predict,
    )
    from tinytorch.milestones.pictures import (
        plot_confusion,
        plot_history,
        plot_images,
        plot_mistakes,
    )
    from tinytorch.milestones.program import Claim, Output, Results
    from tinytorch.modules.module import Module
    from tinytorch.optimizers import SGD
    from tinytorch.runtime.trainer import Trainer
    from tinytorch.tensor import Tensor
    from tinytorch.tinygpt import cli
    from tinytorch.training import CosineSchedule
except KeyboardInterrupt:  # Ctrl-C during the imports, which take a second
    sys.exit(130)

GOAL = 0.97  # share of the held-out digits
EPOCHS = 50
BATCH_SIZE = 32
LR = 0.1  # for up to PIXELS pixels
PIXELS = 64
PICTURES = ["learning.png", "confusion.png", "mistakes.png", "hidden_units.png"]


class MLP(Module):
    """Multi-layer perceptron: pixels -> hidden units -> a score for each digit."""

    def __init__(self, pixels: int, hidden: int) -> None:
        self.hidden = Linear(pixels, hidden)
        self.activation = ReLU()
        self.output = Linear(hidden, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 10)."""
        pixels = images.reshape(images.shape[0], -1)
        return self.output(self.activation(self.hidden(pixels)))


def build_trainer(model: MLP, steps: int) -> Trainer:
    """Gradient descent with momentum, as in 1986; the rate falls to 0 along half a cosine.

    A step moves the weights of all pixels, so it changes the sum of a hidden unit more if there are
    more of them: the rate is smaller by as much. With 0.1, most units for 784 pixels soon are dead.
    """
    lr = LR * min(1, PIXELS / model.hidden.weight.shape[1])
    optimizer = SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=3e-3)
    schedule = CosineSchedule(max_lr=lr, total_steps=steps)
    return Trainer(model, optimizer, CrossEntropyLoss(), schedule)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.parser("mlp", __doc__, "mlp")
    add_flags(parser, EPOCHS)
    parser.add_argument("--hidden", type=cli.positive_int, default=64, help="hidden units [64]")
    return parser.parse_args(argv)


def show(arguments: argparse.Namespace, output: Output) -> Results:
    """Train on digits, and draw the course of it, the mistakes, and what hidden units look for."""
    digits = load_digits(arguments.mnist, arguments.data)
    count, height, width = digits.images.shape
    model = MLP(height * width, arguments.hidden)
    parameters = sum(p.size for p in model.parameters())
    output.print(
        f"{digits.name}, {digits.source}: {count:,} to learn from, {len(digits.test_labels):,} held"
        f" out\n{height * width} pixels -> {arguments.hidden} hidden units -> 10 scores:"
        f" {parameters:,} parameters"
    )
    epochs = arguments.epochs or epochs_for(digits, EPOCHS)
    trainer = build_trainer(model, epochs * -(-count // BATCH_SIZE))
    history = fit(trainer, digits, epochs, BATCH_SIZE, output)
    scores = predict(model, digits.test_images)
    predicted = scores.argmax(axis=1)
    right = int((predicted == digits.test_labels).sum())
    accuracy = right / len(predicted)

    plot_history(history, GOAL, output.path("learning.png"))
    plot_confusion(digits.test_labels, predicted, output.path("confusion.png"))
    plot_mistakes(digits, scores, output.path("mistakes.png"))
    weights = model.hidden.weight.numpy()[:32].reshape(-1, height, width)
    title = "What hidden units look for: ink where red, none where blue"
    plot_images(weights, [], title, output.path("hidden_units.png"), 8, "bwr")
    return Results(
        [
            Claim(
                f"at least {GOAL:.0%} of the held-out digits are read correctly",
                f"{right:,} of {len(predicted):,}, {accuracy:.2%}",
                accuracy >= GOAL,
            )
        ],
        {
            "dataset": digits.name,
            "dataset_sha256": digits.sha256,
            "parameters": parameters,
            "epochs": epochs,
            "train_seconds": round(history.seconds, 3),
            "accuracy": accuracy,
            "accuracies": history.accuracies,
            "losses": history.losses,
            "confusion": confusion_matrix(digits.test_labels, predicted).tolist(),
        },
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code, see `program.main`."""
    return program.main(parse(argv), "mlp", PICTURES, show)


if __name__ == "__main__":
    sys.exit(main())
