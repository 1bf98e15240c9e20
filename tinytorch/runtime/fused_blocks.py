"""Transformer blocks fused to two composites; on a GPU they may compute in bfloat16."""

import copy
import math
import operator
from typing import Any, TypeVar

import numpy as np

from ..activations import gelu, squared_relu
from ..attention import KVCache, create_causal_mask, fused_attention, merge_heads, split_heads
from ..autograd import no_grad
from ..backends import trace
from ..backends.decode_step import NotFusableError
from ..embeddings import rotary
from ..generation.decode_step import class_name
from ..generation.gpt_weights import LAYERS, check_layer
from ..layers import linear
from ..modules.module import Module
from ..ops.activations import gelu_erf
from ..ops.op import composite
from ..tensor import Tensor
from ..transformers import ACTIVATIONS, TransformerBlock
from .residual import dropout_add, fork_layer_norm

M = TypeVar("M", bound=Module)
Mask = tuple[float, Any]  # probability and seed of a dropout

TOLERANCE = 0.05  # of the change that a block makes; bfloat16 is off by a hundredth

OPS = {"gelu": gelu, "gelu_erf": gelu_erf, "squared_relu": squared_relu}


@composite
def residual_attention(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor | None,
    qkv_weight: Tensor,
    qkv_bias: Tensor | None,
    proj_weight: Tensor,
    proj_bias: Tensor | None,
    mask: Tensor | None = None,
    cos: Tensor | None = None,
    sin: Tensor | None = None,
    *,
    eps: float,
    num_heads: int,
    weights_dropout: Mask,
    output_dropout: Mask,
) -> Tensor:
    """x + attention(norm(x)), the first half of a `TransformerBlock`: x (B, T, C) -> (B, T, C).

    cos and sin (T, hs / 2) rotate queries and keys.
    """
    x, h = fork_layer_norm(x, norm_weight, norm_bias, eps=eps)
    q, k, v = split_heads(linear(h, qkv_weight, qkv_bias), num_heads=num_heads)  # (B, nh, T, hs)
    if cos is not None:
        q, k = rotary(q, cos, sin), rotary(k, cos, sin)
    p, seed = weights_dropout
    y = merge_heads(fused_attention(q, k, v, mask, p=p, seed=seed))  # (B, T, C)
    p, seed = output_dropout
    return dropout_add(x, linear(y, proj_weight, proj_bias), p=p, seed=seed)


@composite
def residual_mlp(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor | None,
    fc_weight: Tensor,
    fc_bias: Tensor | None,
    proj_weight: Tensor,
    proj_bias: Tensor | None,
    *,
    eps: float,
    activation: str,
    dropout: Mask,
) -> Tensor:
    """x + mlp(norm(x)), the second half of a `TransformerBlock`: x (..., C) -> (..., C)."""
    x, h = fork_layer_norm(x, norm_weight, norm_bias, eps=eps)
    a = OPS[activation](linear(h, fc_weight, fc_bias))  # (..., hidden)
    p, seed = dropout
    return dropout_add(x, linear(a, proj_weight, proj_bias), p=p, seed=seed)


class FusedBlock(TransformerBlock):
    """A `TransformerBlock` that computes the same in two composites, with kernels of a backend.

    With a cache, or a layer that was replaced or has hooks, it runs as a `TransformerBlock`;
    `backends.Trace` shows that, and why.
    """

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        attention, mlp = self.attention, self.mlp
        why = self._why_not_fused() if cache is None else "it is called with a cache"
        if why:
            trace.fallback("fused block", why, self.backend.name)
        if why or x.shape[2:] != (attention.embed_dim,):  # then the block raises an error
            return super().forward(x, mask, cache)
        tables = attention.rotary._tables(0, x.shape[1]) if attention.rotary else (None, None)
        x = residual_attention(
            x, self.ln1.weight, self.ln1.bias, attention.qkv.weight, attention.qkv.bias,
            attention.proj.weight, attention.proj.bias, mask, *tables, eps=self.ln1.eps,
            num_heads=attention.num_heads, weights_dropout=attention.weights_dropout.draw(),
            output_dropout=attention.output_dropout.draw(),
        )  # fmt: skip
        return residual_mlp(
            x, self.ln2.weight, self.ln2.bias, mlp.fc.weight, mlp.fc.bias, mlp.proj.weight,
            mlp.proj.bias, eps=self.ln2.eps, activation=NAMES[type(mlp.activation)],
            dropout=mlp.dropout.draw(),
        )  # fmt: skip

    def _why_not_fused(self) -> str:
        """Which layer is not this package's own, or does not run as its class does, or ""."""
        layers: dict[str, Module] = {"the block": self}
        try:
            layers.update(zip(PARTS, get_parts(self), strict=True))
            if self.attention.rotary is not None:
                layers["attention.rotary"] = self.attention.rotary
            for name, layer in layers.items():
                check_layer(name, layer)
        except (AttributeError, NotFusableError) as error:  # there may be no mlp.fc
            return str(error)
        for cls in {TransformerBlock, *map(type, layers.values())} - {FusedBlock}:
            if _functions(cls) != FUNCTIONS[cls]:
                return f"a method of {cls.__name__} was replaced"
        if self.attention.num_kv_heads != self.attention.num_heads:
            return "groups of heads share keys and values"
        activation = self.mlp.activation
        return "" if type(activation) in NAMES else f"no kernel computes {class_name(activation)}"


