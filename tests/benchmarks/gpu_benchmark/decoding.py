"""Generation with a key-value cache, next to PyTorch with CUDA graphs."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tinytorch
from tinytorch.generation.generate import stream
from tinytorch.tinygpt import Preset
from tinytorch.tinygpt.presets import build_model

from . import torch_side
from .machine import floor
from .modes import MODES, default_mode, is_supported, set_mode
from .our_side import free_memory
from .report import first_line, guarded
from .settings import VOCABULARY, Row, Rows, Settings, sibling
from .timing import wait
from .torch_decoder import StaticDecoder

TEMPERATURE, AHEAD = 0.8, 32
ROUNDS = 5
OURS = "TinyTorch"
FLOAT32 = "float32, TF32"
# Side of PyTorch -> whether weights and activations have 16 bits, and torch.compile fuses the step.
SIDES = {FLOAT32: (False, False), "16 bits": (True, False), "16 bits, compile": (True, True)}
COLUMNS = [
    "model, batch", OURS, "us a step", "floor, us", "past the context",
    *(f"PyTorch CUDA graph, {side}" for side in SIDES), "ours / PyTorch in float32",
]  # fmt: skip
Write = Callable[[int], Any]  # writes that many tokens of each text and reads them


def decoding(settings: Settings) -> Rows:
    """Tokens a second of all texts of a batch."""
    set_mode(default_mode())
    for name in ("nanogpt-gpu", "default"):
        for texts in settings.texts:
            label, values = (
                f"{name}, batch {texts}",
                compare(settings.presets[name], texts, settings),
            )
            yield from guarded(label, (_row(label, value, texts) for value in values))


def compare(preset: Preset, texts: int, settings: Settings) -> Iterator[dict[str, Any]]:
    """Tokens a second on each side, in turn: whole contexts after a prompt of one token.

    Yields:
        the row's value in the JSON, without torch.compile and with it.
    """
    free_memory()
    tinytorch.manual_seed(1337)
    model = build_model(preset, VOCABULARY).to("cupy").eval()
    count, past = preset.context - 1, settings.contexts * preset.context
    ours = our_writer(model, texts)
    ours(count)
    past_rate = texts * past / seconds(ours, past)
    sides, problems = {OURS: ours}, {}
    for is_compiled in (False, True) if settings.compiled else (False,):
        for side, (half, compiled) in SIDES.items() if torch_side.module() else ():
            if compiled == is_compiled:
                try:
                    write = torch_writer(model, texts, half, compiled)
                    write(count)
                except Exception as error:
                    problems[side] = first_line(error)
                else:
                    sides[side] = write
        rates: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(min(ROUNDS, settings.rounds)):
            for side, write in sides.items():
                rates[side].append(texts * count / seconds(write, count))
        yield {
            "tokens a second": {side: statistics.median(values) for side, values in rates.items()},
            "past the context": past_rate,
            "floor, us": 1e6 * floor(settings, default_mode(), step_bytes(preset, model, texts)),
            "failed": dict(problems),
        }


def step_bytes(preset: Preset, model: Any, texts: int) -> float:
    """Bytes that a step reads in float32: all weights, and the caches of half a context."""
    cached = texts * preset.num_layers * preset.embed_dim * preset.context  # of keys and values
    return 4.0 * (model.num_parameters() + cached)


def our_writer(model: Any, texts: int) -> Write:
    """TinyTorch's generation from token 0 in each text."""
    prompt = np.zeros((texts, 1), dtype=np.int64)

    def write(count: int) -> None:
        for _ in stream(model, prompt, count, temperature=TEMPERATURE, seed=0, ahead=AHEAD):
            pass

    return write


def torch_writer(model: Any, texts: int, half: bool, compiled: bool) -> Write:
    """PyTorch's generation with the same weights, if `half` in bf16, or fp16 on older GPUs."""
    torch = torch_side.module()
    sixteen = torch.bfloat16 if is_supported(MODES["bf16"]) else torch.float16
    reference = sibling("torch_reference").gpt(model)
    reference.to(torch_side.DEVICE, sixteen if half else torch.float32)
    decoder = StaticDecoder(reference, texts, TEMPERATURE, compiled)
    decoder.capture()
    return decoder.write


def seconds(write: Write, count: int) -> float:
    """Seconds until the host has read that many tokens of each text."""
    wait()
    start = time.perf_counter()
    write(count)
    return time.perf_counter() - start


def _row(name: str, value: dict[str, Any], texts: int) -> Row:
    rates, failed = value["tokens a second"], value["failed"]
    theirs = [f"{rates[s]:,.0f}" if s in rates else failed.get(s, "-") for s in SIDES]
    ratio = rates[OURS] / rates[FLOAT32] if FLOAT32 in rates else None
    return Row(name, value, [
        f"{rates[OURS]:,.0f}",
        f"{1e6 * texts / rates[OURS]:,.1f}",
        f"{value['floor, us']:,.1f}",
        f"{value['past the context']:,.0f}",
        *theirs,
        "-" if ratio is None else f"{ratio:.2f}",
    ])  # fmt: skip
