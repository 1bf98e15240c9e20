"""Plots of digits and of networks that read them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.digits import Digits
from ..tinygpt.report import new_figure, save_figure
from .classifier import History, confusion_matrix, worst_mistakes

Array = np.ndarray[Any, Any]


def plot_history(history: History, goal: float, path: Path) -> None:
    """Plot the training loss and the mistakes on held-out digits after each epoch."""
    from matplotlib.ticker import LogLocator

    figure, (left, right) = new_figure(10, 4, 1, 2)
    epochs = range(1, len(history.losses) + 1)
    left.plot(epochs, history.losses)
    left.set(xlabel="epoch", ylabel="training loss", yscale="log", title="training loss")
    right.plot(epochs, [100 * (1 - a) for a in history.accuracies], color="tab:orange")
    right.axhline(100 * (1 - goal), color="black", linestyle=":", label=f"goal: {1 - goal:.1%}")
    right.set(xlabel="epoch", ylabel="% wrong", yscale="log", title="held-out digits")
    right.legend()
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_major_formatter("{x:g}")
    right.yaxis.set_minor_formatter("")
    for axes in (left, right):
        axes.grid(alpha=0.3, which="both")
    save_figure(figure, path)


def plot_confusion(labels: Array, predicted: Array, path: Path) -> None:
    """Plot how often each digit was read as each other one; right answers are not coloured."""
    counts = confusion_matrix(labels, predicted)
    wrong = counts - np.diag(np.diag(counts))
    figure, axes = new_figure(6, 5.5)
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=max(4, wrong.max()))
    for row, column in np.argwhere(counts > 0):
        weight = "normal" if row == column else "bold"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", weight=weight)
    axes.set(xlabel="read as", ylabel="digit", xticks=range(10), yticks=range(10))
    axes.set_title(f"{wrong.sum()} of {counts.sum()} held-out digits are wrong")
    save_figure(figure, path)


def plot_mistakes(digits: Digits, scores: Array, path: Path, most: int = 12) -> None:
    """Plot the mistakes on held-out digits, beginning with the one that was surest."""
    places = worst_mistakes(scores, digits.test_labels)[:most]
    titles = [f"{digits.test_labels[i]} read as {scores[i].argmax()}" for i in places]
    plot_images(digits.test_images[places], titles, "The worst mistakes", path, 6, "gray_r")


def plot_feature_maps(kernels: Array, images: Array, maps: Array, path: Path) -> None:
    """Plot kernels (C, KH, KW) above what they make of images (N, H, W): maps (N, C, H, W)."""
    rows, columns = len(images) + 1, len(kernels) + 1
    figure, axes = new_figure(columns, rows + 0.3)  # one for all: axes for each take seconds

    def show(image: Array, row: int, column: int, **colors: Any) -> None:
        height, width = 0.94 * np.array(image.shape) / max(image.shape)
        axes.imshow(image, extent=(column, column + width, row + height, row), **colors)

    largest, most = float(np.abs(kernels).max()), max(float(maps.max()), 1e-9)
    for column, kernel in enumerate(kernels, 1):
        show(kernel, 0, column, cmap="bwr", vmin=-largest, vmax=largest)
    for row, (image, found) in enumerate(zip(images, maps, strict=True), 1):
        show(image, row, 0, cmap="gray_r")
        for column, values in enumerate(found, 1):
            show(values, row, column, cmap="viridis", vmin=0, vmax=most)
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.axis("off")
    figure.suptitle("Kernels of the first convolution, and where each finds its pattern")
    save_figure(figure, path)


def plot_images(
    images: Array, titles: Sequence[str], title: str, path: Path, columns: int, colors: str
) -> None:
    """Plot images (N, H, W) in a grid, with symmetric colours for weights (`colors="bwr"`).

    Args:
        images: the images, of any scale.
        titles: one for each image, or none.
        title: of the whole figure.
        path: of the image file.
        columns: images in a row.
        colors: name of a colormap of Matplotlib.
    """
    rows = max(1, -(-len(images) // columns))
    figure, grid = new_figure(1.5 * columns, (1.8 if titles else 1.5) * rows + 0.5, rows, columns)
    for axes in np.ravel(grid):
        axes.axis("off")
    for number, (image, axes) in enumerate(zip(images, np.ravel(grid), strict=False)):
        largest = max(float(np.abs(image).max()), 1e-9)
        smallest = -largest if colors == "bwr" else 0.0
        axes.imshow(image, cmap=colors, vmin=smallest, vmax=largest)
        if titles:
            axes.set_title(titles[number], fontsize=10)
    figure.suptitle(title)
    save_figure(figure, path)
