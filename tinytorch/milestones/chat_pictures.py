"""Pictures of what a chat model computed: the tokens it thought of, and what it looked at."""

from pathlib import Path

import numpy as np

from ..tinygpt.report import new_figure, save_figure
from .chat import Thoughts


def plot_likeliest(thoughts: Thoughts, path: Path) -> None:
    """Plot the likeliest tokens at each place of an answer, the chosen one on top."""
    columns = thoughts.likeliest
    shares = np.array([[share for _, share in column] for column in columns]).T  # (most, T)
    figure, axes = new_figure(1.5 + 0.95 * len(columns), 3.6)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for x, column in enumerate(columns):
        for y, (text, share) in enumerate(column):
            color = "white" if share > 0.6 else "black"
            shown = f"{_label(text)}\n{share:.1%}"
            axes.text(x, y, shown, ha="center", va="center", color=color, fontsize=8)
    axes.set(xticks=range(len(columns)), yticks=range(len(shares)), ylabel="rank")
    axes.set_xticklabels([str(x + 1) for x in range(len(columns))])
    axes.set_yticklabels([str(y + 1) for y in range(len(shares))])
    axes.set(xlabel="token of the answer", title="The likeliest tokens, and their probabilities")
    figure.colorbar(image, ax=axes, label="probability")
    save_figure(figure, path)


def plot_looks(thoughts: Thoughts, path: Path) -> None:
    """Plot how much each block attends to each token, where the answer begins.

    The first token is left out: most heads that find nothing look there.
    """
    weights = thoughts.attention[:, 1:]  # (L, T - 1)
    labels = [_label(text) for text in thoughts.labels[1 : thoughts.first]]
    figure, axes = new_figure(max(6.0, 1.5 + 0.24 * len(labels)), 5.5)
    image = axes.imshow(weights, cmap="viridis", vmin=0, aspect="auto", origin="lower")
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axes.set(ylabel="block", title="Attention of each block before the answer's first token")
    figure.colorbar(image, ax=axes, label="weight, mean of the heads")
    save_figure(figure, path)


def plot_loss(losses: list[float], path: Path) -> None:
    """Plot the loss of each step of fine-tuning."""
    figure, axes = new_figure(6, 3.5)
    axes.plot(range(1, len(losses) + 1), losses)
    axes.set(xlabel="step", ylabel="loss (nats per token of the answers)", title="Fine-tuning")
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def _label(text: str) -> str:
    """A token's text on one line, with its white space visible."""
    shown = text.replace(" ", "␣").replace("\n", "↵")
    shown = shown if shown.isprintable() else ascii(shown)[1:-1]
    return (shown if len(shown) <= 14 else shown[:13] + "…").replace("$", r"\$")
