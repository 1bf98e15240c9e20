"""Train TinyGPT on Shakespeare, or on any text: `python milestones/tinygpt.py`.

The model, the training and the plots are `tinytorch`'s; this file is the command line.
"""

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

# The package of this checkout comes first, whether another one is installed or none.
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
    first_line,
    opening,
    plot_attention,
    plot_losses,
    sample_text,
)
from tinytorch.tinygpt.run import RunError, prepare_folder

LOG_EVERY = 10  # steps between two lines of metrics.jsonl
LOOKS = 8  # how often a run stops to validate, to show a sample and to save
LOOK_EVERY = 4  # one in so many blocks of the validation text, for the looks on the way
MINUTE = 60.0


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"tinygpt: {message} (--help lists the flags)\n")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="tinygpt", description="Train TinyGPT on Shakespeare or any text.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_positive_int, help="train for that many steps")
    length.add_argument("--minutes", type=_positive, help="train that long; the schedule fits it")
    length.add_argument("--epochs", type=_positive, help="train that often through the text")
    parser.add_argument("--preset", choices=list(PRESETS), help="the recipe [default]")
    parser.add_argument("--data", metavar="FILE", help="a UTF-8 text instead of Shakespeare")
    parser.add_argument("--tokenizer", choices=["char", "bpe"], help="[char]")
    parser.add_argument("--vocab-size", type=_positive_int, help="tokens of a BPE [1024]")
    parser.add_argument("--batch-size", type=_positive_int, help="blocks of text in a step")
    parser.add_argument("--processes", type=_positive_int, help="that share a batch [all cores]")
    parser.add_argument("--seed", type=int, help="of weights and batches [1337]")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where results go [runs/tinygpt]")
    parser.add_argument("--resume", metavar="DIR", type=Path, help="go on with an interrupted run")
    parser.add_argument("--sample", metavar="DIR", type=Path, help="write text from a finished run")
    parser.add_argument("--prompt", help="how the sample begins [a new line]")
    parser.add_argument("--tokens", type=_positive_int, help="length of the sample [500]")
    parser.add_argument("--temperature", type=_temperature, help="0 picks the likeliest [0.8]")
    parser.add_argument("--top-k", type=_positive_int, help="choose among the k likeliest")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    arguments = parser.parse_args(argv)
    _check_together(parser, arguments)
    return arguments


