"""One training run: a text, a model, a folder with what came of it; it can stop and go on."""

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
from ..training import strip_prefix
from ..transformers import GPT, GPTConfig
from .presets import Preset, build_model, build_trainer, fit_epochs

CHECKPOINT = "checkpoint.safetensors"
RESULTS = (CHECKPOINT, "metrics.jsonl", "summary.json", "loss.png", "attention.png")
VALIDATION_BATCH = 32  # blocks
clock: Callable[[], float] = time.perf_counter  # seconds; tests replace it by one that they set


class RunError(ValueError):
    """A run cannot start or go on; the message says in one sentence why."""


@dataclass(frozen=True)
class RunConfig:
    """What a run was asked to do.

    Attributes:
        preset: the recipe, its steps those of this run.
        data: a text file; None for Tiny Shakespeare.
        tokenizer: "char" or "bpe".
        vocab_size: of a BPE tokenizer.
        seed: of weights and batches.
        minutes: train that long instead of the preset's steps; the schedule fits the time.
        epochs: train that often through the text instead.
    """

    preset: Preset
    data: str | None = None
    tokenizer: str = "char"
    vocab_size: int = 1024
    seed: int = 1337
    minutes: float | None = None
    epochs: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        """What `to_dict` wrote."""
        return cls(**{**values, "preset": Preset.from_dict(values["preset"])})


class Run:
    """A model in training on a text.

    Attributes:
        out: the folder for checkpoint, metrics and summary.
        trainer: model, optimizers and step.
        seconds: time spent in training steps, over all sessions of the run.

    >>> run = Run.start(RunConfig(PRESETS["default"]), Path("runs/tinygpt"))
    >>> while not run.finished:
    ...     loss = run.step()
    >>> run.save(); run.summarise()
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
        model = build_model(config.preset, tokenizer.vocab_size)
        self.trainer = build_trainer(config.preset, model, processes)
        self.seconds = 0.0

    @classmethod
    def start(cls, config: RunConfig, out: Path, processes: int | None = None) -> Self:
        """A new run: read the text, make the tokenizer, draw the weights.

        Args:
            processes: that share each batch; None for as many as serve the backend best. The
                result does not depend on it but by rounding.

        Raises:
            DataError: the text cannot be read.
            RunError: it is too short for the model.
        """
        corpus = read_text(config.data) if config.data else tiny_shakespeare()
        tokenizer = _make_tokenizer(config, corpus)
        random.manual_seed(config.seed)
        return cls(config, corpus, tokenizer, out, processes)

    @classmethod
    def resume(cls, out: Path, processes: int | None = None) -> Self:
        """The run in folder `out`, where its last checkpoint left it.

        Raises:
            CheckpointError: there is none, or it cannot be read.
            RunError: it is of another kind, or the text has changed since.
        """
        _, metadata = checkpoint.load(out / CHECKPOINT)
        try:
            config = RunConfig.from_dict(metadata["config"])
            tokenizer = Tokenizer.from_dict(metadata["tokenizer"])
            sha256, seconds = metadata["dataset_sha256"], metadata["seconds"]
        except (KeyError, TypeError) as error:
            raise RunError(f"{out / CHECKPOINT} is no checkpoint of TinyGPT ({error})") from None
        corpus = read_text(config.data) if config.data else tiny_shakespeare()
        if corpus.sha256 != sha256:
            raise RunError(f"the text ({corpus.source}) is not the one that the run began with")
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
    def model(self) -> GPT:
        model: Any = self.trainer.model
        gpt: GPT = model
        return gpt

    @property
    def steps(self) -> int:
        """Steps that the whole run has, as far as is known: with a time limit, an estimate."""
        if self.config.minutes is None:
            return self.config.preset.steps
        return self._steps_in_time()

    @property
    def finished(self) -> bool:
        if self.config.minutes is None:
            return self.trainer.step >= self.config.preset.steps
        return self.seconds >= 60 * self.config.minutes

    @property
    def progress(self) -> float:
        """The part of the run that is done, in [0, 1]."""
        if self.config.minutes is None:
            return self.trainer.step / self.config.preset.steps
        return min(1.0, self.seconds / (60 * self.config.minutes))

    @property
    def tokens(self) -> int:
        """Tokens trained on so far."""
        return self.trainer.step * self.config.preset.tokens_per_step

    def step(self) -> Tensor:
        """One training step on random blocks; the loss is not read, so a device need not wait.

        The time that a device still works on it is counted by `read`.
        """
        begin = clock()
        preset = self.config.preset
        if self.config.minutes is not None and self.trainer.scheduler is not None:
            # The schedule sees the part of the time that has passed as a part of the steps.
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
        """The loss of a step as a number, once the device has done all steps so far."""
        begin = clock()
        value: float = loss.item()
        self.seconds += clock() - begin
        return value

    def _steps_in_time(self) -> int:
        """How many steps fit the time limit at the pace so far."""
        done = self.trainer.step
        if not done:
            return self.config.preset.steps
        return max(done + 1, round(done * 60 * (self.config.minutes or 0.0) / self.seconds))

    # Validation

    def validate(self, every: int = 1) -> float:
        """The mean loss over the validation text, in nats a token: each predicted once.

        Args:
            every: look at one in so many of its blocks, for a quick estimate.
        """
        batches = validation_batches(self.val_ids, self.config.preset.context, every)
        return self.trainer.evaluate(batches)

    def val_loss_per_char(self, val_loss: float) -> float:
        """A loss in nats a token as nats a character, which no tokenizer can flatter."""
        return val_loss * (len(self.val_ids) - 1) / (len(self.val_text) - 1)

    # What it leaves behind

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
        """Add a line to metrics.jsonl."""
        line = {"step": self.trainer.step, **values}
        with open(self.out / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl."""
        path = self.out / "metrics.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def _drop_metrics_after(self, step: int) -> None:
        """Forget what was logged after the checkpoint: it will be logged again."""
        kept = [json.dumps(line) + "\n" for line in self.metrics() if line["step"] <= step]
        write_atomically(self.out / "metrics.jsonl", "".join(kept).encode())

    def summarise(self) -> dict[str, Any]:
        """Validate on all of the validation text and write summary.json."""
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


