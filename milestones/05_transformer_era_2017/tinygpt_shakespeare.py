"""The class demo: TinyGPT learns Shakespeare in five epochs, and tells what it does on the way.

    python milestones/05_transformer_era_2017/tinygpt_shakespeare.py [--fast]

Model, training and plots are `tinytorch`'s, the same that `milestones/tinygpt.py` uses.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

# The package of this checkout comes first, whether another one is installed or none.
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
    first_line,
    opening,
    plot_attention,
    plot_losses,
    sample_text,
)
from tinytorch.tinygpt.run import RunError, prepare_folder

OUT = Path("runs", "transformer_era")
SEEN = 24  # characters of the line that the narration follows through the model
LOG_EVERY = 10  # steps
LOOK_EVERY = 4  # one in so many blocks of the validation text, after each epoch but the last


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="a rehearsal: one epoch")
    parser.add_argument("--epochs", type=float, help="how often through the text [5]")
    parser.add_argument("--data", type=Path, help="a UTF-8 text instead of Shakespeare")
    parser.add_argument("--batch-size", type=int, help="blocks of text in a step [32]")
    parser.add_argument("--seed", type=int, default=1337, help="of weights and batches [1337]")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where results go [{OUT}]")
    arguments = parser.parse_args(argv)
    if arguments.epochs is not None and not 0 < arguments.epochs < math.inf:
        parser.error(f"--epochs is a positive number, not {arguments.epochs}")
    if arguments.batch_size is not None and arguments.batch_size < 1:
        parser.error(f"--batch-size is at least 1, not {arguments.batch_size}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for what the user can mend, 130 after Ctrl-C."""
    arguments = parse(argv)
    try:
        return show(arguments)
    except (BackendError, DataError, RunError, OSError) as error:
        print(f"tinygpt_shakespeare: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def show(arguments: argparse.Namespace) -> int:
    """The whole demo."""
    epochs = arguments.epochs or (1 if arguments.fast else 5)
    preset = PRESETS["demo"]
    if arguments.batch_size:
        preset = replace(preset, batch_size=arguments.batch_size)
    data = str(arguments.data.resolve()) if arguments.data else None
    default()  # a backend that cannot be used is told before anything is written
    run = Run.start(RunConfig(preset, data, seed=arguments.seed, epochs=epochs), arguments.out)
    prepare_folder(run.out)
    report = ProgressReport()
    line = first_line(run.val_text)[:SEEN].rstrip()
    tell_text(run, report, line)
    tell_tokens(run, report, line)
    tell_vectors(run, report, line)
    tell_attention(run, report, line, "At first")
    with Interrupt() as interrupt, report:
        train(run, report, epochs, interrupt)
    if run.trainer.step:
        finish(run, report, line)
    if not run.finished:
        report.say(f"Stopped after step {run.trainer.step}; what it learned is in {run.out}.")
        return 130
    return 0


def tell_text(run: Run, report: ProgressReport, line: str) -> None:
    report.say(
        "\n1. The text\n"
        f"{run.corpus.name}: {len(run.corpus.text):,} characters, {run.corpus.source}.\n"
        "The model reads nine tenths of it, again and again. On the last tenth, which it never\n"
        f"reads, we look how well it guesses. We follow one line of that: {line!r}"
    )


def tell_tokens(run: Run, report: ProgressReport, line: str) -> None:
    ids = run.tokenizer.encode(line)
    report.say(
        "\n2. Tokenize: text becomes numbers\n"
        f"Each of {run.tokenizer.vocab_size} different characters has a number.\n"
        f"{line[:12]!r} -> {ids[:12]}\n"
        f"Who guesses among {run.tokenizer.vocab_size} without knowing anything has a loss of"
        f" ln {run.tokenizer.vocab_size} = {math.log(run.tokenizer.vocab_size):.2f}."
    )


@no_grad()
def tell_vectors(run: Run, report: ProgressReport, line: str) -> None:
    ids = Tensor([run.tokenizer.encode(line)], backend=run.model.backend)
    vectors = run.model.embedding(ids)
    numbers = ", ".join(f"{x:.2f}" for x in vectors.numpy()[0, 0, :5])
    report.say(
        "\n3. Embed: numbers become vectors\n"
        f"ids {tuple(ids.shape)} -> vectors {tuple(vectors.shape)}: each character has"
        f" {vectors.shape[-1]} numbers, which training will move.\n"
        f"{line[0]!r} begins with {numbers}"
    )


@no_grad()
def tell_attention(run: Run, report: ProgressReport, line: str, when: str) -> None:
    """Where the last character of the line looks, over all heads of the last block."""
    ids = Tensor([run.tokenizer.encode(line)], backend=run.model.backend)
    weights = run.model.attention_weights(ids)[-1].numpy()[0, :, -1]  # (nh, T)
    head = int(weights.max(axis=1).argmax())
    most = np.argsort(-weights[head])[:3]
    looks = ", ".join(f"{100 * weights[head, i]:.0f}% at {line[i]!r} ({i})" for i in most)
    first = "\n4. Attend: each character asks those before it\n" if when == "At first" else ""
    report.say(
        f"{first}{when}, the sharpest head of the last block looks from the last character"
        f" {line[-1]!r} ({len(line) - 1}): {looks}."
    )


def train(run: Run, report: ProgressReport, epochs: float, interrupt: Interrupt) -> None:
    """All steps; after each epoch the loss on what it never read, and what it writes."""
    preset, model = run.config.preset, run.model
    report.say(
        "\n5. Train: guess the next character, and learn from the error\n"
        f"GPT: {model.num_parameters():,} parameters in {preset.num_layers} blocks,"
        f" {preset.num_heads} heads, width {preset.embed_dim}; {preset.steps:,} steps of"
        f" {preset.tokens_per_step:,} characters; backend {default().name}."
    )
    tell_epoch(run, report, 0)
    told = 0
    while not run.finished and not interrupt.asked:
        loss = run.step()
        if run.trainer.step % LOG_EVERY == 0 or run.finished:
            value, pace = loss.item(), run.tokens / run.seconds
            run.log(loss=value, tokens_per_second=round(pace, 1))
            report.update(run.progress, value, pace)
        done = int(run.progress * epochs)
        if done > told:
            told = done
            tell_epoch(run, report, done)


def tell_epoch(run: Run, report: ProgressReport, epoch: int) -> None:
    loss = run.validate(every=1 if run.finished else LOOK_EVERY)
    run.log(val_loss=loss)
    prompt = opening(run.corpus.text)
    text = sample_text(run.model, run.tokenizer, prompt, 120, temperature=0.8, seed=0)
    name = f"After epoch {epoch}" if epoch else "Before training"
    report.say(
        f"\n{name} ({run.seconds:.0f} s): loss {loss:.3f}, as unsure as among"
        f" {math.exp(loss):.1f} characters. It writes:\n{text.strip()}\n"
    )


def finish(run: Run, report: ProgressReport, line: str) -> None:
    """Sample, and leave pictures, checkpoint and summary behind."""
    tell_attention(run, report, line, "Now")
    prompt = "ROMEO:\n"
    if not set(prompt) <= set(run.corpus.text):
        prompt = opening(run.corpus.text)
    report.say("\n6. Sample: it writes, one character after the other\n")
    begin, text = time.perf_counter(), prompt
    for token in stream(run.model, run.tokenizer.encode(prompt), 500, temperature=0.8, seed=1):
        text += run.tokenizer.decode([int(token[0])])
    pace = 500 / (time.perf_counter() - begin)
    report.say(f"{text.strip()}\n\n({pace:,.0f} characters a second)")
    run.save()
    summary = run.summarise()
    plot_losses(run.metrics(), run.out / "loss.png")
    plot_attention(run.model, run.tokenizer, first_line(run.val_text), run.out / "attention.png")
    report.say(
        f"\n{summary['steps']:,} steps in {summary['train_seconds']:.0f} s,"
        f" {summary['tokens_per_second']:,.0f} characters a second; loss on what it never read"
        f" {summary['val_loss']:.4f}.\nThe pictures, loss.png and attention.png, are in {run.out}."
    )


if __name__ == "__main__":
    sys.exit(main())
