"""Rosenblatt's perceptron learns to separate two groups of points with a line.

    python milestones/01_perceptron_1958/perceptron.py [--seed N] [--points N]

It needs tensors only: the learning rule of 1958 has no gradient.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# This checkout's package takes precedence over an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

try:
    import numpy as np

    from tinytorch.milestones import program
    from tinytorch.milestones.program import Claim, Output, Results
    from tinytorch.tensor import Tensor
    from tinytorch.tinygpt import cli
    from tinytorch.tinygpt.report import new_figure, save_figure
except KeyboardInterrupt:  # Ctrl-C during the imports, which take a second
    sys.exit(130)

Points = np.ndarray[Any, Any]  # (N, 2)
MARGIN = 0.05  # distance of the points from the line that separates them
COLORS = ("tab:blue", "tab:orange")


class Perceptron:
    """A threshold unit: 1 if x · weights + bias > 0, else 0. Training starts from zero."""

    def __init__(self) -> None:
        self.weights = Tensor([0.0, 0.0])
        self.bias = Tensor(0.0)

    def predict(self, x: Tensor) -> Tensor:
        """Points (..., 2) -> 0 or 1 (...)."""
        return (x @ self.weights + self.bias > 0).to("float32")

    def learn(self, x: Tensor, target: Tensor) -> bool:
        """Apply Rosenblatt's rule to a point x (2,); return whether the unit had to change.

        Source: F. Rosenblatt, "The Perceptron" (1958).
        """
        error = target - self.predict(x)  # 1: the score is too low; -1: too high; 0: right
        if error.item() == 0:
            return False
        self.weights = self.weights + error * x
        self.bias = self.bias + error
        return True


@dataclass
class Training:
    """How a perceptron learned.

    Attributes:
        lines: weights and bias, (w1, w2, b), after each update.
        mistakes: number of updates in each pass over the points.
    """

    lines: list[tuple[float, float, float]]
    mistakes: list[int]

    @property
    def solved(self) -> bool:
        """Whether the last pass was without a mistake, so that nothing changes any more."""
        return self.mistakes[-1] == 0


def train(points: Points, targets: Points, passes: int) -> Training:
    """Show the points one by one, again and again, until a whole pass is right."""
    unit, result = Perceptron(), Training([], [])
    examples = [(Tensor(x), Tensor(t)) for x, t in zip(points, targets, strict=True)]
    for _ in range(passes):
        result.mistakes.append(0)
        for x, target in examples:
            if unit.learn(x, target):
                result.mistakes[-1] += 1
                w1, w2 = unit.weights.tolist()
                result.lines.append((w1, w2, unit.bias.item()))
        if result.solved:
            break
    return result


def separable(count: int, rng: np.random.Generator) -> tuple[Points, Points, Points]:
    """Return points in a square, targets, and a line that separates them by `MARGIN`."""
    angle = rng.uniform(0, 2 * math.pi)
    line = np.array([math.cos(angle), math.sin(angle), rng.uniform(0.2, 0.4)])
    points = rng.uniform(-1, 1, (20 * count, 2)).astype(np.float32)
    distance = points @ line[:2] + line[2]
    ones, zeros = points[distance > MARGIN], points[distance < -MARGIN]
    half = count // 2
    points = np.concatenate([ones[:half], zeros[: count - half]])
    targets = np.repeat([1.0, 0.0], [half, count - half]).astype(np.float32)
    order = rng.permutation(count)
    return points[order], targets[order], line


def ring(count: int, rng: np.random.Generator) -> tuple[Points, Points]:
    """Return points of a disc, with target 1, and of a ring around it, with target 0."""
    targets = np.arange(count) % 2
    radius = np.where(targets == 1, rng.uniform(0, 0.4, count), rng.uniform(0.7, 1, count))
    # The angles of the ring are spread evenly, so that it surrounds the disc.
    angle = math.pi * np.arange(count) / count * 2 + rng.uniform(-0.1, 0.1, count)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    order = rng.permutation(count)
    return points[order].astype(np.float32), targets[order].astype(np.float32)


def most_updates(points: Points, targets: Points, line: Points) -> float:
    """Return the limit of the number of updates by the convergence theorem: (R / margin)².

    Source: A. Novikoff, "On convergence proofs for perceptrons" (1962). Points are taken as
    (x1, x2, 1), so that the bias is a weight like the others.
    """
    augmented = np.column_stack([points, np.ones(len(points))])
    signed = augmented @ line * np.where(targets == 1, 1, -1)
    margin = signed.min() / np.linalg.norm(line)
    return float(np.square(augmented).sum(axis=1).max() / margin**2)


def enclosing_triangle(points: Points, targets: Points) -> tuple[Points, Points] | None:
    """Return a point with target 1 and three with target 0 whose triangle contains it, or None.

    If there are such points, no line separates the targets: the score of the point inside is an
    average of the scores at the three corners, so it cannot be positive if they all are not.
    """
    zeros = points[targets == 0]
    angles = np.arctan2(zeros[:, 1], zeros[:, 0])
    corners = []
    for third in range(3):  # the points nearest to three directions
        difference = np.angle(np.exp(1j * (angles - third * 2 * math.pi / 3)))
        corners.append(zeros[np.abs(difference).argmin()])
    triangle = np.array(corners)  # (3, 2)
    matrix = np.vstack([triangle.T, np.ones(3)])
    if np.linalg.matrix_rank(matrix) < 3:  # two corners are the same point
        return None
    for inside in points[targets == 1]:
        shares = np.linalg.solve(matrix, [*inside, 1.0])  # of the corners in the point
        if (shares >= 0).all():
            return inside, triangle
    return None


# Plots


def plot_boundary(points: Points, targets: Points, lines: Sequence[Any], path: Path) -> None:
    """Plot the line after some of the updates, from the first to the last one."""
    figure, grid = new_figure(10, 7, 2, 3)
    shown = np.unique(np.geomspace(1, len(lines), 6).round().astype(int))
    for axes, number in zip(grid.flat, shown, strict=False):
        right = draw_unit(axes, points, targets, lines[number - 1])
        axes.set_title(f"update {number}: {right} of {len(points)} right")
    for axes in grid.flat[len(shown) :]:
        axes.axis("off")
    figure.suptitle("A perceptron moves its line at each mistake; mistakes are circled")
    save_figure(figure, path)


def draw_unit(axes: Any, points: Points, targets: Points, line: Sequence[float]) -> int:
    """Draw points and the half-plane of a unit; return how many are on the right side."""
    w1, w2, bias = line
    x, y = np.meshgrid(np.linspace(-1.15, 1.15, 300), np.linspace(-1.15, 1.15, 300))
    score = w1 * x + w2 * y + bias
    axes.contourf(x, y, score > 0, levels=[-1, 0.5, 2], colors=COLORS, alpha=0.15)
    if score.min() < 0 < score.max():  # else the line is outside of the picture
        axes.contour(x, y, score, levels=[0], colors="black")
    for target, color in enumerate(COLORS):
        axes.scatter(*points[targets == target].T, color=color, s=12)
    right = (points @ [w1, w2] + bias > 0) == targets
    axes.scatter(*points[~right].T, s=70, facecolors="none", edgecolors="tab:red")
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
    return int(right.sum())


def plot_limits(
    points: Points, targets: Points, attempt: Training, proof: Any, solved: Training, path: Path
) -> None:
    """Plot the ring with the proof that no line separates it, and the mistakes in each pass."""
    figure, (left, right) = new_figure(10, 4.6, 1, 2)
    count = draw_unit(left, points, targets, attempt.lines[-1])
    left.set_title(f"a disc in a ring: {count} of {len(points)} right")
    if proof is not None:
        inside, triangle = proof
        left.plot(*np.vstack([triangle, triangle[:1]]).T, color="black", linestyle="--")
        left.plot(*inside, "k*", markersize=14)
    for name, training, color in (
        ("two groups that a line separates", solved, "tab:green"),
        ("a disc in a ring", attempt, "tab:red"),
    ):
        right.plot(range(1, len(training.mistakes) + 1), training.mistakes, color=color, label=name)
    right.set(xlabel="pass over the points", ylabel="mistakes", ylim=(0, None))
    right.set_title("mistakes")
    right.legend(loc="center right")
    right.grid(alpha=0.3)
    save_figure(figure, path)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.parser("perceptron", __doc__, "perceptron")
    parser.add_argument("--points", type=cli.positive_int, default=100, help="points [100]")
    parser.add_argument(
        "--passes", type=cli.positive_int, default=100, help="most passes over the points [100]"
    )
    arguments = parser.parse_args(argv)
    if not 10 <= arguments.points <= 10_000:
        parser.error(f"--points must be from 10 to 10,000, not {arguments.points}")
    return arguments


def show(arguments: argparse.Namespace, output: Output) -> Results:
    """Train on two groups that a line separates, then on a ring, and draw both."""
    rng = np.random.default_rng(arguments.seed)
    points, targets, line = separable(arguments.points, rng)
    output.print(
        f"1. What it can do\n{len(points)} points, on two sides of a line that the perceptron does"
        " not know. At each mistake it\nadds the point to its weights, or subtracts it:"
    )
    solved = train(points, targets, arguments.passes)
    output.print("\n".join(report(solved)))
    limit = most_updates(points, targets, line)
    plot_boundary(points, targets, solved.lines, output.path("boundary.png"))

    points, targets = ring(arguments.points, rng)
    output.print(f"\n2. What it cannot do\n{len(points)} points, a disc and a ring around it:")
    attempt = train(points, targets, arguments.passes)
    output.print("\n".join(report(attempt)))
    proof = enclosing_triangle(points, targets)
    plot_limits(points, targets, attempt, proof, solved, output.path("limits.png"))
    return Results(
        [
            Claim(
                "the perceptron learns to separate the two groups",
                f"{solved.mistakes[-1]} mistakes in pass {len(solved.mistakes)}",
                solved.solved,
            ),
            Claim(
                "it needs no more updates than the convergence theorem allows",
                f"{len(solved.lines)} updates, at most {limit:.0f}",
                solved.solved and len(solved.lines) <= limit,
            ),
            Claim(
                "no line separates the disc from the ring, and it never stops making mistakes",
                f"{'a triangle of the ring encloses a point of the disc' if proof else 'no proof'};"
                f" at least {min(attempt.mistakes)} mistakes in each of {len(attempt.mistakes)}"
                " passes",
                proof is not None and not attempt.solved,
            ),
        ],
        {
            "points": arguments.points,
            "updates": len(solved.lines),
            "updates_limit": limit,
            "passes": len(solved.mistakes),
            "mistakes": solved.mistakes,
            "ring_mistakes": attempt.mistakes,
        },
    )


def report(training: Training) -> Iterator[str]:
    """Yield lines for the first passes, and for the last one."""
    last = len(training.mistakes)
    for number in sorted({1, 2, 3, last} & {*range(1, last + 1)}):
        yield f"pass {number}: {training.mistakes[number - 1]} mistakes"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code, see `program.main`."""
    return program.main(parse(argv), "perceptron", ["boundary.png", "limits.png"], show)


if __name__ == "__main__":
    sys.exit(main())
