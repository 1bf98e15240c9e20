"""A training run of a model on a text, with checkpoints, metrics and a summary in one folder."""

import itertools
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..backends import default
from ..backends.groups import MPIGroup
from ..data.datasets import Corpus, read_text, tiny_shakespeare
from ..data.python_modules import read_modules
from ..dataloader import Batch, DataLoader, TokenDataset
from ..ops import random
from ..runtime.data_parallel import check_shareable
from ..serialization import checkpoint
from ..serialization.atomic import read_regular_file, remove_temporary_files, write_atomically
from ..tensor import Tensor
from ..tokenization import BPETokenizer, CharTokenizer, Tokenizer
from ..transformers import GPT, GPTConfig
from .checked import check_range, check_types, is_finite
from .code_tokenizer import CodeTokenizer
from .lock import FolderLock
from .presets import (
    MAX_CONTEXT,
    MAX_SIZE,
    MAX_STEPS,
    Preset,
    build_model,
    build_trainer,
    fit_epochs,
    model_config,
)

CHECKPOINT = "checkpoint.safetensors"
RESULTS = (CHECKPOINT, "metrics.jsonl", "summary.json", "loss.png", "attention.png")
TOKENIZERS = ("char", "bpe", "code")
VALIDATION_BATCH = 32  # blocks
clock: Callable[[], float] = time.perf_counter  # in seconds; replaced in tests


class RunError(ValueError):
    """A run cannot be started or resumed; the message is one sentence with the reason."""


class DivergedError(RunError):
    """The loss or a weight is no longer finite, so the run cannot be continued."""


