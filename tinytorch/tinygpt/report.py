"""Progress display, samples and plots of a run."""

import errno
import io
import logging
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..autograd import no_grad
from ..generation.generate import stream
from ..generation.read_ahead import READ_AHEAD
from ..serialization.atomic import write_atomically
from ..tensor import Tensor
from ..tokenization import Tokenizer
from ..transformers import GPT


class Report:
    """Silent report, for `--quiet`; base class of reports that display something."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def print(self, text: str) -> None:
        """Print text that stays on the screen."""

    def update(self, progress: float, loss: float, tokens_per_second: float) -> None:
        """Update the progress bar; `progress` is in [0, 1]."""


class ProgressReport(Report):
    """Progress bar with loss, speed and time left below the printed text; no bar if piped."""

    def __init__(self, progress: float = 0.0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(highlight=False, soft_wrap=True)
        self._console.on_broken_pipe = _broken_pipe  # type: ignore[method-assign]
        self._bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%  loss {task.fields[loss]:.3f}"),
            TextColumn("{task.fields[speed]:,.0f} tokens/s"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0, loss=0.0, speed=0.0)
        self._bar.update(self._task, completed=progress)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._bar.stop()

    def print(self, text: str) -> None:
        self._console.print(text, markup=False)

    def update(self, progress: float, loss: float, tokens_per_second: float) -> None:
        self._bar.update(self._task, completed=progress, loss=loss, speed=tokens_per_second)


def _broken_pipe() -> None:
    """Raise BrokenPipeError where rich would exit, so that the program can save first."""
    with suppress(OSError, ValueError):  # what is still in the buffer goes nowhere, at exit too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise BrokenPipeError(errno.EPIPE, "the reader of the output has ended")


def sample_text(model: GPT, tokenizer: Tokenizer, prompt: str, tokens: int, **settings: Any) -> str:
    """Return the prompt and its continuation by the model; `settings` are those of `stream`."""
    ids = tokenizer.encode(prompt)
    new = [int(token[0]) for token in stream(model, ids, tokens, ahead=READ_AHEAD, **settings)]
    return tokenizer.decode([*ids, *new])


def default_prompt(text: str) -> str:
    """Return a prompt in the vocabulary of a text: a newline, or else its first character."""
    return "\n" if "\n" in text else text[0]


def encodable_prompt(tokenizer: Tokenizer) -> str:
    """Return a prompt that a tokenizer can encode: a newline, or else its first token."""
    try:
        tokenizer.encode("\n")
    except ValueError:
        return tokenizer.decode([0])
    return "\n"


def example_word(text: str) -> str:
    """Return a word of a text: that of a speaker in Shakespeare, else one of its first line.

    A text without words gives its first characters.
    """
    if "ROMEO:" in text:
        return "ROMEO:"
    words = first_line(text).split() or text[:10_000].split()
    return (words[0] if words else text)[:8]


def first_line(text: str) -> str:
    """Return 32 characters from the start of the second paragraph, or of the text."""
    start = text.find("\n\n") + 2
    return text[start if 2 < start < len(text) - 32 else 0 :][:32]


def plot_losses(metrics: list[dict[str, Any]], path: Path) -> None:
    """Plot training and validation loss over the steps to an image file."""
    figure, axes = new_figure(7, 4)
    train = [(m["step"], m["loss"]) for m in metrics if "loss" in m]
    validation = [(m["step"], m["val_loss"]) for m in metrics if "val_loss" in m]
    if train:
        axes.plot(
            *zip(*train, strict=True), color="tab:blue", alpha=0.25, linewidth=0.8, label="training"
        )
        steps, losses = (np.array(column) for column in zip(*train, strict=True))
        axes.plot(steps, _smooth(losses), color="tab:blue", label="training, smoothed")
    if validation:
        axes.plot(*zip(*validation, strict=True), "o-", color="tab:orange", label="validation")
        last = validation[-1]
        axes.annotate(
            f"{last[1]:.3f}", last, textcoords="offset points", xytext=(0, 10), ha="right"
        )
    axes.set(xlabel="step", ylabel="loss (nats per token)", title="TinyGPT training")
    axes.legend()
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def _smooth(values: np.ndarray[Any, Any], window: int = 11) -> np.ndarray[Any, Any]:
    """Centred moving average; near the ends, over the values that there are."""
    window = min(window, len(values) // 4 * 2 + 1)
    kernel = np.ones(window)
    sums = np.convolve(values, kernel, mode="same")
    return sums / np.convolve(np.ones(len(values)), kernel, mode="same")


@no_grad()
def plot_attention(model: GPT, tokenizer: Tokenizer, text: str, path: Path) -> None:
    """Plot the attention weights of each head of the last block to an image file."""
    ids = tokenizer.encode(text)[: model.config.max_seq_len]
    labels = [_label(tokenizer.decode([i])) for i in ids]
    weights = last_attention(model, ids)  # (nh, T, T)
    columns = min(2, len(weights))
    rows = -(-len(weights) // columns)
    figure, grid = new_figure(5 * columns, 4.8 * rows, rows, columns)
    for head, axes in enumerate(np.atleast_1d(grid).flat):
        if head >= len(weights):
            axes.axis("off")
            continue
        axes.imshow(weights[head], cmap="viridis", vmin=0)
        axes.set(title=f"head {head + 1}", xlabel="attends to", ylabel="token")
        axes.set_xticks(range(len(ids)), labels, fontsize=7)
        axes.set_yticks(range(len(ids)), labels, fontsize=7)
    figure.suptitle("Attention in the last block")
    save_figure(figure, path)


@no_grad()
def last_attention(model: GPT, ids: list[int]) -> np.ndarray[Any, Any]:
    """Return the attention weights (nh, T, T) of the last block for ids (T,)."""
    weights = model.attention_weights(Tensor([ids], backend=model.backend))
    last: np.ndarray[Any, Any] = weights[-1].numpy()[0]
    return last


def _label(text: str) -> str:
    label = {" ": "␣", "\n": "↵"}.get(text, text)
    return (label if label.isprintable() else ascii(label)[1:-1]).replace("$", r"\$")


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> Any:
    """Return a figure and its axes, without a display and without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure to a PNG file, atomically; characters without a glyph are drawn as boxes."""
    image = io.BytesIO()
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")
            warnings.filterwarnings("ignore", "Matplotlib currently does not support")  # scripts
            figure.savefig(image, format="png", dpi=120)
    finally:
        logger.setLevel(level)
    write_atomically(path, image.getvalue())
