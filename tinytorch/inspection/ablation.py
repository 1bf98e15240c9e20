"""Ablation: heads of attention that are knocked out, and what is lost without them."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from ..arguments import check_integer
from ..backends.base import NumpyArray
from ..tensor import Tensor
from ..transformers import GPT
from .distributions import text_loss

Head = tuple[int, int]  # block and head, both counted from 0


@contextmanager
def ablated_heads(model: GPT, heads: Collection[Head]) -> Iterator[None]:
    """Context manager in which the outputs of some heads are zero.

    What a head adds to the residual stream passes through its own columns of the output
    projection; zero in its place is the same as zero columns.

    Args:
        model: the model; its weights stay as they are.
        heads: pairs (block, head), both counted from 0.

    Raises:
        ValueError: the model has no such head.

    >>> from tinytorch import GPT, Tensor
    >>> from tinytorch.inspection import ablated_heads
    >>> model = GPT(vocab_size=10, embed_dim=8, num_layers=1, num_heads=2, max_seq_len=16)
    >>> with ablated_heads(model, [(0, 1)]):
    ...     logits = model(Tensor([[1, 2, 3]]))
    """
    by_block = defaultdict(list)
    for block, head in heads:
        check_integer("block", block, 0, len(model.blocks) - 1)
        check_integer("head", head, 0, model.config.num_heads - 1)
        by_block[block].append(head)
    with ExitStack() as hooks:
        for block, chosen in by_block.items():
            projection = model.blocks[block].attention.proj
            hook = _Silence(model, chosen)
            hooks.callback(projection.register_forward_pre_hook(hook).remove)
        yield


class _Silence:
    """A hook that multiplies the outputs of some heads, side by side in (B, T, nh hs), by zero."""

    def __init__(self, model: GPT, heads: Collection[int]) -> None:
        width = model.blocks[0].attention.proj.in_features  # nh hs
        keep = np.ones((model.config.num_heads, width // model.config.num_heads))
        keep[[*heads]] = 0.0  # (nh, hs)
        self._keep = Tensor(keep.reshape(-1).astype(np.float32), backend=model.backend)  # (nh hs,)

    def __call__(self, module: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        return (args[0] * self._keep,)


def head_effects(model: GPT, ids: Sequence[int]) -> NumpyArray:
    """How much worse the model predicts a text without each of its heads.

    Args:
        model: the model.
        ids: the text, at least two tokens.

    Returns:
        the loss without the head minus the loss of the whole model, (L, nh), in nats per token.

    Source: P. Michel, O. Levy, G. Neubig, "Are Sixteen Heads Really Better than One?" (2019).
    """
    whole = text_loss(model, ids)
    effects = np.zeros((model.config.num_layers, model.config.num_heads))
    for block, head in np.ndindex(*effects.shape):
        with ablated_heads(model, [(block, head)]):
            effects[block, head] = text_loss(model, ids) - whole
    return effects
