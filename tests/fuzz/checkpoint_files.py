"""Fuzz targets: checkpoints and metrics.jsonl of a run, by every entry point that reads them."""

import json
import random
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fuzz_files import ODD_VALUES, Target, mutate_bytes, mutate_json

from tinytorch.data.datasets import DataError
from tinytorch.generation.generate import stream
from tinytorch.serialization import checkpoint
from tinytorch.serialization.checkpoint import CheckpointError
from tinytorch.tinygpt import PRESETS, Run, RunConfig, load_model
from tinytorch.tinygpt.presets import build_trainer, fit_steps
from tinytorch.tinygpt.run import CHECKPOINT, RunError

SMALL = {
    "embed_dim": 12, "num_layers": 2, "num_heads": 2, "context": 8, "batch_size": 2, "steps": 6,
}  # fmt: skip


class Good(NamedTuple):
    """A small run, its checkpoint, and a trainer of the same model."""

    out: Path
    arrays: dict[str, Any]
    metadata: dict[str, Any]
    trainer: Any


def prepare(folder: Path, preset: str = "default", tokenizer: str = "char") -> Good:
    """Train a small model for two steps."""
    text = folder / "text"
    text.write_text("to be or not to be, that is the question\n" * 12, encoding="utf-8")
    small = fit_steps(PRESETS[preset], **SMALL)
    config = RunConfig(small, str(text), tokenizer, vocab_size=270)
    run = Run.start(config, folder, processes=1)
    for _ in range(2):
        run.log(loss=run.step().item(), lr=0.1)
    run.save()
    arrays, metadata = checkpoint.load(folder / CHECKPOINT)
    return Good(folder, arrays, metadata, build_trainer(small, run.model, processes=1))


def prepare_other(folder: Path) -> Good:
    return prepare(folder, "nanogpt-cpu", "bpe")


def mutate(good: Good, rng: random.Random, folder: Path) -> tuple[Good, Path]:
    """Copy the run to `folder` with a mutated checkpoint."""
    shutil.copy(good.out / "metrics.jsonl", folder)
    path = folder / CHECKPOINT
    kind = rng.random()
    if kind < 0.15:
        path.write_bytes(mutate_bytes((good.out / CHECKPOINT).read_bytes(), rng))
    elif kind < 0.35:
        path.write_bytes(mutate_header((good.out / CHECKPOINT).read_bytes(), rng))
    elif kind < 0.8:
        checkpoint.save(path, good.arrays, _mutate_metadata(good.metadata, rng))
    else:
        checkpoint.save(path, _mutate_arrays(good.arrays, rng), good.metadata)
    return good, folder


def mutate_header(data: bytes, rng: random.Random) -> bytes:
    """Change the JSON of the header, as a file of version 1, which has no checksum."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if rng.random() < 0.8:
        header["__metadata__"]["version"] = "1"
    text = json.dumps(mutate_json(header, rng)).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _mutate_metadata(metadata: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    for _ in range(rng.choice([1, 1, 2])):
        key = rng.choice(sorted(metadata) or ["x"])
        metadata = {**metadata, key: mutate_json(metadata.get(key), rng)}
    if rng.random() < 0.05:
        del metadata[key]
    return metadata


def _mutate_arrays(arrays: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    others = {n: a for n, a in arrays.items() if n != name}
    kind = rng.randrange(6)
    if kind == 0:
        return others
    if kind == 1:
        new_name = rng.choice([name + "x", "model/x", "optimizer0/x", "optimizer1/99.m", "", "\0"])
        return {**others, new_name: array}
    if kind == 2:
        shape = rng.choice([(), (0,), (1, 1), (3, 0, 2), (2**20,), array.shape[::-1]])
        return {**others, name: np.zeros(shape, np.float32)}
    if kind == 3:
        return {**others, name: array.astype(rng.choice("?bhiqBHIQed"))}
    if kind == 4:
        fill = rng.choice([np.nan, np.inf, -np.inf, 3e38, 1e-45])
        return {**others, name: np.full_like(array, fill)}
    return {**arrays, rng.choice(["model/x", "y", "optimizer0/0.z", "optimizer0/a.m"]): array}


def mutate_metrics(good: Good, rng: random.Random, folder: Path) -> tuple[Good, Path]:
    """Copy the run to `folder` with a mutated metrics.jsonl."""
    shutil.copy(good.out / CHECKPOINT, folder)
    data = (good.out / "metrics.jsonl").read_bytes()
    if rng.random() < 0.4:
        data = mutate_bytes(data, rng)
    else:
        lines = data.splitlines(keepends=True)
        at = rng.randrange(len(lines))
        odd = [json.dumps(v).encode() for v in ODD_VALUES] + [b"", b"\0", b"{", b"\xff", b"["]
        line = json.dumps(mutate_json(json.loads(lines[at]), rng)).encode()
        lines[at] = rng.choice([rng.choice(odd), line]) + rng.choice([b"\n", b"\r\n", b""])
        data = b"".join(lines)
    (folder / "metrics.jsonl").write_bytes(data)
    return good, folder


# Readers


def load(given: tuple[Good, Path]) -> None:
    checkpoint.load(given[1] / CHECKPOINT)


def load_into_trainer(given: tuple[Good, Path]) -> None:
    """If loading fails, nothing is changed."""
    trainer = given[0].trainer
    before = _weights(trainer)
    try:
        trainer.load_checkpoint(given[1] / CHECKPOINT)
    except BaseException:
        assert _weights(trainer) == before, "half loaded"
        raise


def _weights(trainer: Any) -> Any:
    arrays = {name: t.numpy().tobytes() for name, t in trainer.model.state_dict().items()}
    return arrays, trainer.step, [o.lr for o in trainer.optimizers]


def sample(given: tuple[Good, Path]) -> None:
    model, tokenizer = load_model(given[1])
    try:
        for token in stream(model, [0], 5, seed=1):
            tokenizer.decode([int(token[0])])
    except RuntimeError as error:  # as in `tinygpt.py --sample`
        if "no token can be sampled" not in str(error):
            raise


def resume(given: tuple[Good, Path]) -> None:
    """If resuming fails, nothing is changed on disk; else a step can be run and saved."""
    out = given[1]
    before = {path: path.read_bytes() for path in out.iterdir()}
    try:
        run = Run.resume(out, processes=1)
    except BaseException:
        assert {path: path.read_bytes() for path in out.iterdir()} == before, "files changed"
        raise
    if not run.finished and run.config.preset.accumulation < 16:
        run.step()
        run.save()


DECLARED = (CheckpointError, RunError, DataError)
TARGETS = [
    Target("checkpoint.load", prepare, mutate, load, (CheckpointError,)),
    Target("Trainer.load_checkpoint", prepare, mutate, load_into_trainer, (ValueError,)),
    Target("--sample, char", prepare, mutate, sample, (CheckpointError, RunError)),
    Target("--sample, bpe", prepare_other, mutate, sample, (CheckpointError, RunError)),
    Target("--resume, char", prepare, mutate, resume, DECLARED),
    Target("--resume, bpe", prepare_other, mutate, resume, DECLARED),
    Target("metrics.jsonl", prepare, mutate_metrics, resume, DECLARED),
]
