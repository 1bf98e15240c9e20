"""Whether the code of transformer blocks, such as a student's, computes what fused ones do."""

import itertools
import math
from collections.abc import Iterator
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

TOLERANCE = 1e-8  # in float64, relative to the largest element
# Sizes of a small block. They all differ, also from the root and half of the head size, so that
# code which confuses two of them gives other results.
B, T, NUM_HEADS, HEAD_SIZE, MLP_RATIO = 4, 7, 3, 10, 6
C = NUM_HEADS * HEAD_SIZE
EPS = {"ln1": 0.3, "ln2": 0.7}
# Probabilities in training. Code that draws a mask where it is 0 shifts the masks that follow.
DROPOUTS = (
    {"attention.weights_dropout": 0.25, "attention.output_dropout": 0.0, "mlp.dropout": 0.4},
    {"attention.weights_dropout": 0.0, "attention.output_dropout": 0.3, "mlp.dropout": 0.2},
    {"attention.weights_dropout": 0.0, "attention.output_dropout": 0.0, "mlp.dropout": 0.0},
)
LARGE = 20.0  # times the weights: exp overflows unless softmax subtracts the maximum


def compare(activation: str, is_rotary: bool, bias: bool, fused: type[TransformerBlock]) -> str:
    """Run a small block as a `TransformerBlock` and as a fused one.

    In float64 on NumPy: outputs, gradients and the number of dropout masks drawn; in training with
    several dropouts, and in evaluation, with several attention masks, a batch of one, and large
    weights. The random generator stays as it is.

    Returns:
        how the block's code differs from the fused block's, or "".
    """
    try:
        block = _small_block(activation, is_rotary, bias)
        if not block.train().training:
            return "its code cannot be compared within evaluating()"
        own = list(_results(block))
    except Exception as error:  # of that code; a block raises it again where it is used
        return f"its own code raises {type(error).__name__}"
    block.__class__ = fused
    _fill(block)
    try:
        pairs = zip(own, _results(block), strict=True)
        difference = max(itertools.starmap(_difference, pairs))
    except Exception as error:  # the layers are not what the fused block reads
        return f"its own code differs: the fused block raises {type(error).__name__}"
    if difference <= TOLERANCE:
        return ""
    what = f"results of a small block differ by {difference:.2g}"
    return f"its own code computes something else: {what}"


def _small_block(activation: str, is_rotary: bool, bias: bool) -> Module:
    rotary = RotaryEmbedding(HEAD_SIZE, T, backend="numpy") if is_rotary else None
    with random.undrawn():
        block = TransformerBlock(
            C, NUM_HEADS, MLP_RATIO, 0.1, bias, rotary, activation, backend="numpy"
        )
    block.double()
    for name, eps in EPS.items():
        attrgetter(name)(block).eps = eps
    _fill(block)
    return block


@no_grad()
def _fill(block: Module) -> None:
    """Give a block weights with which every part matters."""
    for i, parameter in enumerate(block.parameters()):
        wave = np.cos((1 + 0.1 * i) * np.arange(1, parameter.size + 1))
        is_matrix = parameter.ndim == 2
        value = 2 * wave / math.sqrt(parameter.shape[1]) if is_matrix else 1 + 0.5 * wave
        parameter.copy_(Tensor(value.reshape(parameter.shape), backend="numpy"))


def _results(block: Module) -> Iterator[Any]:
    """All arrays that are compared; the weights are changed."""
    causal = create_causal_mask(T, backend="numpy")
    other = Tensor(np.eye(T) + np.cos(np.arange(T * T)).reshape(T, T) > 0, backend="numpy")
    for dropouts, mask in zip(DROPOUTS, (causal, other, None), strict=True):
        for name, p in dropouts.items():
            attrgetter(name)(block).p = p
        yield from _run(block, B, mask, training=True)
        yield from _run(block, B, mask)
    for training in (True, False):
        yield from _run(block, 1, causal, training)
    with no_grad():
        for parameter in block.parameters():
            if parameter.ndim == 2:
                parameter.mul_(LARGE)
    yield from _run(block, B, causal)


@enable_grad()
def _run(block: Module, batch: int, mask: Tensor | None, training: bool = False) -> list[Any]:
    """The output of a block, the number of dropout masks drawn, and the gradients of the input and
    of the parameters."""
    block.train(training)
    values = np.sin(np.arange(batch * T * C)).reshape(batch, T, C)
    x = Tensor(values, dtype="float64", requires_grad=True, backend="numpy")
    with random.masks_from(1) as seeds:
        y = block(x, mask)
    (y * Tensor(values[::-1, ::-1], dtype="float64", backend="numpy")).sum().backward()
    gradients = [x.grad, *(p.grad for p in block.parameters())]
    block.zero_grad()
    arrays = [np.zeros(1) if g is None else g.numpy() for g in gradients]
    return [y.numpy(), np.array([seeds.offset]), *arrays]


def _difference(own: Any, fused: Any) -> float:
    """The largest difference, relative to the largest element of `fused` if that is over 1."""
    if own.shape != fused.shape:
        return math.inf
    difference = float(np.abs(own - fused).max() / max(1.0, np.abs(fused).max()))
    return math.inf if math.isnan(difference) else difference
