"""Whether the code of transformer blocks, such as a student's, computes what fused ones do."""

import math
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import numpy as np

from ..attention import create_causal_mask
from ..autograd import enable_grad, no_grad
from ..embeddings import RotaryEmbedding
from ..modules.module import Module
from ..ops import random
from ..tensor import Tensor
from ..transformers import TransformerBlock

TOLERANCE = 1e-8  # in float64


def compare(activation: str, is_rotary: bool, fused: type[TransformerBlock]) -> tuple[Module, str]:
    """Run a small block as a `TransformerBlock` and as a fused one.

    In float64 on NumPy, with and without dropout, outputs and gradients; the random generator stays
    as it is.

    Returns:
        the block, and how its code differs from the fused block's, or "".
    """
    rotary = RotaryEmbedding(4, 8, backend="numpy") if is_rotary else None
    block: Module = Module()
    try:
        with random.undrawn():
            block = TransformerBlock(8, 2, 2, 0.25, True, rotary, activation, backend="numpy")
        block.double()
        _fill(block)
        own = _results(block)
    except Exception as error:  # of that code; a block raises it again where it is used
        return block, f"its own code raises {type(error).__name__}"
    block.__class__ = fused
    largest = max(float(np.abs(x - y).max()) for x, y in zip(own, _results(block), strict=True))
    if largest <= TOLERANCE:
        return block, ""
    what = f"results of a small block differ by {largest:.2g}"
    return block, f"its own code computes something else: {what}"


def own_attribute(block: Module, usual: Module, parts: Iterable[str]) -> str:
    """Which attribute a block or one of its parts has that the usual one has not, or "".

    Its code may depend on it.
    """
    for name in ("", *parts):
        layer, other = (attrgetter(name)(b) if name else b for b in (block, usual))
        if own := sorted(vars(layer).keys() - vars(other).keys()):
            return f"{name or 'the block'} has an attribute of its own, {own[0]}"
    return ""


def _fill(block: Module) -> None:
    """Give a block weights with which every part matters."""
    with no_grad():
        for i, parameter in enumerate(block.parameters()):
            wave = np.cos((1 + 0.1 * i) * np.arange(1, parameter.size + 1))
            if parameter.ndim == 2:
                value = 2 * wave / math.sqrt(parameter.shape[1])
            else:
                value = 1 + 0.5 * wave
            parameter.copy_(Tensor(value.reshape(parameter.shape), backend="numpy"))


def _results(block: Module) -> list[Any]:
    return [*_run(block, training=True), *_run(block, training=False)]


@enable_grad()
def _run(block: Module, training: bool) -> list[Any]:
    """The output of a block, and the gradients of its input and its parameters."""
    block.train(training)
    values = np.sin(np.arange(2 * 8 * 8)).reshape(2, 8, 8)  # (B, T, C)
    x = Tensor(values, dtype="float64", requires_grad=True, backend="numpy")
    with random.masks_from(1):
        y = block(x, create_causal_mask(8, backend="numpy"))
    (y * Tensor(values[::-1, ::-1], dtype="float64", backend="numpy")).sum().backward()
    gradients = [x.grad, *(p.grad for p in block.parameters())]
    block.zero_grad()
    return [y.numpy(), *(np.zeros(1) if g is None else g.numpy() for g in gradients)]
