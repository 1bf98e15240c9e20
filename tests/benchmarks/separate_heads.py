"""Benchmark a GPT with one module per head, as a beginner writes it, against PyTorch on the CPU.

    python tests/benchmarks/separate_heads.py [--rounds 20] [--batch 16] [--context 32]

The script is tests/scripts/gpt_heads.py with 4 layers of width 128: the same source for both sides,
with the imports exchanged. The sides alternate every few steps in one process; the machine should
be idle otherwise, since PyTorch's threads wait in a busy loop.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tinytorch

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpt_heads.py"
SIZES = {"n_embd": 128, "n_head": 4, "n_layer": 4}
TURN = 4  # steps before the other side's turn


def load(library: str, **sizes: int) -> Any:
    """The script's definitions, for one library and with other sizes."""
    source = SCRIPT.read_text("utf-8")
    for name, value in sizes.items():
        source = re.sub(rf"^{name} = .*$", f"{name} = {value}", source, flags=re.MULTILINE)
    source = re.sub(r"^import torch$", f"import {library} as torch", source, flags=re.MULTILINE)
    source = re.sub(r"^(import|from) torch\b", rf"\1 {library}", source, flags=re.MULTILINE)
    definitions: dict[str, Any] = {"__name__": library}
    exec(compile(source, str(SCRIPT), "exec"), definitions)
    return argparse.Namespace(**definitions)


def training_step(script: Any, library: Any, model: Any) -> Callable[[], float]:
    """A function that runs one step and returns the loss."""
    optimizer = library.optim.AdamW(model.parameters(), lr=script.learning_rate)
    rng = np.random.default_rng(0)

    def step() -> float:
        _, loss = model(*script.get_batch(rng))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        value: float = loss.item()
        return value

    return step


def sides(batch: int, context: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """Our training step and PyTorch's, from the same weights."""
    sizes = {**SIZES, "batch_size": batch, "block_size": context}
    ours, theirs = load("tinytorch", **sizes), load("torch", **sizes)
    model, reference = ours.build(), theirs.build()
    model.load_state_dict(
        {name: tinytorch.Tensor(value.numpy()) for name, value in reference.state_dict().items()}
    )
    return training_step(ours, tinytorch, model), training_step(theirs, torch, reference)


def timed(step: Callable[[], float], times: int) -> float:
    """The median seconds of several calls."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--context", type=int, default=32)
    arguments = parser.parse_args()
    ours, theirs = sides(arguments.batch, arguments.context)
    np.testing.assert_allclose([ours() for _ in range(3)], [theirs() for _ in range(3)], rtol=1e-4)
    turns = [(timed(ours, TURN), timed(theirs, TURN)) for _ in range(arguments.rounds)]
    mine, other = (1e3 * statistics.median(column) for column in zip(*turns, strict=True))
    ratio = statistics.median(a / b for a, b in turns)
    print(f"tinytorch {mine:.1f} ms, PyTorch {other:.1f} ms, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
