"""The baby GPT's matrix products, next to PyTorch's and to one large product."""

from typing import Any

from . import torch_side
from .machine import our_matrices, our_product, product_rate, seconds_of, torch_matrices
from .modes import Mode, set_mode
from .report import guarded
from .settings import VOCABULARY, Row, Rows, Settings

COLUMNS = ["product, precision", "us", "TFLOP/s", "of the large product", "PyTorch, us"]
# Product -> sizes of its operands before a transpose, by letters, and which one is transposed.
KINDS = {
    "y = x w^T": ("Ni", "oi", (False, True)),
    "dx = dy w": ("No", "oi", (False, False)),
    "dw = dy^T x": ("No", "Ni", (True, False)),
}


def products(settings: Settings) -> Rows:
    """Forward and both gradients of each linear layer, in bf16 with operands that are stored so."""
    C = settings.baby.embed_dim
    layers = {"qkv": (C, 3 * C), "proj": (C, C), "fc": (C, 4 * C), "out": (4 * C, C),
              "head": (C, VOCABULARY), "head of 128 tokens": (C, 128)}  # fmt: skip
    for mode in settings.modes:
        set_mode(mode)
        for layer, (inputs, outputs) in layers.items():
            for kind in KINDS:
                name = f"{layer}, {kind}, {mode.name}"
                yield from guarded(name, _row(name, settings, mode, kind, inputs, outputs))


def _row(name: str, *arguments: Any) -> Rows:
    value = measure(*arguments)
    theirs = value["PyTorch, us"]
    yield Row(name, value, [
        f"{value['us']:.1f}",
        f"{value['FLOP/s'] / 1e12:.1f}",
        f"{value['of the large product']:.2f}",
        "-" if theirs is None else f"{theirs:.1f}",
    ])  # fmt: skip


def measure(settings: Settings, mode: Mode, kind: str, inputs: int, outputs: int) -> dict[str, Any]:
    """A product of a layer with so many inputs and outputs, on both sides."""
    N = settings.baby.batch_size * settings.baby.context
    sizes = {"N": N, "i": inputs, "o": outputs}
    left, right, turned = KINDS[kind]
    shapes = [(sizes[a], sizes[b]) for a, b in (left, right)]

    def operands(pair: Any) -> list[Any]:
        return [x.T if turn else x for x, turn in zip(pair, turned, strict=True)]

    x, y = operands(our_matrices(mode, *shapes))
    seconds, theirs = seconds_of(lambda: our_product(x, y), settings), None
    if torch := torch_side.module():
        a, b = operands(torch_matrices(mode, *shapes))
        theirs = 1e6 * seconds_of(lambda: torch.matmul(a, b), settings)
    rate = 2 * N * inputs * outputs / seconds
    return {
        "us": 1e6 * seconds,
        "FLOP/s": rate,
        "of the large product": rate / product_rate(settings, mode),
        "PyTorch, us": theirs,
    }
