"""Class demo: TinyGPT learns Shakespeare in five epochs, and explains each step.

    python milestones/05_transformer_era_2017/tinygpt_shakespeare.py [--fast]

Model, training and plots are those of `milestones/tinygpt.py`, in the package `tinytorch`.
"""

import argparse
import json
import math
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

# This checkout's package takes precedence over an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

try:
    import numpy as np

    from tinytorch.autograd import no_grad
    from tinytorch.backends import default
    from tinytorch.generation.generate import stream
    from tinytorch.milestones.program import SUMMARY, Claim
    from tinytorch.runtime.data_parallel import ReplicaError
    from tinytorch.serialization.atomic import write_atomically
    from tinytorch.tensor import Tensor
    from tinytorch.tinygpt import PRESETS, Run, RunConfig, cli
    from tinytorch.tinygpt.interrupt import Interrupt
    from tinytorch.tinygpt.report import (
        ProgressReport,
        default_prompt,
        first_line,
        plot_attention,
        plot_losses,
        sample_text,
    )
    from tinytorch.tinygpt.run import DivergedError, RunError, prepare_folder
except KeyboardInterrupt:  # Ctrl-C during the imports, which take a second
    sys.exit(130)

OUT = Path("runs", "transformer_era")
LINE_LENGTH = 24  # characters of the line that the demo follows through the model
LOG_INTERVAL = 10  # steps between two lines of metrics.jsonl
CLAIMED_STEPS = 100  # a shorter run makes no claim
EVAL_STRIDE = 4  # use every 4th block of the validation text, except after the last epoch


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    about = (__doc__ or "").splitlines()[0]
    parser = cli.Parser("tinygpt_shakespeare", description=about, epilog=cli.ON_A_GPU)
    parser.add_argument("--fast", action="store_true", help="a rehearsal: one epoch")
    parser.add_argument("--epochs", type=cli.positive, help="number of epochs [5]")
    parser.add_argument("--data", type=cli.path, help="UTF-8 text [Tiny Shakespeare]")
    parser.add_argument("--batch-size", type=cli.positive_int, help="blocks of text per batch [32]")
    parser.add_argument("--seed", type=cli.seed, default=1337, help="random seed [1337]")
    parser.add_argument("--out", type=cli.path, default=OUT, help=f"folder for results [{OUT}]")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code.

    It is 0, 1 if the claim does not hold, 2 for user errors, or 130 after Ctrl-C.
    """
    arguments = parse(argv)
    size = arguments.batch_size or PRESETS["demo"].batch_size
    return cli.exit_code(
        "tinygpt_shakespeare", partial(run_demo, arguments), f"try a --batch-size below {size}"
    )


def run_demo(arguments: argparse.Namespace) -> int:
    """Run the demo: explain the model on one line of text, train it, and show the results."""
    epochs = arguments.epochs or (1 if arguments.fast else 5)
    preset = PRESETS["demo"]
    data = cli.absolute(arguments.data) if arguments.data else None
    try:
        if arguments.batch_size:
            preset = replace(preset, batch_size=arguments.batch_size)
        config = RunConfig(preset, data, seed=arguments.seed, epochs=epochs)
    except ValueError as error:
        raise RunError(str(error)) from None
    default()  # raises for an unusable backend, before anything is written
    run = Run.start(config, arguments.out)
    with prepare_folder(run.out) as run.lock:
        return explain_and_train(run, epochs)


def explain_and_train(run: Run, epochs: float) -> int:
    """Explain the model on one line of text, train it, and show the results."""
    report = ProgressReport()
    line = first_line(run.val_text)[:LINE_LENGTH]
    line = line.rstrip() or line
    explain_text(run, report, line)
    explain_tokens(run, report, line)
    explain_embedding(run, report, line)
    explain_attention(run, report, line)
    with Interrupt() as interrupt:
        try:
            with report:
                train(run, report, epochs, interrupt)
        except DivergedError:  # keep the last save
            raise
        except Exception as error:
            # A signal to all processes may end the replicas first, or close the terminal.
            is_result = isinstance(error, ReplicaError | OSError)
            if not (interrupt.requested and run.intact and is_result):
                advice = f"try a --batch-size below {run.config.preset.batch_size}"
                resume = shlex.join(["python", "milestones/tinygpt.py", "--resume", str(run.out)])
                raise cli.training_error(run, error, advice, resume) from error
        if run.trainer.step:
            run.save()
    loss = finish(run, report, line) if run.trainer.step else math.inf
    if interrupt.requested:
        report.print(f"Stopped after step {run.trainer.step}; the checkpoint is in {run.out}.")
        return 128 + interrupt.requested
    return judge(run, report, loss) if run.trainer.step >= CLAIMED_STEPS else 0


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
        loss = run.step(until=run.next_stop(LOG_INTERVAL, epochs))
        if run.trainer.step % LOG_INTERVAL == 0 or run.finished:
            value = run.read(loss)
            run.check_loss(value)
            speed = run.tokens / max(run.seconds, 1e-9)
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


def finish(run: Run, report: ProgressReport, line: str) -> float:
    """Generate text, and write summary and plots; return the validation loss."""
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
    summary = run.summarise()
    plot_losses(run.metrics(), run.out / "loss.png")
    plot_attention(run.model, run.tokenizer, first_line(run.val_text), run.out / "attention.png")
    report.print(
        f"\n{summary['steps']:,} steps in {summary['train_seconds']:.0f} s,"
        f" {summary['tokens_per_second']:,.0f} characters per second; validation loss"
        f" {summary['val_loss']:.4f}.\nThe plots, loss.png and attention.png, are in {run.out}."
    )
    return float(summary["val_loss"])


def judge(run: Run, report: ProgressReport, loss: float) -> int:
    """Compare the loss with that of pairs of characters; return the exit code.

    A model whose attention does not work sees one character at a time, and is no better than they.
    """
    limit = pairs_loss(run)
    claim = Claim(
        "it predicts better than the frequencies of pairs of characters",
        f"loss {loss:.3f}, pairs {limit:.3f}",
        loss < limit,
    )
    summary = json.loads((run.out / SUMMARY).read_text(encoding="utf-8"))
    text = json.dumps({**summary, "claims": [asdict(claim)]}, indent=2)
    write_atomically(run.out / SUMMARY, text.encode())
    if not claim.holds:
        message = f"tinygpt_shakespeare: not confirmed: {claim.text} ({claim.found})"
        print(message, file=sys.stderr)
        return 1
    report.print(f"confirmed: {claim.text} ({claim.found})")
    return 0


def pairs_loss(run: Run) -> float:
    """Return the loss of predicting each character of the validation text from the one before it.

    It is predicted as often as it follows in the training text, plus one.
    """
    size = run.tokenizer.vocab_size
    counts = np.ones((size, size))
    np.add.at(counts, (run.train_ids[:-1], run.train_ids[1:]), 1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.log(shares[run.val_ids[:-1], run.val_ids[1:]]).mean())


if __name__ == "__main__":
    sys.exit(main())
