"""Training steps next to PyTorch's modes."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinytorch import backends
from tinytorch.tinygpt import Preset

from . import torch_side
from .machine import floor
from .modes import Mode, default_mode, set_mode
from .our_side import OurTraining, free_memory, step_flops
from .report import first_line, guarded
from .settings import Row, Rows, Settings, random_text
from .timing import Step, in_turn, timed
from .torch_training import TorchTraining

OURS, SEVERAL = "TinyTorch", "several steps a graph"
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
COMPILED = ["compile", "compile, CUDA graph"]
AUTOTUNED = ["max-autotune, CUDA graph", "max-autotune"]
# The columns of three tables.
OF_BABY_GPT = [OURS, *EAGER, *COMPILED, "reduce-overhead"]
OF_SMALL_PRESETS = [OURS, SEVERAL, *EAGER, *COMPILED]
OF_AUTOTUNED = [OURS, *AUTOTUNED]


def columns(names: list[str]) -> list[str]:
    """The titles of a table with these sides."""
    return [
        "model, precision", "floor of products",
        *(f"PyTorch {name}" if name in SIDES else name for name in names),
        "ours / PyTorch's best", "tokens/s", "memory, MiB (ours reserved, PyTorch's peak)",
    ]  # fmt: skip


def compare(
    preset: Preset, mode: Mode, groups: list[list[str]], settings: Settings
) -> Iterator[dict[str, Any]]:
    """Milliseconds of a step on each side, measured in turn, and memory.

    Yields:
        the row's value in the JSON after each group of sides, with those of the groups before, so
        that little is lost if a group takes too long to compile.
    """
    free_memory()
    set_mode(mode)
    text = random_text(settings.text)
    ours = OurTraining(preset, text)
    timed(ours.step, 3)  # runs, captures and replays
    memory = {OURS: backends.get("cupy").memory()["reserved"] / 2**20}
    sides, problems = {OURS: ours.step}, {}
    if (at_once := ours.at_once()) > 1:
        sides[SEVERAL] = ours.several
        timed(ours.several, 2)
    builder = Builder(preset, text, ours.trainer.model, mode)
    for group in groups if torch_side.module() else [[]]:
        for name in group:
            try:
                side = builder.build(name)
                timed(side, 3)
                memory.setdefault("PyTorch", torch_side.peak_memory(side))
            except Exception as error:
                problems[name] = first_line(error)
            else:
                sides[name] = side
        ms = {n: 1e3 * s for n, s in in_turn(sides, settings.rounds, settings.turn).items()}
        if SEVERAL in ms:
            ms[SEVERAL] /= at_once
        best = min((ms[name] for name in ms if name in SIDES), default=None)
        ours_best = min(ms[name] for name in ms if name not in SIDES)
        yield {
            "ms": ms,
            "failed": dict(problems),
            "floor of products, ms": 1e3 * floor(settings, mode, 0, step_flops(preset)),
            "ours / PyTorch's best": ours_best / best if best else None,
            "tokens a second": preset.tokens_per_step / ours_best * 1e3,
            "memory, MiB": memory,
        }


class Builder:
    """Builds steps of PyTorch from the weights of a model.

    A graph is captured from the training of the side with the same mode of torch.compile, which
    then need not compile again.
    """

    def __init__(self, preset: Preset, text: np.ndarray[Any, Any], model: Any, mode: Mode) -> None:
        self._arguments = preset, text, model, mode
        self._trainings: dict[str | None, TorchTraining] = {}

    def build(self, name: str) -> Step:
        """The step of a side."""
        compiled, graph = SIDES[name]
        if compiled not in self._trainings:
            self._trainings[compiled] = TorchTraining(*self._arguments, compiled)
        training = self._trainings[compiled]
        return training.graphed() if graph else training.step


def _rows(
    preset: str, mode: Mode, groups: list[list[str]], columns: list[str], settings: Settings
) -> Rows:
    """The row of a preset after each group of sides."""
    name = f"{preset}, {mode.name}"
    values = compare(settings.presets[preset], mode, groups, settings)
    return guarded(name, (_row(name, value, columns) for value in values))


def _row(name: str, value: dict[str, Any], names: list[str]) -> Row:
    def milliseconds(side: str) -> str:
        if side in value["failed"]:
            return str(value["failed"][side])
        return f"{value['ms'][side]:.3f} ms" if side in value["ms"] else "-"

    ratio = value["ours / PyTorch's best"]
    return Row(name, value, [
        f"{value['floor of products, ms']:.3f} ms",
        *map(milliseconds, names),
        "-" if ratio is None else f"{ratio:.2f}",
        f"{value['tokens a second']:,.0f}",
        ", ".join(f"{size:.0f}" for size in value["memory, MiB"].values()),
    ])  # fmt: skip


def baby_gpt(settings: Settings) -> Rows:
    """The baby GPT in each mode, first without torch.compile, which may take too long."""
    compiled = [EAGER + COMPILED, ["reduce-overhead"]]
    for groups in [[EAGER], compiled] if settings.compiled else [[EAGER]]:
        for mode in settings.modes:
            yield from _rows("nanogpt-gpu", mode, groups, OF_BABY_GPT, settings)


def small_presets(settings: Settings) -> Rows:
    """The other presets, whose steps are bound by launches or by Muon."""
    mode = default_mode()
    for name in ("default", "best", "best-gpu"):
        groups = [EAGER, COMPILED] if name == "default" and settings.compiled else [EAGER]
        yield from _rows(name, mode, groups, OF_SMALL_PRESETS, settings)


def autotuned(settings: Settings) -> Rows:
    """The baby GPT next to the mode of torch.compile that takes minutes to compile."""
    for mode in settings.modes[::-1] if settings.compiled and torch_side.module() else []:
        groups = [[name] for name in AUTOTUNED]
        yield from _rows("nanogpt-gpu", mode, groups, OF_AUTOTUNED, settings)
