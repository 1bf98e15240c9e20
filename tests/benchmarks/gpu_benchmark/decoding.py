"""Generation with a key-value cache, next to PyTorch with CUDA graphs."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinytorch
from tinytorch.generation.generate import stream
from tinytorch.tinygpt import Preset
from tinytorch.tinygpt.presets import build_model

from . import torch_side
from .modes import default_mode, set_mode
from .our_side import free_memory
from .report import first_line
from .settings import VOCABULARY, Row, Rows, Settings, sibling
from .timing import wait
from .torch_decoder import StaticDecoder

TEMPERATURE, AHEAD = 0.8, 32
ROUNDS = 5
BATCHES = (1, 32)
FLOAT32 = "float32, TF32"
# Side of PyTorch -> dtype of weights and activations, and whether torch.compile fuses the step.
SIDES = {
    FLOAT32: ("float32", False),
    "bf16": ("bfloat16", False),
    "bf16, compile": ("bfloat16", True),
}
COLUMNS = [
    "model, batch", "TinyTorch", "us a step", "past the context",
    *(f"PyTorch CUDA graph, {side}" for side in SIDES), "ours / PyTorch in float32",
]  # fmt: skip
Write = Callable[[int], Any]  # writes that many tokens of each text and reads them


def decoding(settings: Settings) -> Rows:
    """Tokens a second of all texts of a batch."""
    set_mode(default_mode())
    for name in ("nanogpt-gpu", "default"):
        for batch in BATCHES:
            value = compare(settings.presets[name], batch, settings)
            yield _row(f"{name}, batch {batch}", value)


def compare(preset: Preset, batch: int, settings: Settings) -> dict[str, Any]:
    """Tokens a second on each side, in turn: whole contexts after a prompt of one token."""
    free_memory()
    tinytorch.manual_seed(1337)
    model = build_model(preset, VOCABULARY).to("cupy").eval()
    count = preset.context - 1
    sides: dict[str, Write] = {"TinyTorch": our_writer(model, batch)}
    problems = {}
    for side, (dtype, compiled) in SIDES.items() if torch_side.module() else ():
        if compiled and not settings.compiled:
            continue
        try:
            sides[side] = torch_writer(model, batch, dtype, compiled)
            sides[side](count)
        except Exception as error:
            sides.pop(side, None)
            problems[side] = first_line(error)
    sides["TinyTorch"](count)
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(min(ROUNDS, settings.rounds)):
        for side, write in sides.items():
            rates[side].append(batch * count / seconds(write, count))
    past = 4 * preset.context
    sides["TinyTorch"](past)
    return {
        "tokens a second": {side: statistics.median(values) for side, values in rates.items()},
        "past the context": batch * past / seconds(sides["TinyTorch"], past),
        "failed": problems,
    }


def our_writer(model: Any, batch: int) -> Write:
    """TinyTorch's generation from token 0 in each text."""
    prompt = np.zeros((batch, 1), dtype=np.int64)

    def write(count: int) -> None:
        for _ in stream(model, prompt, count, temperature=TEMPERATURE, seed=0, ahead=AHEAD):
            pass

    return write


def torch_writer(model: Any, batch: int, dtype: str, compiled: bool) -> Write:
    """PyTorch's generation with the same weights in a dtype."""
    torch = torch_side.module()
    reference = sibling("torch_reference").gpt(model).to(torch_side.DEVICE, getattr(torch, dtype))
    decoder = StaticDecoder(reference, batch, TEMPERATURE, compiled)
    decoder.capture()
    return decoder.write


def seconds(write: Write, count: int) -> float:
    """Seconds until the host has read that many tokens of each text."""
    wait()
    start = time.perf_counter()
    write(count)
    return time.perf_counter() - start


def _row(name: str, value: dict[str, Any]) -> Row:
    rates, failed = value["tokens a second"], value["failed"]
    batch = int(name.rpartition(" ")[2])
    theirs = [f"{rates[s]:,.0f}" if s in rates else failed.get(s, "-") for s in SIDES]
    ratio = rates["TinyTorch"] / rates[FLOAT32] if FLOAT32 in rates else None
    return Row(name, value, [
        f"{rates['TinyTorch']:,.0f}",
        f"{1e6 * batch / rates['TinyTorch']:,.1f}",
        f"{value['past the context']:,.0f}",
        *theirs,
        "-" if ratio is None else f"{ratio:.2f}",
    ])  # fmt: skip
