"""Train TinyGPT on Shakespeare, or on any text: `python milestones/tinygpt.py`.

This file is the command line; model, training and plots are in the package `tinytorch`.
"""

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

# This checkout's package takes precedence over an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tinytorch.backends import BackendError, default
from tinytorch.data.datasets import DataError
from tinytorch.generation.generate import stream
from tinytorch.serialization.checkpoint import CheckpointError
from tinytorch.tinygpt import PRESETS, Run, RunConfig, load_model
from tinytorch.tinygpt.interrupt import Interrupt
from tinytorch.tinygpt.presets import fit_steps
from tinytorch.tinygpt.report import (
    ProgressReport,
    Report,
    default_prompt,
    first_line,
    plot_attention,
    plot_losses,
    sample_text,
)
from tinytorch.tinygpt.run import RunError, prepare_folder

LOG_INTERVAL = 10  # steps between two lines of metrics.jsonl
EVALUATIONS = 8  # evaluations per run; each shows a sample and saves a checkpoint
EVAL_STRIDE = 4  # use every 4th block of the validation text during training


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"tinygpt: {message} (--help lists the flags)\n")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="tinygpt", description="Train TinyGPT on Shakespeare or any text.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_positive_int, help="number of training steps")
    length.add_argument("--minutes", type=_positive, help="training time; the schedule adapts")
    length.add_argument("--epochs", type=_positive, help="number of epochs")
    parser.add_argument("--preset", choices=list(PRESETS), help="hyperparameters [default]")
    parser.add_argument("--data", metavar="FILE", help="UTF-8 text [Tiny Shakespeare]")
    parser.add_argument("--tokenizer", choices=["char", "bpe"], help="tokenizer [char]")
    parser.add_argument("--vocab-size", type=_positive_int, help="vocabulary size of bpe [1024]")
    parser.add_argument("--batch-size", type=_positive_int, help="blocks of text per batch")
    parser.add_argument(
        "--processes", type=_positive_int, help="processes per batch [cores, at most 8]"
    )
    parser.add_argument("--seed", type=int, help="random seed [1337]")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for results [runs/tinygpt]")
    parser.add_argument("--resume", metavar="DIR", type=Path, help="resume an interrupted run")
    parser.add_argument("--sample", metavar="DIR", type=Path, help="generate text from a run")
    parser.add_argument("--prompt", help="start of the generated text [a newline]")
    parser.add_argument("--tokens", type=_positive_int, help="number of generated tokens [500]")
    parser.add_argument("--temperature", type=_temperature, help="0 is greedy sampling [0.8]")
    parser.add_argument("--top-k", type=_positive_int, help="sample from the k most likely tokens")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    arguments = parser.parse_args(argv)
    _check_together(parser, arguments)
    return arguments


def _check_together(parser: Parser, arguments: argparse.Namespace) -> None:
    """Reject flags that would be ignored, such as new settings for a resumed run."""
    given = {name for name, value in vars(arguments).items() if value not in (None, False)}
    only_sample = {"prompt", "tokens", "temperature", "top_k"}
    if "sample" in given:
        stray = given - only_sample - {"sample", "quiet", "seed"}
    elif "resume" in given:
        stray = given - {"resume", "quiet", "processes"}
    else:
        stray = given & only_sample
    if stray:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(stray))
        mode = "--sample" if "sample" in given else "--resume" if "resume" in given else "training"
        parser.error(f"{flags} cannot be used with {mode}")
    if arguments.vocab_size and arguments.tokenizer != "bpe" and not arguments.resume:
        parser.error("--vocab-size needs --tokenizer bpe")


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return value


