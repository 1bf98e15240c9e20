"""Train TinyGPT on Shakespeare, or on any text: `python milestones/tinygpt.py`.

This file is the command line; model, training and plots are in the package `tinytorch`.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

# This checkout's package takes precedence over an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

try:
    from tinytorch.backends import default
    from tinytorch.generation.generate import stream
    from tinytorch.runtime.data_parallel import ReplicaError
    from tinytorch.tinygpt import PRESETS, Run, RunConfig, cli, load_model
    from tinytorch.tinygpt.interrupt import Interrupt
    from tinytorch.tinygpt.presets import fit_steps
    from tinytorch.tinygpt.report import (
        ProgressReport,
        Report,
        default_prompt,
        encodable_prompt,
        example_word,
        first_line,
        plot_attention,
        plot_losses,
        sample_text,
    )
    from tinytorch.tinygpt.run import DivergedError, RunError, open_folder, prepare_folder
except KeyboardInterrupt:  # Ctrl-C during the imports, which take a second
    sys.exit(130)

LOG_INTERVAL = 10  # steps between two lines of metrics.jsonl
EVALUATIONS = 8  # evaluations per run; each shows a sample and saves a checkpoint
EVAL_STRIDE = 4  # use every 4th block of the validation text during training


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    about = "Train TinyGPT on Shakespeare or any text."
    parser = cli.Parser(prog="tinygpt", description=about, epilog=cli.ON_A_GPU)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=cli.positive_int, help="number of training steps")
    length.add_argument("--minutes", type=cli.minutes, help="training time; the schedule adapts")
    length.add_argument("--epochs", type=cli.positive, help="number of epochs")
    parser.add_argument("--preset", choices=list(PRESETS), help="hyperparameters [default]")
    parser.add_argument("--data", type=cli.path, metavar="FILE", help="UTF-8 text [Shakespeare]")
    parser.add_argument("--tokenizer", choices=["char", "bpe"], help="tokenizer [char]")
    parser.add_argument("--vocab-size", type=cli.positive_int, help="vocabulary size of bpe [1024]")
    parser.add_argument(
        "--batch-size", type=cli.positive_int, help="blocks of context length per batch"
    )
    parser.add_argument(
        "--processes", type=cli.positive_int, help="processes per batch [cores, at most 8]"
    )
    parser.add_argument("--seed", type=cli.seed, help="random seed [1337]")
    parser.add_argument("--out", metavar="DIR", type=cli.path, help="results folder [runs/tinygpt]")
    parser.add_argument("--resume", metavar="DIR", type=cli.path, help="resume an interrupted run")
    parser.add_argument("--sample", metavar="DIR", type=cli.path, help="generate text from a run")
    parser.add_argument("--prompt", help="start of the generated text [a newline]")
    parser.add_argument("--tokens", type=cli.positive_int, help="number of generated tokens [500]")
    parser.add_argument("--temperature", type=cli.temperature, help="0 is greedy sampling [0.8]")
    parser.add_argument("--top-k", type=cli.positive_int, help="sample from the k likeliest tokens")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    arguments = parser.parse_args(argv)
    _check_together(parser, arguments)
    return arguments


def _check_together(parser: cli.Parser, arguments: argparse.Namespace) -> None:
    """Reject flags that would be ignored, such as new settings for a resumed run."""
    given = {n for n, value in vars(arguments).items() if value is not None and value is not False}
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
    if arguments.vocab_size and arguments.tokenizer != "bpe":
        parser.error("--vocab-size needs --tokenizer bpe")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code.

    It is 0, 2 for user errors, or 128 plus the number of a signal that stopped the run (130 for
    Ctrl-C).
    """
    arguments = parse(argv)
    action = sample if arguments.sample else train
    return cli.exit_code("tinygpt", partial(action, arguments), _memory_advice(arguments))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.1f} minutes"


def _memory_advice(arguments: argparse.Namespace) -> str:
    """Return what to do when memory runs out; a resumed run cannot change its batch size."""
    if arguments.sample:
        return "try another backend, such as TT_BACKEND=numpy"
    if arguments.resume:
        return (
            "resume on a machine with more memory, or start a new run with a smaller --batch-size"
        )
    size = arguments.batch_size or PRESETS[arguments.preset or "default"].batch_size
    return f"try a --batch-size below {size}" if size > 1 else "try a shorter text"


def train(arguments: argparse.Namespace) -> int:
    """Start or resume a run, and train until it is finished or interrupted."""
    _check_extras()
    if arguments.resume:
        with open_folder(arguments.resume) as lock:
            run = Run.resume(arguments.resume, arguments.processes)
            run.lock = lock
            return _train_and_finish(run, arguments)
    run = _new_run(arguments)
    with prepare_folder(run.out) as run.lock:
        return _train_and_finish(run, arguments)


def _train_and_finish(run: Run, arguments: argparse.Namespace) -> int:
    report = Report() if arguments.quiet else ProgressReport(run.progress)
    if run.complete:
        report.print(f"The run in {run.out} is already finished.")
        return 0
    with Interrupt() as interrupt:
        try:
            with report:
                _introduce(run, report)
                _train(run, report, interrupt)
        except DivergedError:  # keep the last save
            raise
        except Exception as error:
            # A signal to all processes may end the replicas first, or close the terminal.
            is_result = isinstance(error, ReplicaError | OSError)
            if not (interrupt.requested and run.intact and is_result):
                advice = _memory_advice(arguments)
                raise cli.training_error(run, error, advice, _resume(run)) from error
        run.save()
        interrupt.deferred = False  # everything is saved, so a signal ends the program at once
        if interrupt.requested:
            with suppress(OSError):  # the terminal may be closed
                report.print(
                    f"Stopped after step {run.trainer.step}. Resume with:\n  {_resume(run)}"
                )
            return 128 + interrupt.requested
        _finish(run, report)
    return 0


