"""A training run of a model on a text, with checkpoints, metrics and a summary in one folder."""

import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..backends import default
from ..data.datasets import Corpus, read_text, tiny_shakespeare
from ..dataloader import Batch, DataLoader, TokenDataset
from ..ops import random
from ..serialization import checkpoint
from ..serialization.atomic import write_atomically
from ..tensor import Tensor
from ..tokenization import BPETokenizer, CharTokenizer, Tokenizer
from ..transformers import GPT, GPTConfig
from .presets import Preset, build_model, build_trainer, fit_epochs

CHECKPOINT = "checkpoint.safetensors"
RESULTS = (CHECKPOINT, "metrics.jsonl", "summary.json", "loss.png", "attention.png")
VALIDATION_BATCH = 32  # blocks
clock: Callable[[], float] = time.perf_counter  # in seconds; replaced in tests


class RunError(ValueError):
    """A run cannot be started or resumed; the message is one sentence with the reason."""


@dataclass(frozen=True)
class RunConfig:
    """The settings of a run.

    Attributes:
        preset: the hyperparameters, including the number of steps.
        data: path of a text file; None for Tiny Shakespeare.
        tokenizer: "char" or "bpe".
        vocab_size: vocabulary size of a BPE tokenizer.
        seed: seed of weights, batches and dropout.
        minutes: train for this time instead of the preset's steps; the schedule adapts to it.
        epochs: train for this many epochs instead of the preset's steps.
    """

    preset: Preset
    data: str | None = None
    tokenizer: str = "char"
    vocab_size: int = 1024
    seed: int = 1337
    minutes: float | None = None
    epochs: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as values that JSON can represent."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        """Return the settings that `to_dict` has described."""
        return cls(**{**values, "preset": Preset.from_dict(values["preset"])})


class Run:
    """Training of one model on one text.

    Attributes:
        config: the settings.
        out: folder for checkpoint, metrics and summary.
        model: the model.
        trainer: its optimizers, schedule and step count.
        seconds: time spent in training steps, including those before the run was resumed.

    Example::

        run = Run.start(RunConfig(PRESETS["default"]), Path("runs/tinygpt"))
        while not run.finished:
            loss = run.step()
        run.save()
        run.summarise()
    """

    def __init__(
        self,
        config: RunConfig,
        corpus: Corpus,
        tokenizer: Tokenizer,
        out: Path,
        processes: int | None = None,
    ) -> None:
        self.corpus, self.tokenizer, self.out = corpus, tokenizer, out
        train_text, self.val_text = corpus.split()
        self.train_ids = tokenizer.encode_array(train_text)
        self.val_ids = tokenizer.encode_array(self.val_text)
        if config.epochs is not None:
            preset = fit_epochs(config.preset, config.epochs, len(self.train_ids))
            config = replace(config, preset=preset)
        self.config = config
        self._check_length()
        self.blocks = TokenDataset(self.train_ids, config.preset.context)
        self.model = build_model(config.preset, tokenizer.vocab_size)
        self.trainer = build_trainer(config.preset, self.model, processes)
        self.seconds = 0.0

    @classmethod
    def start(cls, config: RunConfig, out: Path, processes: int | None = None) -> Self:
        """Start a new run: read the text, build the tokenizer, initialise the weights.

        Args:
            config: the settings.
            out: folder for the results.
            processes: number of processes that divide each batch; None for the backend's default.
                It affects results only by rounding.

        Raises:
            DataError: the text cannot be read.
            RunError: the text is too short for the model.
        """
        corpus = read_text(config.data) if config.data else tiny_shakespeare()
        tokenizer = _build_tokenizer(config, corpus)
        random.manual_seed(config.seed)
        return cls(config, corpus, tokenizer, out, processes)

    @classmethod
    def resume(cls, out: Path, processes: int | None = None) -> Self:
        """Resume the run in folder `out` from its last checkpoint.

        Raises:
            CheckpointError: there is no checkpoint, or it cannot be read.
            RunError: it is not a checkpoint of TinyGPT, or the text has changed since.
        """
        _, metadata = checkpoint.load(out / CHECKPOINT)
        try:
            config = RunConfig.from_dict(metadata["config"])
            tokenizer = Tokenizer.from_dict(metadata["tokenizer"])
            sha256, seconds = metadata["dataset_sha256"], metadata["seconds"]
        except (KeyError, TypeError) as error:
            raise RunError(f"{out / CHECKPOINT} is not a checkpoint of TinyGPT ({error})") from None
        corpus = read_text(config.data) if config.data else tiny_shakespeare()
        if corpus.sha256 != sha256:
            raise RunError(f"the text ({corpus.source}) has changed since the run was started")
        run = cls(config, corpus, tokenizer, out, processes)
        run.trainer.load_checkpoint(out / CHECKPOINT)
        run.seconds = seconds
        run._drop_metrics_after(run.trainer.step)
        return run

    def _check_length(self) -> None:
        needed = self.config.preset.context + 2
        for name, ids in (("training", self.train_ids), ("validation", self.val_ids)):
            if len(ids) < needed:
                raise RunError(
                    f"the text is too short: its {name} part has {len(ids)} tokens, and a context"
                    f" of {self.config.preset.context} needs at least {needed}"
                )

    # Training

    @property
    def steps(self) -> int:
        """Number of steps of the whole run; with a time limit, an estimate."""
        if self.config.minutes is None:
            return self.config.preset.steps
        return self._steps_in_time()

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or the time is up."""
        if self.config.minutes is None:
            return self.trainer.step >= self.config.preset.steps
        return self.seconds >= 60 * self.config.minutes

    @property
    def progress(self) -> float:
        """Completed fraction of the run, in [0, 1]."""
        if self.config.minutes is None:
            return self.trainer.step / self.config.preset.steps
        return min(1.0, self.seconds / (60 * self.config.minutes))

    @property
    def tokens(self) -> int:
        """Number of tokens trained on so far."""
        return self.trainer.step * self.config.preset.tokens_per_step

    def step(self) -> Tensor:
        """Run one training step on random blocks, and return its loss.

        The loss may still be being computed by a device; `read` waits for it, and counts that time.
        """
        begin = clock()
        preset = self.config.preset
        if self.config.minutes is not None and self.trainer.scheduler is not None:
            # Keep the completed fraction of the schedule equal to the elapsed fraction of the time.
            total = self._steps_in_time()
            self.trainer.scheduler.total_steps = total
            self.trainer.scheduler.warmup_steps = min(preset.warmup_steps, total // 10)
        batches: list[Any] = [
            self.blocks.random_batch(preset.batch_size) for _ in range(preset.accumulation)
        ]
        loss = self.trainer.train_step(batches)
        self.seconds += clock() - begin
        return loss

    def read(self, loss: Tensor) -> float:
        """Wait until the device has computed all steps so far, and return the loss as a number."""
        begin = clock()
        value: float = loss.item()
        self.seconds += clock() - begin
        return value

    def _steps_in_time(self) -> int:
        """Number of steps within the time limit, extrapolated from the speed so far."""
        done = self.trainer.step
        if not done:
            return self.config.preset.steps
        return max(done + 1, round(done * 60 * (self.config.minutes or 0.0) / self.seconds))

    # Validation

    def validate(self, every: int = 1) -> float:
        """Return the mean loss over the validation text, in nats per token.

        Args:
            every: use every n-th block only, for a quick estimate. With 1, every token but the
                first is predicted exactly once.
        """
        batches = validation_batches(self.val_ids, self.config.preset.context, every)
        return self.trainer.evaluate(batches)

    def val_loss_per_char(self, val_loss: float) -> float:
        """Convert a loss per token to nats per character, comparable between tokenizers."""
        return val_loss * (len(self.val_ids) - 1) / (len(self.val_text) - 1)

    # Results

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        self.trainer.save_checkpoint(
            self.out / CHECKPOINT,
            config=self.config.to_dict(),
            model=self.model.config.to_dict(),
            tokenizer=self.tokenizer.to_dict(),
            dataset=self.corpus.name,
            dataset_sha256=self.corpus.sha256,
            seconds=self.seconds,
        )

    def log(self, **values: Any) -> None:
        """Append a line to metrics.jsonl."""
        line = {"step": self.trainer.step, **values}
        with open(self.out / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the entries of metrics.jsonl."""
        path = self.out / "metrics.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def _drop_metrics_after(self, step: int) -> None:
        """Remove the entries after the checkpoint, whose steps will be logged again."""
        kept = [json.dumps(line) + "\n" for line in self.metrics() if line["step"] <= step]
        write_atomically(self.out / "metrics.jsonl", "".join(kept).encode())

    def summarise(self) -> dict[str, Any]:
        """Compute the loss on the whole validation text, and write summary.json."""
        val_loss = self.validate()
        summary = {
            "backend": default().name,
            "dataset": self.corpus.name,
            "dataset_sha256": self.corpus.sha256,
            "parameters": self.model.num_parameters(),
            "steps": self.trainer.step,
            "tokens": self.tokens,
            "train_seconds": round(self.seconds, 3),
            "tokens_per_second": round(self.tokens / max(self.seconds, 1e-9), 1),
            "val_loss": val_loss,
            "val_loss_per_char": self.val_loss_per_char(val_loss),
            "seed": self.config.seed,
        }
        write_atomically(self.out / "summary.json", json.dumps(summary, indent=2).encode())
        return summary


def _build_tokenizer(config: RunConfig, corpus: Corpus) -> Tokenizer:
    if config.tokenizer == "char":
        return CharTokenizer(sorted(set(corpus.text)))
    tokenizer = BPETokenizer(config.vocab_size)
    tokenizer.train(corpus.split()[0])
    return tokenizer


def validation_batches(ids: np.ndarray[Any, Any], context: int, every: int = 1) -> Iterator[Batch]:
    """Yield batches of adjacent blocks, so every token but the first is predicted exactly once.

    With `every`, use every n-th block only, spread over the whole text.
    """
    blocks = TokenDataset(ids, context, stride=context * every)
    yield from DataLoader(blocks, VALIDATION_BATCH)
    done = len(blocks) * context
    if every == 1 and done < len(ids) - 1:  # the last, shorter block
        yield TokenDataset(ids[done:], len(ids) - 1 - done)[0]


def load_model(out: Path) -> tuple[GPT, Tokenizer]:
    """Load model and tokenizer from the checkpoint in folder `out`, in evaluation mode.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        RunError: it is not a checkpoint of TinyGPT.
    """
    arrays, metadata = checkpoint.load(out / CHECKPOINT)
    try:
        config = GPTConfig(**metadata["model"])
        tokenizer = Tokenizer.from_dict(metadata["tokenizer"])
        model = GPT.from_config(config)
        model.load_state_dict(checkpoint.strip_prefix(arrays, "model/"))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{out / CHECKPOINT} is not a checkpoint of TinyGPT: {error}") from None
    model.eval()
    return model, tokenizer


def prepare_folder(out: Path) -> None:
    """Create folder `out`, check that it is writable, and move earlier results out of the way.

    The results of an earlier run go to ``out/earlier-1``, ``out/earlier-2``, and so on.

    Raises:
        RunError: the folder cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        results = [out / name for name in RESULTS if (out / name).exists()]
        if results:
            numbers = (out / f"earlier-{n}" for n in itertools.count(1))
            earlier = next(folder for folder in numbers if not folder.exists())
            earlier.mkdir()
            for path in results:
                path.rename(earlier / path.name)
    except OSError as error:
        raise RunError(f"cannot write to folder {out}: {error.strerror}") from None
