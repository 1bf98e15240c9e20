"""Training steps next to PyTorch's modes."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinytorch import backends
from tinytorch.tinygpt import Preset

from . import torch_side
from .machine import floor
from .modes import Mode, default_mode, set_mode
from .our_side import free_memory, our_training, step_flops
from .profiler import kernel_times
from .report import first_line
from .settings import Row, Rows, Settings, random_text
from .timing import Step, in_turn, timed
from .torch_training import TorchTraining

OURS = "TinyTorch"
# Side of PyTorch -> mode of torch.compile, and whether the whole step is one CUDA graph.
SIDES: dict[str, tuple[str | None, bool]] = {
    "eager": (None, False),
    "eager, CUDA graph": (None, True),
    "compile": ("default", False),
    "compile, CUDA graph": ("default", True),
    "reduce-overhead": ("reduce-overhead", False),
    "max-autotune": ("max-autotune", False),
    "max-autotune, CUDA graph": ("max-autotune-no-cudagraphs", True),
}
EAGER = ["eager", "eager, CUDA graph"]
COMPILED = ["compile", "compile, CUDA graph", "reduce-overhead"]
AUTOTUNED = ["max-autotune", "max-autotune, CUDA graph"]
COLUMNS = [
    "model, precision", OURS, "floor of products", *(f"PyTorch {side}" for side in SIDES),
    "ours / PyTorch's best", "tokens/s", "kernels (ours, eager)",
    "memory, MiB (ours reserved, eager's peak)",
]  # fmt: skip


def compare(preset: Preset, mode: Mode, names: list[str], settings: Settings) -> dict[str, Any]:
    """Milliseconds of a step on each side, measured in turn, kernels and memory.

    Returns:
        the row's value in the JSON.
    """
    free_memory()
    set_mode(mode)
    text = random_text(200_000)
    step, trainer = our_training(preset, text)
    timed(step, 3)  # runs, captures and replays
    memory = backends.get("cupy").memory()["reserved"] / 2**20
    sides, problems = {OURS: step}, {}
    if torch_side.module():
        for name, build in builders(preset, text, trainer.model, mode, names):
            try:
                sides[name] = build()
                timed(sides[name], 3)
            except Exception as error:
                sides.pop(name, None)
                problems[name] = first_line(error)
    ms = {n: 1e3 * s for n, s in in_turn(sides, settings.rounds, settings.turn).items()}
    kernels = {n: len(kernel_times(s)) for n, s in sides.items() if torch_side.module()}
    best = min((value for name, value in ms.items() if name != OURS), default=None)
    return {
        "ms": ms,
        "failed": problems,
        "floor of products, ms": 1e3 * floor(settings, mode, 0, step_flops(preset)),
        "ours / PyTorch's best": ms[OURS] / best if best else None,
        "tokens a second": preset.tokens_per_step / ms[OURS] * 1e3,
        "kernels": kernels,
        "memory reserved, MiB": memory,
        "peak memory of eager, MiB": (
            torch_side.peak_memory(sides["eager"]) if "eager" in sides else None
        ),
    }


def builders(
    preset: Preset, text: np.ndarray[Any, Any], model: Any, mode: Mode, names: list[str]
) -> Iterator[tuple[str, Callable[[], Step]]]:
    """Side of PyTorch -> a function that builds its step. A graph is captured from the training of
    the side with the same mode of torch.compile before it, which then need not compile again."""
    trainings: dict[str | None, TorchTraining] = {}

    def build(compiled: str | None, graph: bool) -> Step:
        if compiled not in trainings:
            trainings[compiled] = TorchTraining(preset, text, model, mode, compiled)
        training = trainings[compiled]
        if not graph:
            return training.step
        captured: Step = training.graphed()
        return captured

    for name in names:
        yield name, lambda name=name: build(*SIDES[name])  # type: ignore[misc]


def _row(name: str, value: dict[str, Any]) -> Row:
    def milliseconds(side: str) -> str:
        if side in value["failed"]:
            return value["failed"][side]  # type: ignore[no-any-return]
        return f"{value['ms'][side]:.3f} ms" if side in value["ms"] else "-"

    ratio, peak = value["ours / PyTorch's best"], value["peak memory of eager, MiB"]
    kernels = [value["kernels"].get(side, "-") for side in (OURS, "eager")]
    return Row(name, value, [
        milliseconds(OURS),
        f"{value['floor of products, ms']:.3f} ms",
        *(milliseconds(side) for side in SIDES),
        "-" if ratio is None else f"{ratio:.2f}",
        f"{value['tokens a second']:,.0f}",
        ", ".join(map(str, kernels)),
        f"{value['memory reserved, MiB']:.0f}, {'-' if peak is None else round(peak)}",
    ])  # fmt: skip


def _compiled(settings: Settings, names: list[str]) -> list[str]:
    return names if settings.compiled else []


def baby_gpt(settings: Settings) -> Rows:
    """The baby GPT in each mode."""
    sides = EAGER + _compiled(settings, COMPILED)
    for mode in settings.modes:
        value = compare(settings.baby, mode, sides, settings)
        yield _row(f"nanogpt-gpu, {mode.name}", value)


def small_presets(settings: Settings) -> Rows:
    """The other presets, whose steps are bound by launches or by Muon."""
    mode = default_mode()
    compiled = _compiled(settings, COMPILED[:2])
    for name, sides in (("default", EAGER + compiled), ("best", EAGER), ("best-gpu", EAGER)):
        yield _row(f"{name}, {mode.name}", compare(settings.presets[name], mode, sides, settings))


def autotuned(settings: Settings) -> Rows:
    """The baby GPT next to the mode of torch.compile that takes minutes to compile."""
    for mode in settings.modes[::-1]:
        if settings.compiled and torch_side.module():
            value = compare(settings.baby, mode, AUTOTUNED, settings)
            yield _row(f"nanogpt-gpu, {mode.name}", value)