def _resume(run: Run) -> str:
    return _command("--resume", str(run.out))


def _check_extras() -> None:
    missing = [name for name in ("rich", "matplotlib") if find_spec(name) is None]
    if missing:
        raise RunError(
            f"training requires {' and '.join(missing)}; install with"
            ' pip install -e ".[milestones]"'
        )


def _new_run(arguments: argparse.Namespace) -> Run:
    preset = PRESETS[arguments.preset or "default"]
    try:
        if arguments.batch_size:
            preset = fit_steps(preset, batch_size=arguments.batch_size)
        if arguments.steps:
            preset = fit_steps(preset, steps=arguments.steps)
        config = RunConfig(
            preset=preset,
            data=cli.absolute(arguments.data) if arguments.data else None,
            tokenizer=arguments.tokenizer or "char",
            vocab_size=arguments.vocab_size or 1024,
            seed=1337 if arguments.seed is None else arguments.seed,
            minutes=arguments.minutes,
            epochs=arguments.epochs,
        )
    except ValueError as error:
        raise RunError(str(error)) from None
    default()  # raises for an unusable backend, before anything is written
    return Run.start(config, arguments.out or Path("runs", "tinygpt"), arguments.processes)


def _introduce(run: Run, report: Report) -> None:
    model, preset = run.model, run.config.preset
    word = example_word(run.val_text)
    report.print(
        f"{run.corpus.name}: {len(run.corpus.text):,} characters, {run.corpus.source}\n"
        f"{run.tokenizer.vocab_size} tokens in the vocabulary, for example"
        f" {run.tokenizer.encode(word)} for {word!r}\n"
        f"GPT: {model.num_parameters():,} parameters, {preset.num_layers} blocks,"
        f" {preset.num_heads} heads, width {preset.embed_dim}, context {_contexts(run)};"
        f" backend {default()}{_processes(run)}"
    )
    if run.trainer.step:
        report.print(f"Resuming after step {run.trainer.step}.")


def _contexts(run: Run) -> str:
    """Return the context; if it grows during the run, as in "64, then 128, then 256"."""
    return ", then ".join(map(str, run.config.preset.contexts))


def _processes(run: Run) -> str:
    count = run.trainer.processes
    return f", {count} processes" if count > 1 else ""


def _train(run: Run, report: Report, interrupt: Interrupt) -> None:
    """Train, and evaluate at regular intervals."""
    evaluations = int(run.progress * EVALUATIONS)
    while not run.finished and not interrupt.requested:
        loss = run.step(until=run.next_stop(LOG_INTERVAL, EVALUATIONS))
        step = run.trainer.step
        if step % LOG_INTERVAL == 0 or step == 1 or run.finished:
            value = run.read(loss)
            run.check_loss(value)
            speed = run.tokens / max(run.seconds, 1e-9)
            run.log(loss=value, lr=run.trainer.optimizers[0].lr, tokens_per_second=round(speed, 1))
            report.update(run.progress, value, speed)
        if int(run.progress * EVALUATIONS) > evaluations and not run.finished:
            evaluations = int(run.progress * EVALUATIONS)
            _evaluate(run, report)


def _evaluate(run: Run, report: Report) -> None:
    """Estimate the validation loss, save a checkpoint, and show a sample."""
    val_loss = run.validate(every=EVAL_STRIDE)
    run.log(val_loss=val_loss)
    run.save()
    prompt = default_prompt(run.corpus.text)
    text = sample_text(run.model, run.tokenizer, prompt, 120, temperature=0.8, seed=0)
    report.print(f"\nstep {run.trainer.step:,}, validation loss {val_loss:.3f}:\n{text.strip()}\n")


def _finish(run: Run, report: Report) -> None:
    """Write the summary and the plots of a run whose checkpoint is saved, and show samples."""
    summary = run.summarise()
    if not any("val_loss" in m and m["step"] == run.trainer.step for m in run.metrics()):
        run.log(val_loss=summary["val_loss"])
    _plot(run)
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
        f"  {_command('--sample', str(run.out), *_prompt_flag(run), '--tokens', '500')}"
    )


def _plot(run: Run) -> None:
    """Draw the plots that are missing; any error leaves the other results as they are."""
    missing = run.missing_results()
    try:
        if "loss.png" in missing:
            plot_losses(run.metrics(), run.out / "loss.png")
        if "attention.png" in missing:
            line = first_line(run.val_text)
            plot_attention(run.model, run.tokenizer, line, run.out / "attention.png")
    except Exception as error:
        cli.show_traceback(error)
        raise RunError(
            f"the plots were not drawn ({cli.sentence(error, 'free some memory')});"
            f" all other results are in {run.out}; draw them with: {_resume(run)}"
        ) from error


def _prompt_flag(run: Run) -> list[str]:
    """Return a --prompt that the model and this console can represent, or no flag."""
    word = example_word(run.corpus.text)
    try:
        word.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return []
    if not word.isprintable():
        return []
    return [f"--prompt={word}"] if word.startswith("-") else ["--prompt", word]


def _command(*arguments: str) -> str:
    """Return a shell command that runs this program with other arguments."""
    return shlex.join(["python", sys.argv[0], *arguments])


def sample(arguments: argparse.Namespace) -> int:
    """Generate text from a checkpoint, and print it token by token."""
    model, tokenizer = load_model(arguments.sample)
    prompt = encodable_prompt(tokenizer) if arguments.prompt is None else arguments.prompt
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
    try:
        for text in tokenizer.decode_stream(int(token[0]) for token in tokens):
            print(text, end="", flush=True)
    except RuntimeError as error:  # the logits are not finite
        raise RunError(str(error)) from error
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
