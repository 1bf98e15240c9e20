"""Exclusive or: one layer cannot learn it, one hidden layer can.

    python milestones/02_xor_1969/xor.py [--seed N] [--hidden N]

The network is built of layers, and trained by backpropagation.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# This checkout's package takes precedence over an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

try:
    import numpy as np

    from tinytorch.activations import Sigmoid, Tanh
    from tinytorch.autograd import no_grad
    from tinytorch.layers import Linear, Sequential
    from tinytorch.losses import BinaryCrossEntropyLoss
    from tinytorch.milestones import program
    from tinytorch.milestones.program import Claim, Output, Results
    from tinytorch.ops.random import manual_seed
    from tinytorch.optimizers import SGD
    from tinytorch.tensor import Tensor
    from tinytorch.tinygpt import cli
    from tinytorch.tinygpt.report import new_figure, save_figure
except KeyboardInterrupt:  # Ctrl-C during the imports, which take a second
    sys.exit(130)

INPUTS = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
TARGETS = [[0.0], [1.0], [1.0], [0.0]]
SEEDS = 10
LN2 = math.log(2)  # the loss of a network that answers 0.5 to everything
COLORS = ("tab:blue", "tab:orange")
SCALE = np.linspace(-0.5, 1.5, 200)  # both axes of the plots
Line = tuple[float, float, float]


def one_layer() -> Sequential:
    """A single unit: it divides the plane by a line."""
    return Sequential(Linear(2, 1), Sigmoid())


def hidden_layer(hidden: int) -> Sequential:
    """A layer of hidden units before it: each divides the plane, and the last one combines them."""
    return Sequential(Linear(2, hidden), Tanh(), Linear(hidden, 1), Sigmoid())


@dataclass
class Training:
    """How a network learned.

    Attributes:
        network: the network after training.
        losses: the loss before each step.
        right: how many of the four answers are right, before each step and at the end.
        best: `lines_of` the network when most answers were right.
    """

    network: Sequential
    losses: list[float]
    right: list[int]
    best: list[Line]


def train(network: Sequential, steps: int) -> Training:
    """Train on all four inputs at once, by gradient descent with momentum."""
    x, targets = Tensor(INPUTS), Tensor(TARGETS)
    optimizer = SGD(network.parameters(), lr=0.5, momentum=0.9)
    loss_fn = BinaryCrossEntropyLoss()
    result = Training(network, [], [], [])
    for _ in range(steps):
        outputs = network(x)
        loss = loss_fn(outputs, targets)
        result.losses.append(loss.item())
        right = count_right(outputs)
        if right > max(result.right, default=-1):
            result.best = lines_of(network)
        result.right.append(right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with no_grad():
        result.right.append(count_right(network(x)))
    return result


def lines_of(network: Sequential) -> list[Line]:
    """Return weights and bias, (w1, w2, b), of each unit of the first layer."""
    first = network[0]
    biases = first.bias.tolist()
    return [(w1, w2, b) for (w1, w2), b in zip(first.weight.tolist(), biases, strict=True)]


def count_right(outputs: Tensor) -> int:
    """Return how many of four outputs (4, 1) are on the side of 0.5 of their target."""
    return int(((outputs.numpy() > 0.5) == np.array(TARGETS)).sum())


def train_seeds(build: Callable[[], Sequential], seed: int, steps: int) -> list[Training]:
    """Train networks from `SEEDS` seeds, the first of them `seed`."""
    result = []
    for number in range(seed, seed + SEEDS):
        manual_seed(number % 2**64)
        result.append(train(build(), steps))
    return result


def count_of_all_lines() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Any]:
    """Return how many answers are right for each line, by direction and distance.

    A line answers 1 where x1 cos(direction) + x2 sin(direction) > distance. All units of one layer
    are such lines; lines further away than sqrt(2) answer the same to all four inputs.
    """
    directions, distances = np.linspace(0, 2 * np.pi, 361), np.linspace(-1.6, 1.6, 321)
    normal = np.stack([np.cos(directions), np.sin(directions)])  # (2, D)
    answers = (np.array(INPUTS) @ normal)[:, None, :] > distances[None, :, None]  # (4, S, D)
    return directions, distances, (answers == np.array(TARGETS)[..., None]).sum(axis=0)


# Plots


def plot_one_layer(single: list[Training], hidden: list[Training], path: Path) -> None:
    """Plot why one layer is stuck: its best line, all lines, the proof, and the losses."""
    figure, grid = new_figure(11, 9, 2, 2)
    best = max(single, key=lambda training: max(training.right))
    plot_best_line(grid[0, 0], best)
    plot_all_lines(figure, grid[0, 1])
    plot_proof(grid[1, 0])
    plot_losses(grid[1, 1], single, hidden)
    save_figure(figure, path)


def plot_best_line(axes: Any, best: Training) -> None:
    x, y = np.meshgrid(SCALE, SCALE)
    w1, w2, bias = best.best[0]
    axes.contourf(x, y, w1 * x + w2 * y + bias > 0, levels=[-1, 0.5, 2], colors=COLORS, alpha=0.25)
    draw_inputs(axes)
    axes.set_title(f"the best line in training: {max(best.right)} of 4")


def plot_all_lines(figure: Any, axes: Any) -> None:
    directions, distances, right = count_of_all_lines()
    degrees, five_colors = np.degrees(directions), _five_colors()
    image = axes.pcolormesh(degrees, distances, right, vmin=-0.5, vmax=4.5, cmap=five_colors)
    figure.colorbar(image, ax=axes, ticks=range(5), label="right answers")
    axes.set(xlabel="direction of the line (degrees)", ylabel="distance from the origin")
    axes.set_title(f"all lines: never more than {right.max()} of 4")


def plot_proof(axes: Any) -> None:
    draw_inputs(axes)
    points = np.array(INPUTS)
    axes.plot(*points[[0, 3]].T, color=COLORS[0], linestyle="--")
    axes.plot(*points[[1, 2]].T, color=COLORS[1], linestyle="--")
    axes.plot(0.5, 0.5, "k*", markersize=16)
    axes.set_title(
        "the star is midway between both pairs:\na line with 4 of 4 has it on both sides"
    )


def plot_losses(axes: Any, single: list[Training], hidden: list[Training]) -> None:
    for name, trainings, color in (
        ("one layer", single, "tab:red"),
        ("one hidden layer", hidden, "tab:green"),
    ):
        for number, training in enumerate(trainings):
            axes.plot(training.losses, color=color, alpha=0.6, label=None if number else name)
    axes.axhline(LN2, color="black", linestyle=":", label="ln 2")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, 1.1), title=f"losses of {len(single)} seeds")
    axes.legend()
    axes.grid(alpha=0.3)


def _five_colors() -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"].resampled(5)


def draw_inputs(axes: Any) -> None:
    """Draw the four inputs in the colours of their targets."""
    for point, (target,) in zip(INPUTS, TARGETS, strict=True):
        axes.scatter(*point, color=COLORS[int(target)], s=90, edgecolors="black", zorder=3)
    axes.set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), aspect="equal", xticks=[0, 1], yticks=[0, 1])


def plot_seeds(trainings: list[Training], seed: int, path: Path) -> None:
    """Plot the regions of the networks of all seeds, and the lines of their hidden units."""
    figure, grid = new_figure(13, 5.8, 2, SEEDS // 2)
    x, y = np.meshgrid(SCALE, SCALE)
    places = Tensor(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32))
    for number, (training, axes) in enumerate(zip(trainings, grid.flat, strict=True)):
        with no_grad():
            score = training.network(places).numpy().reshape(x.shape)
        axes.contourf(x, y, score, levels=[-1, 0.5, 2], colors=COLORS, alpha=0.25)
        draw_inputs(axes)
        for w1, w2, bias in lines_of(training.network):
            values = w1 * x + w2 * y + bias
            if values.min() < 0 < values.max():
                axes.contour(x, y, values, levels=[0], colors="black", linestyles=":")
        axes.set_title(f"seed {seed + number}: {training.right[-1]} of 4")
    figure.suptitle("One hidden layer; dotted: where a hidden unit changes its sign")
    save_figure(figure, path)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.parser("xor", __doc__, "xor")
    parser.add_argument("--hidden", type=cli.positive_int, default=8, help="hidden units [8]")
    parser.add_argument("--steps", type=cli.positive_int, default=300, help="training steps [300]")
    return parser.parse_args(argv)


def show(arguments: argparse.Namespace, output: Output) -> Results:
    """Train one layer and one hidden layer from ten seeds each, and draw both."""
    seed, steps = arguments.seed, arguments.steps
    output.print(f"1. One layer, {SEEDS} seeds, {steps} steps each")
    single = train_seeds(one_layer, seed, steps)
    most = max(max(training.right) for training in single)
    distance = max(abs(training.losses[-1] - LN2) for training in single)
    output.print(
        f"most answers right at any time: {', '.join(str(max(t.right)) for t in single)}\n"
        f"last losses: {single[0].losses[-1]:.4f} for the first seed, within {distance:.1g} of ln 2"
        f" = {LN2:.4f} for all:\nthe best that one layer can do is to answer 0.5 to everything."
    )
    output.print(f"\n2. One hidden layer of {arguments.hidden} units, the same training")
    hidden = train_seeds(lambda: hidden_layer(arguments.hidden), seed, steps)
    solved = sum(training.right[-1] == 4 for training in hidden)
    worst = max(training.losses[-1] for training in hidden)
    output.print(
        f"answers right at the end: {', '.join(str(t.right[-1]) for t in hidden)}\n"
        f"last losses: {hidden[0].losses[-1]:.4f} for the first seed, {worst:.4f} for the worst"
    )
    plot_one_layer(single, hidden, output.path("one_layer.png"))
    plot_seeds(hidden, seed, output.path("ten_seeds.png"))
    of_lines = int(count_of_all_lines()[2].max())
    return Results(
        [
            Claim(
                "one layer answers three of four at best",
                f"{most} of 4 in training, {of_lines} of 4 among all lines",
                most == of_lines == 3,
            ),
            Claim(
                "the loss of one layer is stuck at ln 2",
                f"within {distance:.1g}, from {SEEDS} seeds",
                distance < 0.01,
            ),
            Claim(
                "one hidden layer learns all four answers from each seed",
                f"{solved} of {SEEDS} seeds",
                solved == SEEDS,
            ),
        ],
        {
            "hidden": arguments.hidden,
            "steps": steps,
            "one_layer_most_right": [max(t.right) for t in single],
            "one_layer_losses": [t.losses[-1] for t in single],
            "hidden_layer_right": [t.right[-1] for t in hidden],
            "hidden_layer_losses": [t.losses[-1] for t in hidden],
        },
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code, see `program.main`."""
    return program.main(parse(argv), "xor", ["one_layer.png", "ten_seeds.png"], show)


if __name__ == "__main__":
    sys.exit(main())