def _temperature(text: str) -> float:
    try:
        return 0.0 if float(text) == 0 else _positive(text)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"must be 0 or a positive number, not {text!r}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code: 0, 2 for user errors, or 130 after Ctrl-C."""
    arguments = parse(argv)
    try:
        if arguments.sample:
            return sample(arguments)
        return train(arguments)
    except (BackendError, CheckpointError, DataError, RunError, OSError) as error:
        print(f"tinygpt: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"tinygpt: {_out_of_memory(arguments, error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.1f} minutes"


def _out_of_memory(arguments: argparse.Namespace, error: MemoryError) -> str:
    """Return the error with a remedy; a resumed run cannot change its batch size."""
    cause = str(error).strip().split("\n")[0] or "allocation failed"
    if arguments.sample:
        return f"out of memory ({cause}): try another backend, such as TT_BACKEND=numpy"
    if arguments.resume:
        return (
            f"out of memory ({cause}): resume on a machine with more memory,"
            " or start a new run with a smaller --batch-size"
        )
    size = arguments.batch_size or PRESETS[arguments.preset or "default"].batch_size
    return f"out of memory ({cause}): try a --batch-size below {size}"


def train(arguments: argparse.Namespace) -> int:
    """Start or resume a run, and train until it is finished or interrupted."""
    _check_extras()
    if arguments.resume:
        run = Run.resume(arguments.resume, arguments.processes)
    else:
        run = _new_run(arguments)
    report = Report() if arguments.quiet else ProgressReport(run.progress)
    if run.finished and (run.out / "summary.json").exists():
        report.print(f"The run in {run.out} is already finished.")
        return 0
    with Interrupt() as interrupt, report:
        _introduce(run, report)
        _train(run, report, interrupt)
        if not run.finished:
            run.save()
    if not run.finished:
        resume = _command("--resume", str(run.out))
        report.print(f"Stopped after step {run.trainer.step}. Resume with:\n  {resume}")
        return 130
    _finish(run, report)
    return 0


def _check_extras() -> None:
    missing = [name for name in ("rich", "matplotlib") if find_spec(name) is None]
    if missing:
        raise RunError(
            f"training requires {' and '.join(missing)}; install with"
            ' pip install -e ".[milestones]"'
        )


def _new_run(arguments: argparse.Namespace) -> Run:
    preset = PRESETS[arguments.preset or "default"]
    if arguments.batch_size:
        preset = fit_steps(preset, batch_size=arguments.batch_size)
    if arguments.steps:
        preset = fit_steps(preset, steps=arguments.steps)
    config = RunConfig(
        preset=preset,
        data=str(Path(arguments.data).resolve()) if arguments.data else None,
        tokenizer=arguments.tokenizer or "char",
        vocab_size=arguments.vocab_size or 1024,
        seed=1337 if arguments.seed is None else arguments.seed,
        minutes=arguments.minutes,
        epochs=arguments.epochs,
    )
    default()  # raises for an unusable backend, before anything is written
    run = Run.start(config, arguments.out or Path("runs", "tinygpt"), arguments.processes)
    prepare_folder(run.out)
    return run


def _introduce(run: Run, report: Report) -> None:
    model, preset = run.model, run.config.preset
    report.print(
        f"{run.corpus.name}: {len(run.corpus.text):,} characters, {run.corpus.source}\n"
        f"{run.tokenizer.vocab_size} tokens in the vocabulary, for example"
        f" {run.tokenizer.encode('the')} for 'the'\n"
        f"GPT: {model.num_parameters():,} parameters, {preset.num_layers} blocks,"
        f" {preset.num_heads} heads, width {preset.embed_dim}, context {preset.context};"
        f" backend {default()}{_processes(run)}"
    )
    if run.trainer.step:
        report.print(f"Resuming after step {run.trainer.step}.")


def _processes(run: Run) -> str:
    count = run.trainer.processes
    return f", {count} processes" if count > 1 else ""


def _train(run: Run, report: Report, interrupt: Interrupt) -> None:
    """Train, and evaluate at regular intervals."""
    evaluations = int(run.progress * EVALUATIONS)
    while not run.finished and not interrupt.requested:
        loss = run.step()
        step = run.trainer.step
        if step % LOG_INTERVAL == 0 or step == 1 or run.finished:
            value = run.read(loss)
            speed = run.tokens / run.seconds
            run.log(loss=value, lr=run.trainer.optimizers[0].lr, tokens_per_second=round(speed, 1))
            report.update(run.progress, value, speed)
        if int(run.progress * EVALUATIONS) > evaluations and not run.finished:
            evaluations = int(run.progress * EVALUATIONS)
            _evaluate(run, report)


def _evaluate(run: Run, report: Report) -> None:
    """Estimate the validation loss, show a sample, and save a checkpoint."""
    val_loss = run.validate(every=EVAL_STRIDE)
    run.log(val_loss=val_loss)
    prompt = default_prompt(run.corpus.text)
    text = sample_text(run.model, run.tokenizer, prompt, 120, temperature=0.8, seed=0)
    report.print(f"\nstep {run.trainer.step:,}, validation loss {val_loss:.3f}:\n{text.strip()}\n")
    run.save()


def _finish(run: Run, report: Report) -> None:
    run.save()
    summary = run.summarise()
    run.log(val_loss=summary["val_loss"])
    plot_losses(run.metrics(), run.out / "loss.png")
    plot_attention(run.model, run.tokenizer, first_line(run.val_text), run.out / "attention.png")
    prompt = default_prompt(run.corpus.text)
    for seed in (1, 2):
        text = sample_text(run.model, run.tokenizer, prompt, 300, temperature=0.8, seed=seed)
        report.print(f"--- sample {seed}\n{text.strip()}\n")
    report.print(
        f"{summary['steps']:,} steps in {_duration(summary['train_seconds'])},"
        f" {summary['tokens_per_second']:,.0f} tokens/s\n"
        f"Loss on the whole validation text: {summary['val_loss']:.4f} nats per token,"
        f" {summary['val_loss_per_char']:.4f} per character\n"
        f"Checkpoint, metrics, loss.png and attention.png are in {run.out}. Generate text with:\n"
        f"  {_command('--sample', str(run.out), '--prompt', 'ROMEO:', '--tokens', '500')}"
    )


def _command(*arguments: str) -> str:
    """Return a shell command that runs this program with other arguments."""
    return shlex.join(["python", sys.argv[0], *arguments])


def sample(arguments: argparse.Namespace) -> int:
    """Generate text from a checkpoint, and print it token by token."""
    model, tokenizer = load_model(arguments.sample)
    prompt = "\n" if arguments.prompt is None else arguments.prompt
    if not prompt:
        raise RunError("the prompt is empty: it needs at least one character")
    try:
        ids = tokenizer.encode(prompt)
    except ValueError as error:
        raise RunError(f"the prompt cannot be encoded: {error}") from None
    tokens = stream(
        model,
        ids,
        arguments.tokens or 500,
        temperature=0.8 if arguments.temperature is None else arguments.temperature,
        top_k=arguments.top_k,
        seed=arguments.seed,
    )
    print(prompt, end="", flush=True)
    for text in tokenizer.decode_stream(int(token[0]) for token in tokens):
        print(text, end="", flush=True)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