def _check_together(parser: Parser, arguments: argparse.Namespace) -> None:
    """Refuse flags that would be ignored: a run that goes on has its settings already."""
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


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def _temperature(text: str) -> float:
    return 0.0 if text == "0" else _positive(text)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for what the user can mend, 130 after Ctrl-C."""
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


def _out_of_memory(arguments: argparse.Namespace, error: MemoryError) -> str:
    """What to do about it: a run that goes on has its batch size already."""
    cause = str(error).strip().split("\n")[0] or "no more can be had"
    if arguments.sample:
        return f"out of memory ({cause}): sample on another backend, as with TT_BACKEND=numpy"
    if arguments.resume:
        return (
            f"out of memory ({cause}): go on where there is more, or begin with less --batch-size"
        )
    size = arguments.batch_size or PRESETS[arguments.preset or "default"].batch_size
    return f"out of memory ({cause}): try a --batch-size below {size}"


def train(arguments: argparse.Namespace) -> int:
    """Start or go on with a run, to its end or to Ctrl-C."""
    _check_extras()
    if arguments.resume:
        run = Run.resume(arguments.resume, arguments.processes)
    else:
        run = _new_run(arguments)
    report = Report() if arguments.quiet else ProgressReport(run.progress)
    if run.finished and (run.out / "summary.json").exists():
        report.say(f"The run in {run.out} has reached its end already.")
        return 0
    with Interrupt() as interrupt, report:
        _introduce(run, report)
        _train(run, report, interrupt)
        if not run.finished:
            run.save()
    if not run.finished:
        resume = _command("--resume", str(run.out))
        report.say(f"Stopped after step {run.trainer.step}. Go on with:\n  {resume}")
        return 130
    _finish(run, report)
    return 0


def _check_extras() -> None:
    missing = [name for name in ("rich", "matplotlib") if find_spec(name) is None]
    if missing:
        raise RunError(
            f"training needs {' and '.join(missing)}: install this project with its extra, as in"
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
    default()  # a backend that cannot be used is told before anything is written
    run = Run.start(config, arguments.out or Path("runs", "tinygpt"), arguments.processes)
    prepare_folder(run.out)
    return run


def _introduce(run: Run, report: Report) -> None:
    model, preset = run.model, run.config.preset
    report.say(
        f"{run.corpus.name}: {len(run.corpus.text):,} characters, {run.corpus.source}\n"
        f"{run.tokenizer.vocab_size} tokens in the vocabulary, for example"
        f" {run.tokenizer.encode('the')} for 'the'\n"
        f"GPT: {model.num_parameters():,} parameters, {preset.num_layers} blocks,"
        f" {preset.num_heads} heads, width {preset.embed_dim}, context {preset.context};"
        f" backend {default()}{_processes(run)}"
    )
    if run.trainer.step:
        report.say(f"Going on after step {run.trainer.step}.")


def _processes(run: Run) -> str:
    count = run.trainer.processes
    return f", {count} processes" if count > 1 else ""


def _train(run: Run, report: Report, interrupt: Interrupt) -> None:
    """Steps, with a look at the model now and then."""
    looks = int(run.progress * LOOKS)
    while not run.finished and not interrupt.asked:
        loss = run.step()
        step = run.trainer.step
        if step % LOG_EVERY == 0 or step == 1 or run.finished:
            value = run.read(loss)
            pace = run.tokens / run.seconds
            run.log(loss=value, lr=run.trainer.optimizers[0].lr, tokens_per_second=round(pace, 1))
            report.update(run.progress, value, pace)
        if int(run.progress * LOOKS) > looks and not run.finished:
            looks = int(run.progress * LOOKS)
            _look(run, report)


def _look(run: Run, report: Report) -> None:
    """Validate on a part, show a sample, save."""
    val_loss = run.validate(every=LOOK_EVERY)
    run.log(val_loss=val_loss)
    text = sample_text(
        run.model, run.tokenizer, opening(run.corpus.text), 120, temperature=0.8, seed=0
    )
    report.say(f"\nstep {run.trainer.step:,}, validation loss {val_loss:.3f}:\n{text.strip()}\n")
    run.save()


def _finish(run: Run, report: Report) -> None:
    run.save()
    summary = run.summarise()
    run.log(val_loss=summary["val_loss"])
    plot_losses(run.metrics(), run.out / "loss.png")
    plot_attention(run.model, run.tokenizer, first_line(run.val_text), run.out / "attention.png")
    for seed in (1, 2):
        text = sample_text(
            run.model, run.tokenizer, opening(run.corpus.text), 300, temperature=0.8, seed=seed
        )
        report.say(f"--- sample {seed}\n{text.strip()}\n")
    report.say(
        f"{summary['steps']:,} steps in {summary['train_seconds'] / MINUTE:.1f} minutes,"
        f" {summary['tokens_per_second']:,.0f} tokens/s; loss over the whole validation text"
        f" {summary['val_loss']:.4f} nats a token,"
        f" {summary['val_loss_per_char']:.4f} a character\n"
        f"Checkpoint, metrics, loss.png and attention.png are in {run.out}. Write text with:\n"
        f"  {_command('--sample', str(run.out), '--prompt', 'ROMEO:', '--tokens', '500')}"
    )


def _command(*arguments: str) -> str:
    """This program's command line with other arguments, ready for a shell."""
    return shlex.join(["python", sys.argv[0], *arguments])


def sample(arguments: argparse.Namespace) -> int:
    """Write text from a checkpoint, token by token."""
    model, tokenizer = load_model(arguments.sample)
    prompt = "\n" if arguments.prompt is None else arguments.prompt
    if not prompt:
        raise RunError("the prompt is empty: give at least one character")
    try:
        ids = tokenizer.encode(prompt)
    except ValueError as error:
        raise RunError(f"the model cannot read the prompt: {error}") from None
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