PARTS = (
    "ln1", "attention", "attention.qkv", "attention.weights_dropout", "attention.proj",
    "attention.output_dropout", "ln2", "mlp", "mlp.fc", "mlp.activation", "mlp.proj", "mlp.dropout",
)  # fmt: skip
get_parts = operator.attrgetter(*PARTS)


def _functions(cls: type) -> list[Any]:
    """The methods of a class, to compare with later ones."""
    return [value for value in vars(cls).values() if callable(value)]


FUNCTIONS = {cls: _functions(cls) for cls in LAYERS}
NAMES = {cls: name for name, cls in ACTIVATIONS.items()}
LAYERS.add(FusedBlock)  # generation computes in full precision, as a TransformerBlock


def fuse_blocks(model: M) -> M:
    """Let the transformer blocks of a model run as `FusedBlock`s, and return the model.

    On a GPU, dropout is then part of the residual additions, and gradients of residual connections
    are added by the kernels of the norms. With ``TT_MATMUL=bf16``, each half of a block also keeps
    bfloat16 between its products: queries, keys, values, the MLP's hidden layer and their
    gradients. Parameters, their gradients, optimizer state, the residual stream and all sums stay
    float32, and so do all tensors.

    In NumPy, each half of a block without dropout is one node of the graph, which saves a fifth of
    a small model's step. On other backends nothing changes. Weights and dropout masks stay the
    same, and so do checkpoints.

    Blocks with other layers than `TransformerBlock` creates, with hooks, or whose code computes
    something else, such as a lesson's that was exported, run as before. So does
    bfloat16 with sizes that its kernels do not support: the width must be a multiple of 8 and at
    most 1024, that of heads a multiple of 16 and at most 128.

    Source: P. Micikevicius et al., "Mixed Precision Training" (2018).

    >>> from tinytorch import GPT
    >>> from tinytorch.runtime.fused_blocks import fuse_blocks
    >>> model = fuse_blocks(GPT(65, 32, 2, 2, max_seq_len=64))
    """
    if residual_mlp.name not in model.backend.kernels:
        return model
    found: dict[tuple[type, ...], str] = {}  # why blocks of these classes stay as they are
    for block in model.modules():
        if type(block) is TransformerBlock:
            classes = tuple(type(module) for module in block.modules())
            if classes not in found:
                found[classes] = _why_different(block)
            why = found[classes]
            if not why:
                block.__class__ = FusedBlock
        elif isinstance(block, TransformerBlock) and type(block) is not FusedBlock:
            why = f"{class_name(block)} is not TransformerBlock"
        else:
            continue
        if why:
            trace.fallback("fused block", why, model.backend.name)
    return model


def _why_different(block: TransformerBlock) -> str:
    """By how much the output of the fused block differs from that of the block's own code, or "".

    That code may be a student's, exported from a lesson. Both run on a copy with other weights,
    since output projections may be zeros.
    """
    probe: Any = copy.deepcopy(block).eval()
    probe.__class__ = FusedBlock
    if probe._why_not_fused():  # it runs as a TransformerBlock then, unless that changes
        return ""
    with no_grad():
        for i, parameter in enumerate(probe.parameters()):
            parameter.copy_(_waves(parameter, parameter.shape, i) / parameter.shape[-1] ** 0.5)
        rotary = probe.attention.rotary
        T = 3 if rotary is None else min(3, len(rotary.cos))
        x = _waves(probe.ln1.weight, (1, T, probe.attention.embed_dim), 0.5)
        given = x, create_causal_mask(T, backend=block.backend)
        try:
            own = TransformerBlock.forward(probe, *given)
        except Exception as error:  # the block raises it again where it is used
            return f"its own code raises {type(error).__name__}"
        fused = FusedBlock.forward(probe, *given)
        difference = float((own - fused).abs().max())
        limit = TOLERANCE * float((own - x).abs().max())
    if difference <= limit:
        return ""
    return f"its output differs by up to {difference:.2g} from the block's own"


def _waves(like: Tensor, shape: tuple[int, ...], frequency: float) -> Tensor:
    """Numbers from -1 to 1 that do not change the random generator."""
    values = np.cos((1 + frequency) * np.arange(1, math.prod(shape) + 1)).reshape(shape)
    return Tensor(values, dtype=like.dtype, backend=like.backend)