@dataclass(frozen=True)
class RunConfig:
    """The settings of a run.

    Attributes:
        preset: the hyperparameters, including the number of steps.
        data: path of a text file, or of a folder of Python modules; None for Tiny Shakespeare.
        tokenizer: "char", "bpe", or "code", which is BPE on the words of source code.
        vocab_size: vocabulary size of a BPE tokenizer.
        seed: seed of weights, batches and dropout.
        minutes: train for this time instead of the preset's steps; the schedule adapts to it.
        epochs: train for this many epochs instead of the preset's steps.

    Raises:
        ValueError: a value has a wrong type or is out of range.
    """

    preset: Preset
    data: str | None = None
    tokenizer: str = "char"
    vocab_size: int = 1024
    seed: int = 1337
    minutes: float | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, 1e-300, 1e30, ("minutes", "epochs"))
        check_range(self, 0, 2**64 - 1, ("seed",))
        if self.tokenizer not in TOKENIZERS:
            names = ", ".join(map(repr, TOKENIZERS))
            raise ValueError(f"tokenizer must be one of {names}, not {self.tokenizer!r:.40}")
        if self.tokenizer != "char" and self.vocab_size < 256:
            raise ValueError(
                f"vocab_size must be at least 256, one for each byte, not {self.vocab_size}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as values that JSON can represent."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        """Return the settings that `to_dict` has described.

        Raises:
            ValueError: `values` does not describe the settings of a run.
        """
        try:
            return cls(**{**values, "preset": Preset.from_dict(values["preset"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the settings of a run ({error})") from error


class Run:
    """Training of one model on one text.

    Attributes:
        config: the settings.
        out: folder for checkpoint, metrics and summary.
        model: the model.
        trainer: its optimizers, schedule and step count.
        seconds: time spent in training steps, including those before the run was resumed.
        lock: the lock on `out`, if there is one; nothing is saved after the folder was replaced.

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
        group: MPIGroup | None = None,
    ) -> None:
        self.corpus, self.tokenizer, self.out = corpus, tokenizer, out
        train_text, self.val_text = corpus.split()
        self.train_ids = tokenizer.encode_array(train_text)
        self.val_ids = tokenizer.encode_array(self.val_text)
        self.config = config
        self._check_length()
        if config.epochs is not None:
            try:
                preset = fit_epochs(config.preset, config.epochs, len(self.train_ids))
            except ValueError as error:
                raise RunError(str(error)) from None
            self.config = config = replace(config, preset=preset)
        self.blocks = TokenDataset(self.train_ids, config.preset.context)
        self.model = build_model(config.preset, tokenizer.vocab_size)
        self.trainer = build_trainer(config.preset, self.model, processes, group)
        self._check_processes()
        self.lock: FolderLock | None = None
        self.seconds = 0.0

    @classmethod
    def start(
        cls,
        config: RunConfig,
        out: Path,
        processes: int | None = None,
        group: MPIGroup | None = None,
    ) -> Self:
        """Start a new run: read the text, build the tokenizer, initialise the weights.

        Args:
            config: the settings.
            out: folder for the results.
            processes: number of processes that divide each batch; None for the backend's default.
                It affects results only by rounding.
            group: the ranks that divide each batch, with 1 process each; all start the run, and
                rank 0 writes the results.

        Raises:
            DataError: the text cannot be read.
            RunError: the text is too short for the model.
        """
        corpus = _read_corpus(config)
        tokenizer = _build_tokenizer(config, corpus)
        random.manual_seed(config.seed)
        return cls(config, corpus, tokenizer, out, processes, group)

    @classmethod
    def resume(cls, out: Path, processes: int | None = None, group: MPIGroup | None = None) -> Self:
        """Resume the run in folder `out` from its last checkpoint.

        Raises:
            CheckpointError: there is no checkpoint, or it cannot be read.
            DataError: the text cannot be read.
            RunError: it is not a checkpoint of TinyGPT, the text has changed since, or
                metrics.jsonl is damaged. Nothing is changed on disk then.
        """
        path = out / CHECKPOINT
        arrays, metadata = checkpoint.load(path)
        try:
            config = RunConfig.from_dict(metadata["config"])
            tokenizer = _tokenizer_from(metadata)
            seconds = metadata["seconds"]
            if not is_finite(seconds) or seconds < 0:
                raise ValueError(f"seconds cannot be {seconds!r:.40}")
            _check_arrays(model_config(config.preset, tokenizer.vocab_size), arrays)
        except INVALID as error:
            raise _not_a_run(path, error) from None
        corpus = _read_corpus(config)
        if corpus.sha256 != metadata.get("dataset_sha256"):
            raise RunError(f"the text ({corpus.source}) has changed since the run was started")
        try:
            run = cls(config, corpus, tokenizer, out, processes, group)
            run.trainer.load_checkpoint(path)
        except (RunError, checkpoint.CheckpointError):
            raise
        except ValueError as error:
            raise _not_a_run(path, error) from None
        run.seconds = float(seconds)
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

    def _check_processes(self) -> None:
        if self.trainer.processes > 1:
            try:
                check_shareable(list(self.model.parameters()))
            except ValueError as error:
                raise RunError(str(error)) from None

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

    def is_complete(self) -> bool:
        """Whether the run is finished and all its results are in the folder of rank 0.

        All ranks call this together.
        """
        ranks, complete = self.trainer.ranks, self.finished and not self.missing_results()
        return complete if ranks is None else bool(ranks.host.first(complete))

    @property
    def leads(self) -> bool:
        """Whether this process writes the results: the only one, or rank 0."""
        return self.trainer.ranks is None or self.trainer.ranks.rank == 0

    def agree(self, stop: int) -> int:
        """Let all ranks continue with the time of rank 0.

        Args:
            stop: the number of a signal that asks this rank to stop, or 0.

        Returns:
            that of any rank.
        """
        if self.trainer.ranks is not None:
            self.seconds, stop = self.trainer.ranks.synchronise(self.seconds, stop)
        return stop

    def missing_results(self) -> list[str]:
        """Return the names of the results that are not in the folder."""
        return [name for name in RESULTS if not (self.out / name).exists()]

    @property
    def intact(self) -> bool:
        """Whether the weights are those after `trainer.step` steps; not if an update has failed."""
        return not self.trainer.updating

    def can_save(self, error: BaseException) -> bool:
        """Whether the weights are intact, and all ranks come to `save` where it needs them.

        Args:
            error: the exception that has ended the training, in this rank or in all.
        """
        ranks = self.trainer.ranks if self.trainer.shards else None
        return self.intact and (ranks is None or ranks.host.is_shared(error))

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

    def step(self, until: int = 0) -> Tensor:
        """Run one training step on random blocks, and return its loss.

        On a GPU that computes a step faster than the host launches it, several steps are launched
        together if the run then has at most `until` of them; the loss is that of the last one.

        The loss may still be being computed by a device; `read` waits for it, and counts that time.
        After an exception the random state is that before the step, so a checkpoint that is saved
        then continues bit for bit.
        """
        begin = clock()
        state = random.generator().bit_generator.state, random.mask_state()
        preset = self.config.preset
        if self.config.minutes is not None and self.trainer.scheduler is not None:
            # Keep the completed fraction of the schedule equal to the elapsed fraction of the time.
            total = self._steps_in_time()
            self.trainer.scheduler.total_steps = total
            self.trainer.scheduler.warmup_steps = min(preset.warmup_steps, total // 10)
        try:
            batch_size, context = preset.batch_shape(self.progress)
            if self.blocks.block_size != context:
                self.blocks = TokenDataset(self.train_ids, context)
            loss = self._several_steps(until - self.trainer.step, batch_size)
            if loss is None:
                batches: list[Any] = [
                    self.blocks.random_batch(batch_size) for _ in range(preset.accumulation)
                ]
                loss = self.trainer.train_step(batches)
        except BaseException:
            random.generator().bit_generator.state = state[0]
            random.set_masks(*state[1])
            raise
        self.seconds += clock() - begin
        return loss

    def _several_steps(self, limit: int, batch_size: int) -> Tensor | None:
        """Run several steps at once and return the loss of the last one; None if none was run.

        Nothing happens if they would be more than `limit`, their blocks would differ in length, or
        one at a time is as fast.
        """
        preset = self.config.preset
        if limit < 2 or self.config.minutes is not None:  # its schedule depends on the time
            return None
        batch = batch_size, self.blocks.block_size
        shapes = [batch] * 2 * preset.accumulation  # of x and y
        count = self.trainer.steps_at_once(preset.tokens_per_step, *shapes)
        last = (self.trainer.step + count - 1) / preset.steps
        if not 1 < count <= limit or preset.batch_shape(last)[0] != batch_size:
            return None
        generator = random.generator().bit_generator
        before = generator.state
        drawn = [self.blocks.random_indices(batch_size) for _ in range(count * preset.accumulation)]
        x, y = self.blocks.batch(np.concatenate(drawn))
        shape = count, preset.accumulation, *batch
        losses = self.trainer.train_steps(x.reshape(shape), y.reshape(shape))
        if losses is None:  # too little memory
            generator.state = before
        return None if losses is None else losses[-1]

    def next_stop(self, interval: int, parts: float) -> int:
        """Number of the next step at which something may be reported.

        That is a multiple of `interval`, the last step, or the first of the next of `parts` equal
        parts of the run.
        """
        done, total = self.trainer.step, self.config.preset.steps
        part = int(done / total * parts)
        steps = range(done + 1, done + interval + 1)
        return next(
            step for step in steps
            if step % interval == 0 or step == total or int(step / total * parts) > part
        )  # fmt: skip

    def read(self, loss: Tensor) -> float:
        """Wait until the device has computed all steps so far, and return the loss as a number."""
        begin = clock()
        value: float = loss.item()
        self.seconds += clock() - begin
        return value

    def check_loss(self, loss: float) -> None:
        """Raise DivergedError if a loss is not finite."""
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss}")

    def _diverged(self, what: str) -> DivergedError:
        error = DivergedError(
            f"training has diverged: {what} after step {self.trainer.step}; the last save is kept,"
            " start a new run with a lower learning rate or another --seed"
        )
        if self.trainer.ranks is not None:  # they have the same loss and weights
            self.trainer.ranks.host.shared_error = error
        return error

    def _steps_in_time(self) -> int:
        """Number of steps within the time limit, extrapolated from the speed so far."""
        done = self.trainer.step
        if not done:
            return self.config.preset.steps
        limit = 60 * (self.config.minutes or 0.0)
        return max(done + 1, round(done * limit / max(self.seconds, 1e-9)))

    # Validation

    def validate(self, every: int = 1) -> float:
        """Return the mean loss over the validation text, in nats per token.

        It is divided into blocks of the present length; see `Preset.batch_shape`.

        Args:
            every: use every n-th block only, for a quick estimate. With 1, every token but the
                first is predicted exactly once.

        Raises:
            DivergedError: the loss is not finite.
        """
        _, context = self.config.preset.batch_shape(self.progress)
        batches = validation_batches(self.val_ids, context, every)
        loss: float = self.trainer.evaluate(batches)
        self.check_loss(loss)
        return loss

    def val_loss_per_char(self, val_loss: float) -> float:
        """Convert a loss per token to nats per character, comparable between tokenizers."""
        return val_loss * (len(self.val_ids) - 1) / (len(self.val_text) - 1)

    # Results

    def save(self) -> None:
        """Write the checkpoint, atomically; all ranks call this, and rank 0 writes.

        Raises:
            CheckpointError: it cannot be written.
            DivergedError: a weight is not finite. The loss shows it too, but is not read each step.
            RunError: the folder was replaced, so it may be that of another run.
        """
        if self.leads:
            self._check_folder()
        name = not_finite({n: t.numpy() for n, t in self.model.state_dict().items()})
        if name:
            raise self._diverged(f"{name} is not finite")
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
        if not self.leads:
            return
        self._check_folder()
        line = {"step": self.trainer.step, **values}
        with open(self.out / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _check_folder(self) -> None:
        if self.lock is not None and self.lock.replaced(self.out):
            raise RunError(f"folder {self.out} was replaced by another one during the run")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the entries of metrics.jsonl, without a last line that is incomplete.

        Raises:
            RunError: another line is damaged.
        """
        path = self.out / "metrics.jsonl"
        try:
            lines = read_regular_file(path).split(b"\n")
        except FileNotFoundError:
            return []
        numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
        entries = []
        for number, line in numbered:
            try:
                entries.append(_read_entry(line))
            except (ValueError, RecursionError) as error:
                if number < numbered[-1][0]:
                    raise RunError(
                        f"line {number} of {path} is damaged: delete it ({error})"
                    ) from None
        return entries

    def _drop_metrics_after(self, step: int) -> None:
        """Remove the entries after the checkpoint, whose steps will be logged again.

        Of several entries with the same step and keys, only the last one is kept.
        """
        path = self.out / "metrics.jsonl"
        kept = {(m["step"], *m): m for m in self.metrics() if m["step"] <= step}
        data = "".join(json.dumps(m) + "\n" for m in kept.values()).encode()
        if not path.exists() or path.read_bytes() != data:
            write_atomically(path, data)

    def summarise(
        self, val_loss: float | None = None, more: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Write summary.json, and return it.

        Args:
            val_loss: the loss on the whole validation text; None to compute it.
            more: further entries.
        """
        if val_loss is None:
            val_loss = self.validate()
        self._check_folder()
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
            **(more or {}),
        }
        write_atomically(self.out / "summary.json", json.dumps(summary, indent=2).encode())
        return summary


# What reading metadata raises if a value is missing or of a wrong type. Not caught around building
# the model, where it would be an error of the code.
INVALID = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError,
    ZeroDivisionError,
)  # fmt: skip


def _not_a_run(path: Path, error: Exception) -> RunError:
    return RunError(f"{path} is not a checkpoint of TinyGPT: {_shorten(error)}")


def _shorten(error: Exception) -> str:
    text = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return text if len(text) <= 300 else text[:300] + "..."


def not_finite(arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """Return the name of the first array with NaN or infinity, or an empty string."""
    floats = ((name, array) for name, array in arrays.items() if array.dtype.kind == "f")
    return next((name for name, array in floats if not np.isfinite(array).all()), "")


def _read_corpus(config: RunConfig) -> Corpus:
    if config.data is None:
        return tiny_shakespeare()
    return read_modules(Path(config.data)) if os.path.isdir(config.data) else read_text(config.data)


def _read_entry(line: bytes) -> dict[str, Any]:
    """Return the entry in a line of metrics.jsonl, or raise ValueError."""
    entry = json.loads(line)
    if not isinstance(entry, dict) or not all(map(_can_be_drawn, entry.values())):
        raise ValueError("not an object of numbers below 1e100")
    step = entry.get("step")
    if not isinstance(step, int) or not 0 <= step <= MAX_STEPS:
        raise ValueError("no step")
    return entry


def _can_be_drawn(value: Any) -> bool:
    """Whether a value is a number that Matplotlib can draw: differences of larger ones overflow."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and not 1e100 < abs(value) < math.inf


def _tokenizer_from(metadata: Mapping[str, Any]) -> Tokenizer:
    tokenizer = Tokenizer.from_dict(metadata["tokenizer"])
    if not isinstance(tokenizer, Tokenizer) or not tokenizer.vocab_size:
        raise ValueError("its tokenizer is empty")
    return tokenizer


def _check_model_config(config: GPTConfig) -> None:
    """Raise ValueError if a model's configuration has wrong types, or sizes without bounds."""
    check_types(config)
    check_range(config, 1, MAX_SIZE, ("vocab_size", "embed_dim", "num_layers", "num_heads"))
    check_range(config, 1, MAX_CONTEXT, ("max_seq_len",))
    if not 0 <= config.dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), not {config.dropout}")


def _check_arrays(config: GPTConfig, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Raise ValueError if arrays of a checkpoint are not the finite weights of such a model.

    This is done before the model is built, because a wrong size could ask for any amount of memory.
    """
    weights = checkpoint.strip_prefix(arrays, "model/")
    size = (config.vocab_size, config.embed_dim)
    if np.shape(weights["embedding.tokens.weight"]) != size:
        raise ValueError(f"it has no embedding of {size[0]} tokens and width {size[1]}")
    blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    if len(blocks) != config.num_layers:
        raise ValueError(f"it has the weights of {len(blocks)} blocks, not {config.num_layers}")
    name = not_finite(weights)
    if name:
        raise ValueError(f"{name} is not finite, so training has diverged")


def _build_tokenizer(config: RunConfig, corpus: Corpus) -> Tokenizer:
    if config.tokenizer == "char":
        return CharTokenizer(sorted(set(corpus.text)))
    bpe = CodeTokenizer if config.tokenizer == "code" else BPETokenizer
    tokenizer = bpe(config.vocab_size)
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

    `out` may also be the file itself.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        RunError: it is not a checkpoint of TinyGPT.
    """
    model, tokenizer, _ = read_model(out)
    return model, tokenizer


def read_model(out: Path) -> tuple[GPT, Tokenizer, dict[str, Any]]:
    """As `load_model`, with the metadata of the checkpoint."""
    path = out if out.is_file() else out / CHECKPOINT
    arrays, metadata = checkpoint.load(path)
    try:
        config = GPTConfig(**metadata["model"])
        _check_model_config(config)
        tokenizer = _tokenizer_from(metadata)
        if tokenizer.vocab_size != config.vocab_size:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocab_size} tokens, the model {config.vocab_size}"
            )
        _check_arrays(config, arrays)
    except INVALID as error:
        raise _not_a_run(path, error) from None
    try:
        model = GPT.from_config(config)
        model.load_state_dict(checkpoint.strip_prefix(arrays, "model/"))
    except ValueError as error:
        raise _not_a_run(path, error) from None
    model.eval()
    return model, tokenizer, metadata


def open_folder(out: Path) -> FolderLock:
    """Lock folder `out`, and remove the temporary files of a run in it that was killed.

    Returns:
        the lock, a context manager.

    Raises:
        RunError: another run is at work there.
    """
    try:
        lock = FolderLock(out)
    except BlockingIOError:
        raise RunError(
            f"another run is training in {out}: wait until it has finished, or use another folder"
        ) from None
    if lock.held:
        remove_temporary_files(out)
    return lock


def prepare_folder(out: Path, names: Sequence[str] = RESULTS) -> FolderLock:
    """Create and lock folder `out`, and move earlier results out of the way.

    The results of an earlier run, files with these names, go to ``out/earlier-1``,
    ``out/earlier-2``, and so on.

    Returns:
        the lock, a context manager.

    Raises:
        RunError: the folder cannot be written to, or another run is at work there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = open_folder(out)
        with tempfile.TemporaryFile(dir=out):
            pass
        results = [out / name for name in names if (out / name).exists()]
        if results:
            numbers = (out / f"earlier-{n}" for n in itertools.count(1))
            earlier = next(folder for folder in numbers if not folder.exists())
            earlier.mkdir()
            for path in results:
                path.rename(earlier / path.name)
    except OSError as error:
        raise RunError(f"cannot write to folder {out}: {error.strerror}") from None
    return lock
