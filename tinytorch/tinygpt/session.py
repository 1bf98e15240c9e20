"""Training of a run in a terminal: progress, evaluations, interrupts, results."""

import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from ..backends import default
from ..runtime.data_parallel import ReplicaError
from . import cli
from .interrupt import Interrupt
from .report import (
    Report,
    default_prompt,
    example_word,
    first_line,
    plot_attention,
    plot_losses,
    sample_text,
)
from .run import DivergedError, Run, RunError

LOG_INTERVAL = 10  # steps between two lines of metrics.jsonl
EVALUATIONS = 8  # evaluations per run; each shows a sample and saves a checkpoint
EVAL_STRIDE = 4  # use every 4th block of the validation text during training


def command(*arguments: str) -> str:
    """Return a shell command that runs this program with other arguments."""
    return shlex.join(["python", sys.argv[0], *arguments])


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.1f} minutes"


@dataclass
class Session:
    """Training of a run until it is finished or interrupted.

    A program for another kind of text overrides what it shows and measures: `introduce`, `prompt`,
    `measure`, `judge`.

    Attributes:
        run: the run.
        report: where progress is shown.
        memory_advice: what to do when memory runs out.
        alone: creates the context in which this process does what other ranks do not.
    """

    run: Run
    report: Report
    memory_advice: str
    alone: Callable[[], AbstractContextManager[None]] = nullcontext

    def execute(self) -> int:
        """Train, and write the results; return the program's exit code."""
        run, report = self.run, self.report
        if run.is_complete():
            report.print(f"The run in {run.out} is already finished.")
            return 0
        stop = 0
        with Interrupt() as interrupt:
            try:
                with report:
                    self.introduce()
                    stop = self._train(interrupt)
            except DivergedError:  # keep the last save
                raise
            except Exception as error:
                # A signal to all processes may end the replicas first, or close the terminal.
                is_result = isinstance(error, ReplicaError | OSError) and not run.trainer.ranks
                if not (interrupt.requested and run.can_save(error) and is_result):
                    advice = self.memory_advice
                    with self.alone():
                        raise cli.training_error(run, error, advice, self._resume()) from error
            with self.alone():
                run.save()
            interrupt.deferred = False  # everything is saved: a signal ends the program at once
            stop = stop or run.agree(interrupt.requested)
            if stop:
                with suppress(OSError):  # the terminal may be closed
                    report.print(
                        f"Stopped after step {run.trainer.step}. Resume with:\n  {self._resume()}"
                    )
                return 128 + stop
            return self._finish()

    # What a program may override

    def introduce(self) -> None:
        """Describe text, tokens and model."""
        run, preset = self.run, self.run.config.preset
        word = example_word(run.val_text)
        self.report.print(
            f"{run.corpus.name}: {len(run.corpus.text):,} characters, {run.corpus.source}\n"
            f"{run.tokenizer.vocab_size} tokens in the vocabulary, for example"
            f" {run.tokenizer.encode(word)} for {word!r}\n"
            f"GPT: {run.model.num_parameters():,} parameters, {preset.num_layers} blocks,"
            f" {preset.num_heads} heads, width {preset.embed_dim}, context {self._contexts()};"
            f" backend {default()}{self._processes()}"
        )
        if run.trainer.step:
            self.report.print(f"Resuming after step {run.trainer.step}.")

    def prompt(self) -> str:
        """The start of the samples."""
        return default_prompt(self.run.corpus.text)

    def measure(self, val_loss: float) -> dict[str, Any]:
        """Measure the trained model further; return more entries of summary.json."""
        return {}

    def judge(self, summary: dict[str, Any]) -> int:
        """Return the exit code of a finished run."""
        return 0

    # Steps

    def _contexts(self) -> str:
        """The context; if it grows during the run, as in "64, then 128, then 256"."""
        return ", then ".join(map(str, self.run.config.preset.contexts))

    def _processes(self) -> str:
        trainer = self.run.trainer
        if trainer.ranks is not None:
            return f", {trainer.ranks.size} ranks"
        return f", {trainer.processes} processes" if trainer.processes > 1 else ""

    def _resume(self) -> str:
        return command("--resume", str(self.run.out))

    def _train(self, interrupt: Interrupt) -> int:
        """Train, and evaluate at regular intervals; return the number of a signal that stops it."""
        run = self.run
        evaluations = int(run.progress * EVALUATIONS)
        stop = run.agree(interrupt.requested)
        while not run.finished and not stop:
            loss = run.step(until=run.next_stop(LOG_INTERVAL, EVALUATIONS))
            step = run.trainer.step
            if step % LOG_INTERVAL == 0 or step == 1 or run.finished:
                value = run.read(loss)
                run.check_loss(value)
                speed, lr = run.tokens / max(run.seconds, 1e-9), run.trainer.optimizers[0].lr
                run.log(loss=value, lr=lr, tokens_per_second=round(speed, 1))
                self.report.update(run.progress, value, speed)
            stop = run.agree(interrupt.requested)
            if int(run.progress * EVALUATIONS) > evaluations and not run.finished:
                evaluations = int(run.progress * EVALUATIONS)
                self._evaluate()
                stop = stop or run.agree(interrupt.requested)
        return stop

    def _evaluate(self) -> None:
        """Estimate the validation loss, save a checkpoint, and show a sample."""
        val_loss = self.run.validate(every=EVAL_STRIDE)
        with self.alone():
            self._save_and_show(val_loss)

    def _save_and_show(self, val_loss: float) -> None:
        run = self.run
        run.log(val_loss=val_loss)
        run.save()
        if not run.leads:
            return
        loss = f"step {run.trainer.step:,}, validation loss {val_loss:.3f}"
        self.report.print(f"\n{loss}:\n{self._sample(120, 0)}\n")

    def _sample(self, tokens: int, seed: int) -> str:
        model, tokenizer = self.run.model, self.run.tokenizer
        text = sample_text(model, tokenizer, self.prompt(), tokens, temperature=0.8, seed=seed)
        return text.strip()

    def _finish(self) -> int:
        """Write the results of a run whose checkpoint is saved; return the exit code."""
        val_loss = self.run.validate()
        if not self.run.leads:
            return 0
        with self.alone():
            return self._write_results(val_loss)

    def _write_results(self, val_loss: float) -> int:
        """Write the summary and the plots, and show samples."""
        run, report = self.run, self.report
        summary = run.summarise(val_loss, self.measure(val_loss))
        if not any("val_loss" in m and m["step"] == run.trainer.step for m in run.metrics()):
            run.log(val_loss=summary["val_loss"])
        self._plot()
        for seed in (1, 2):
            report.print(f"--- sample {seed}\n{self._sample(300, seed)}\n")
        report.print(
            f"{summary['steps']:,} steps in {_duration(summary['train_seconds'])},"
            f" {summary['tokens_per_second']:,.0f} tokens/s\n"
            f"Loss on the whole validation text: {summary['val_loss']:.4f} nats per token,"
            f" {summary['val_loss_per_char']:.4f} per character\n"
            f"Checkpoint, metrics, loss.png and attention.png are in {run.out}."
            " Generate text with:\n"
            f"  {command('--sample', str(run.out), *self._prompt_flag(), '--tokens', '500')}"
        )
        return self.judge(summary)

    def _plot(self) -> None:
        """Draw the plots that are missing; any error leaves the other results as they are."""
        run = self.run
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
                f" all other results are in {run.out}; draw them with: {self._resume()}"
            ) from error

    def _prompt_flag(self) -> list[str]:
        """A --prompt that the model and this console can represent, or no flag."""
        word = example_word(self.run.corpus.text)
        try:
            word.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
        except UnicodeEncodeError:
            return []
        if not word.isprintable():
            return []
        return [f"--prompt={word}"] if word.startswith("-") else ["--prompt", word]