def _make_tokenizer(config: RunConfig, corpus: Corpus) -> Tokenizer:
    if config.tokenizer == "char":
        return CharTokenizer(sorted(set(corpus.text)))
    tokenizer = BPETokenizer(config.vocab_size)
    tokenizer.train(corpus.split()[0])
    return tokenizer


def validation_batches(ids: np.ndarray[Any, Any], context: int, every: int = 1) -> Iterator[Batch]:
    """Blocks side by side, so that every token but the first is predicted exactly once.

    With `every`, one in so many blocks, from the beginning of the text to its end.
    """
    blocks = TokenDataset(ids, context, stride=context * every)
    yield from DataLoader(blocks, VALIDATION_BATCH)
    done = len(blocks) * context
    if every == 1 and done < len(ids) - 1:  # a last block that is shorter
        yield TokenDataset(ids[done:], len(ids) - 1 - done)[0]


def load_model(out: Path) -> tuple[GPT, Tokenizer]:
    """The model and the tokenizer of the checkpoint in folder `out`, ready to generate.

    Raises:
        CheckpointError: it cannot be read.
        RunError: it is of another program.
    """
    arrays, metadata = checkpoint.load(out / CHECKPOINT)
    try:
        config = GPTConfig(**metadata["model"])
        tokenizer = Tokenizer.from_dict(metadata["tokenizer"])
        model = GPT.from_config(config)
        model.load_state_dict(strip_prefix(arrays, "model/"))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{out / CHECKPOINT} is no checkpoint of TinyGPT: {error}") from None
    model.eval()
    return model, tokenizer


def prepare_folder(out: Path) -> None:
    """Make `out` and see that it can be written to; what an earlier run left there moves to
    ``out/earlier-1``, ``earlier-2``, and so on.

    Raises:
        RunError: it cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        left = [out / name for name in RESULTS if (out / name).exists()]
        if left:
            numbers = (out / f"earlier-{n}" for n in itertools.count(1))
            earlier = next(folder for folder in numbers if not folder.exists())
            earlier.mkdir()
            for path in left:
                path.rename(earlier / path.name)
    except OSError as error:
        raise RunError(f"the folder {out} cannot be written to: {error.strerror}") from None
