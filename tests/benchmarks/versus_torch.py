"""Training steps and generation beside PyTorch eager, in turn in one process.

    python tests/benchmarks/versus_torch.py [--rounds 20] [--json FILE]

Both sides have the same model, weights, batches and threads; PyTorch has its fused AdamW. They
take turns of a few steps, so that a machine that changes its pace changes it for both. Needs
PyTorch beside the extra `test`.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from tinytorch.backends.threads import num_threads

import tinytorch
from tinytorch import TokenDataset
from tinytorch.generation import stream
from tinytorch.tinygpt import PRESETS, Preset
from tinytorch.tinygpt.presets import build_model, build_trainer

TURN = 5  # steps before the other side has its turn
VOCABULARY = 65
MODELS = {
    "nanogpt-cpu": PRESETS["nanogpt-cpu"],
    "default model, AdamW": replace(PRESETS["default"], muon_lr=None),
}


def load(name: str) -> Any:
    """A module of the folder tests/, which is on pytest's path but not on a program's."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def timed(step: Callable[[], object], times: int = TURN) -> list[float]:
    """Seconds of each of several calls."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


def training_steps(preset: Preset, twins: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One step of ours and one of PyTorch's, each with its own stream of the same batches."""
    import torch

    tinytorch.manual_seed(1337)
    model = build_model(preset, VOCABULARY)
    trainer = build_trainer(preset, model)
    twin = twins.gpt(model).train()
    optimizer = torch.optim.AdamW(twin.parameters(), lr=preset.lr, betas=preset.betas, fused=True)
    text = np.random.default_rng(0).integers(0, VOCABULARY, 100_000)
    blocks = TokenDataset(text, preset.context)
    rng, twin_rng = np.random.default_rng(1), np.random.default_rng(1)

    def ours() -> float:
        x, y = blocks.random_batch(preset.batch_size, rng)
        loss: float = trainer.train_step([(x, y)]).item()
        return loss

    def theirs() -> float:
        x, y = (torch.from_numpy(t.numpy().copy()) for t in
                blocks.random_batch(preset.batch_size, twin_rng))  # fmt: skip
        loss = twin.loss(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), preset.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value: float = loss.item()
        return value

    return ours, theirs


def compare(preset: Preset, twins: Any, rounds: int) -> dict[str, float]:
    """Median milliseconds of both sides, and the median of the ratios round by round."""
    ours, theirs = training_steps(preset, twins)
    for _ in range(3):
        ours(), theirs()
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    return {
        "tinytorch_ms": 1e3 * statistics.median(t for mine, _ in pairs for t in mine),
        "pytorch_ms": 1e3 * statistics.median(t for _, other in pairs for t in other),
        "ratio": statistics.median(
            statistics.median(mine) / statistics.median(other) for mine, other in pairs
        ),
    }


def generation(batch: int, rounds: int = 5, tokens: int = 500) -> float:
    """Tokens a second of the default model with the cache, the median of several texts."""
    model = build_model(PRESETS["default"], VOCABULARY).eval()
    prompt = np.zeros((batch, 1), dtype=np.int64)

    def write() -> None:
        for _ in stream(model, prompt, tokens, temperature=0.8, seed=0):
            pass

    write()
    return batch * tokens / statistics.median(timed(write, rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="turns of each side")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(num_threads())
    load("helpers")
    twins = load("torch_twins")
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "threads": num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "versions": {"python": platform.python_version(), "numpy": np.__version__,
                     "torch": torch.__version__},
    }  # fmt: skip
    print(f"{'training step':26s} {'TinyTorch':>10s} {'PyTorch':>10s} {'ratio':>7s}")
    for name, preset in MODELS.items():
        row = result[name] = compare(preset, twins, arguments.rounds)
        print(
            f"{name:26s} {row['tinytorch_ms']:7.1f} ms {row['pytorch_ms']:7.1f} ms"
            f" {row['ratio']:7.2f}"
        )
    for batch in (1, 32):
        pace = result[f"generation, batch {batch}"] = generation(batch)
        print(f"generation, batch {batch:<8d} {pace:7,.0f} tokens/s")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
