"""Class demo: TinyGPT learns Shakespeare in five epochs, and explains each step.

    python milestones/05_transformer_era_2017/tinygpt_shakespeare.py [--fast]

Model, training and plots are those of `milestones/tinygpt.py`, in the package `tinytorch`.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

# This checkout's package takes precedence over an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tinytorch.autograd import no_grad
from tinytorch.backends import BackendError, default
from tinytorch.data.datasets import DataError
from tinytorch.generation.generate import stream
from tinytorch.tensor import Tensor
from tinytorch.tinygpt import PRESETS, Run, RunConfig
from tinytorch.tinygpt.interrupt import Interrupt
from tinytorch.tinygpt.report import (
    ProgressReport,
    default_prompt,
    first_line,
    plot_attention,
    plot_losses,
    sample_text,
)
from tinytorch.tinygpt.run import RunError, prepare_folder

OUT = Path("runs", "transformer_era")
LINE_LENGTH = 24  # characters of the line that the demo follows through the model
LOG_INTERVAL = 10  # steps between two lines of metrics.jsonl
EVAL_STRIDE = 4  # use every 4th block of the validation text, except after the last epoch


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="a rehearsal: one epoch")
    parser.add_argument("--epochs", type=float, help="number of epochs [5]")
    parser.add_argument("--data", type=Path, help="UTF-8 text [Tiny Shakespeare]")
    parser.add_argument("--batch-size", type=int, help="blocks of text per batch [32]")
    parser.add_argument("--seed", type=int, default=1337, help="random seed [1337]")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder for results [{OUT}]")
    arguments = parser.parse_args(argv)
    if arguments.epochs is not None and not 0 < arguments.epochs < math.inf:
        parser.error(f"--epochs must be a positive number, not {arguments.epochs}")
    if arguments.batch_size is not None and arguments.batch_size < 1:
        parser.error(f"--batch-size must be at least 1, not {arguments.batch_size}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code: 0, 2 for user errors, or 130 after Ctrl-C."""
    arguments = parse(argv)
    try:
        return run_demo(arguments)
    except (BackendError, DataError, RunError, OSError) as error:
        print(f"tinygpt_shakespeare: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run_demo(arguments: argparse.Namespace) -> int:
    """Run the demo: explain the model on one line of text, train it, and show the results."""
    epochs = arguments.epochs or (1 if arguments.fast else 5)
    preset = PRESETS["demo"]
    if arguments.batch_size:
        preset = replace(preset, batch_size=arguments.batch_size)
    data = str(arguments.data.resolve()) if arguments.data else None
    default()  # raises for an unusable backend, before anything is written
    run = Run.start(RunConfig(preset, data, seed=arguments.seed, epochs=epochs), arguments.out)
    prepare_folder(run.out)
    report = ProgressReport()
    line = first_line(run.val_text)[:LINE_LENGTH].rstrip()
    explain_text(run, report, line)
    explain_tokens(run, report, line)
    explain_embedding(run, report, line)
    explain_attention(run, report, line)
    with Interrupt() as interrupt, report:
        train(run, report, epochs, interrupt)
    if run.trainer.step:
        finish(run, report, line)
    if not run.finished:
        report.print(f"Stopped after step {run.trainer.step}; the checkpoint is in {run.out}.")
        return 130
    return 0


def explain_text(run: Run, report: ProgressReport, line: str) -> None:
    report.print(
        "\n1. The text\n"
        f"{run.corpus.name}: {len(run.corpus.text):,} characters, {run.corpus.source}.\n"
        "The model trains on the first 90%, several times over. We test it on the last 10%, which\n"
        f"it never trains on. We will follow one line of that part: {line!r}"
    )


def explain_tokens(run: Run, report: ProgressReport, line: str) -> None:
    ids = run.tokenizer.encode(line)
    report.print(
        "\n2. Tokenize: text becomes numbers\n"
        f"The text has {run.tokenizer.vocab_size} different characters. Each gets a number.\n"
        f"{line[:12]!r} -> {ids[:12]}\n"
        f"Guessing among {run.tokenizer.vocab_size} characters at random gives a loss of"
        f" ln {run.tokenizer.vocab_size} = {math.log(run.tokenizer.vocab_size):.2f}."
    )


@no_grad()
def explain_embedding(run: Run, report: ProgressReport, line: str) -> None:
    ids = Tensor([run.tokenizer.encode(line)], backend=run.model.backend)
    vectors = run.model.embedding(ids)
    numbers = ", ".join(f"{x:.2f}" for x in vectors.numpy()[0, 0, :5])
    report.print(
        "\n3. Embed: numbers become vectors\n"
        f"ids {tuple(ids.shape)} -> vectors {tuple(vectors.shape)}: each character becomes"
        f" {vectors.shape[-1]} numbers, which training will adjust.\n"
        f"The vector of {line[0]!r} begins with {numbers}"
    )


@no_grad()
def explain_attention(run: Run, report: ProgressReport, line: str, trained: bool = False) -> None:
    """Show what the last character of the line attends to, in the last block's sharpest head."""
    ids = Tensor([run.tokenizer.encode(line)], backend=run.model.backend)
    weights = run.model.attention_weights(ids)[-1].numpy()[0, :, -1]  # (nh, T)
    head = int(weights.max(axis=1).argmax())
    most = np.argsort(-weights[head])[:3]
    shares = ", ".join(f"{100 * weights[head, i]:.0f}% to {line[i]!r} ({i})" for i in most)
    title = "" if trained else "\n4. Attend: each character looks back at the ones before it\n"
    when = "After training" if trained else "Before training"
    report.print(
        f"{title}{when}, the sharpest head of the last block attends from the last character,"
        f" {line[-1]!r} ({len(line) - 1}): {shares}."
    )


def train(run: Run, report: ProgressReport, epochs: float, interrupt: Interrupt) -> None:
    """Train; after each epoch show the validation loss and a sample."""
    preset, model = run.config.preset, run.model
    report.print(
        "\n5. Train: predict the next character, and learn from the error\n"
        f"GPT: {model.num_parameters():,} parameters in {preset.num_layers} blocks,"
        f" {preset.num_heads} heads, width {preset.embed_dim}; {preset.steps:,} steps of"
        f" {preset.tokens_per_step:,} characters; backend {default().name}."
    )
    report_epoch(run, report, 0)
    reported = 0
    while not run.finished and not interrupt.requested:
        loss = run.step()
        if run.trainer.step % LOG_INTERVAL == 0 or run.finished:
            value, speed = loss.item(), run.tokens / run.seconds
            run.log(loss=value, tokens_per_second=round(speed, 1))
            report.update(run.progress, value, speed)
        done = int(run.progress * epochs)
        if done > reported:
            reported = done
            report_epoch(run, report, done)


def report_epoch(run: Run, report: ProgressReport, epoch: int) -> None:
    """Show the validation loss and a sample."""
    loss = run.validate(every=1 if run.finished else EVAL_STRIDE)
    run.log(val_loss=loss)
    prompt = default_prompt(run.corpus.text)
    text = sample_text(run.model, run.tokenizer, prompt, 120, temperature=0.8, seed=0)
    name = f"After epoch {epoch}" if epoch else "Before training"
    report.print(
        f"\n{name} ({run.seconds:.0f} s): loss {loss:.3f}, as uncertain as a fair choice among"
        f" {math.exp(loss):.1f} characters. It writes:\n{text.strip()}\n"
    )


def finish(run: Run, report: ProgressReport, line: str) -> None:
    """Generate text, and write checkpoint, summary and plots."""
    explain_attention(run, report, line, trained=True)
    prompt = "ROMEO:\n"
    if not set(prompt) <= set(run.corpus.text):
        prompt = default_prompt(run.corpus.text)
    report.print("\n6. Generate: it writes, one character at a time\n")
    begin, text = time.perf_counter(), prompt
    for token in stream(run.model, run.tokenizer.encode(prompt), 500, temperature=0.8, seed=1):
        text += run.tokenizer.decode([int(token[0])])
    speed = 500 / (time.perf_counter() - begin)
    report.print(f"{text.strip()}\n\n({speed:,.0f} characters per second)")
    run.save()
    summary = run.summarise()
    plot_losses(run.metrics(), run.out / "loss.png")
    plot_attention(run.model, run.tokenizer, first_line(run.val_text), run.out / "attention.png")
    report.print(
        f"\n{summary['steps']:,} steps in {summary['train_seconds']:.0f} s,"
        f" {summary['tokens_per_second']:,.0f} characters per second; validation loss"
        f" {summary['val_loss']:.4f}.\nThe plots, loss.png and attention.png, are in {run.out}."
    )


if __name__ == "__main__":
    sys.exit(main())
