"""How a step's time grows with context, width and batch."""

import math
from collections.abc import Iterator
from dataclasses import replace

from tinytorch.tinygpt import Preset

from .machine import floor
from .modes import default_mode, set_mode
from .our_side import OurTraining, free_memory, step_flops
from .settings import Row, Rows, Settings, random_text
from .timing import timed

COLUMNS = [
    "size", "ms", "us a token", "exponent of the time", "exponent of the FLOPs", "floor, ms",
    "over the floor",
]  # fmt: skip
HEAD = 64  # elements of a head, whatever the width


def scaling(settings: Settings) -> Rows:
    """Each series of sizes; an exponent is that of the growth from the size before."""
    mode = default_mode()
    set_mode(mode)
    for series, sizes in settings.sizes.items():
        before: tuple[int, float, float] | None = None
        for size, preset in presets(settings, series, sizes):
            free_memory()
            step = OurTraining(preset, random_text(settings.text)).step
            timed(step, 3)
            seconds = min(timed(step, settings.turn) for _ in range(min(3, settings.rounds)))
            flops = step_flops(preset)
            least = floor(settings, mode, 0, flops)
            exponents = [_exponent(before, i, (size, seconds, flops)) for i in (1, 2)]
            before = size, seconds, flops
            value = {
                "ms": 1e3 * seconds,
                "us a token": 1e6 * seconds / preset.tokens_per_step,
                "exponents": exponents,
                "floor, ms": 1e3 * least,
            }
            yield Row(f"{series} {size}", value, [
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


def _exponent(
    before: tuple[int, float, float] | None, index: int, now: tuple[int, float, float]
) -> float | None:
    """The power of the size with which an entry has grown; None for the first size."""
    if before is None:
        return None
    return math.log(now[index] / before[index]) / math.log(now[0] / before[0])
