"""How a step's time grows with context, width and batch."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from tinytorch.tinygpt import Preset

from .machine import floor
from .modes import default_mode, set_mode
from .our_side import OurTraining, free_memory, step_flops
from .report import guarded
from .settings import Row, Rows, Settings, random_text
from .timing import timed

COLUMNS = [
    "size", "ms", "us a token", "exponent of the time", "exponent of the FLOPs", "floor, ms",
    "over the floor",
]  # fmt: skip
HEAD = 64  # elements of a head, whatever the width


class Growth(NamedTuple):
    """What a step of a size takes."""

    size: int
    seconds: float
    flops: float


def scaling(settings: Settings) -> Rows:
    """Each series of sizes; an exponent is that of the growth from the size before."""
    set_mode(default_mode())
    for series, sizes in settings.sizes.items():
        before: list[Growth] = []
        for size, preset in presets(settings, series, sizes):
            name = f"{series} {size}"
            yield from guarded(name, _row(name, size, preset, before, settings))


def _row(name: str, size: int, preset: Preset, before: list[Growth], settings: Settings) -> Rows:
    """Measure a size, and append it to those before."""
    free_memory()
    step = OurTraining(preset, random_text(settings.text)).step
    timed(step, 3)
    seconds = min(timed(step, settings.turn) for _ in range(min(3, settings.rounds)))
    flops = step_flops(preset)
    least = floor(settings, default_mode(), 0, flops)
    before.append(Growth(size, seconds, flops))
    exponents = [_exponent(before[-2:], entry) for entry in ("seconds", "flops")]
    value = {
        "ms": 1e3 * seconds,
        "us a token": 1e6 * seconds / preset.tokens_per_step,
        "exponents": exponents,
        "floor, ms": 1e3 * least,
    }
    yield Row(name, value, [
        f"{1e3 * seconds:.3f}",
        f"{value['us a token']:.3f}",
        *("-" if e is None else f"{e:.2f}" for e in exponents),
        f"{1e3 * least:.3f}",
        f"{seconds / least:.2f}",
    ])  # fmt: skip


def presets(settings: Settings, series: str, sizes: list[int]) -> Iterator[tuple[int, Preset]]:
    """The baby GPT with one size changed, in growing order."""
    baby = settings.baby
    for size in sorted(sizes):
        if series == "context":
            yield (
                size,
                replace(baby, context=size, batch_size=max(1, settings.tokens // max(sizes))),
            )
        elif series == "width":
            heads = max(1, size // HEAD)
            yield size, replace(baby, embed_dim=size, num_heads=heads)
        else:
            yield size, replace(baby, batch_size=size)


def _exponent(last: list[Growth], entry: str) -> float | None:
    """The power of the size with which an entry has grown; None for the first size."""
    if len(last) < 2:
        return None
    grown = getattr(last[1], entry) / getattr(last[0], entry)
    return math.log(grown) / math.log(last[1].size / last[0].size)
