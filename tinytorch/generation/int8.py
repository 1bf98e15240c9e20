"""Weights of int8 for inference: a quarter of the memory, and fewer bytes to read for each token.

Each row of a weight has a scale, its largest magnitude divided by 127, so a weight is off by at
most half a scale. Activations stay floats.

Source: T. Dettmers et al., "LLM.int8()" (2022), section 2.1, of the weights only.
"""

import math
from typing import Any, TypeVar

from ..autograd import wrap_array
from ..backends.base import Array, Namespace
from ..embeddings import Embedding, embedding
from ..layers import Linear
from ..modules.module import Module
from ..ops.op import op
from ..tensor import Tensor

M = TypeVar("M", bound=Module)


@op(promote="float", keep=("weight",))
def int8_linear(
    xp: Namespace, x: Array, weight: Array, scale: Array, bias: Array | None = None
) -> Any:
    """x @ (scale * weight).T + bias: x (..., in), weight (out, in) int8, scale and bias (out,)."""
    rows = xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))  # (N, in)
    y = rows @ xp.matrix_transpose(xp.astype(weight, x.dtype)) * scale  # (N, out)
    if bias is not None:
        y = y + bias
    return xp.reshape(y, (*x.shape[:-1], weight.shape[0])), (weight, scale, x.shape)


@int8_linear.gradient
def int8_linear_gradient(
    xp: Namespace, g: Array, weight: Array, scale: Array, shape: tuple[int, ...]
) -> Any:
    g = xp.reshape(g, (math.prod(shape[:-1]), weight.shape[0]))  # (N, out)
    return (
        lambda: xp.reshape(g * scale @ xp.astype(weight, g.dtype), shape),
        None,
        None,
        lambda: xp.sum(g, axis=0),
    )


class Int8Linear(Module):
    """A `Linear` whose weight is rounded to int8; gradients reach its input and its bias only.

    Attributes:
        weight: (out_features, in_features), int8.
        scale: (out_features,); row i of the layer is ``scale[i] * weight[i]``.
        bias: (out_features,), or None.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: Linear, weight: Tensor, scale: Tensor) -> None:
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        return int8_linear(x, self.weight, self.scale, self.bias)

    def extra_repr(self) -> str:
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


class Int8Embedding(Module):
    """An `Embedding` whose vectors are rounded to int8.

    Attributes:
        weight: (V, C), int8.
        scale: (V,); the vector of token i is ``scale[i] * weight[i]``.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, table: Embedding, weight: Tensor, scale: Tensor) -> None:
        self.vocab_size, self.embed_dim = table.vocab_size, table.embed_dim
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def forward(self, ids: Tensor) -> Tensor:
        """Integer ids (...) -> (..., C)."""
        scale = embedding(self.scale.reshape(-1, 1), ids)  # (..., 1)
        integers = embedding(self.weight, ids)
        return integers.to(dtype=self.scale.dtype) * scale

    def extra_repr(self) -> str:
        return f"{self.vocab_size}, {self.embed_dim}"


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round weight (out, in) to int8: the integers, and the scale (out,) of each row."""
    xp, w = weight.backend.xp, weight._array
    scale = xp.max(xp.abs(w), axis=1) / 127
    divisor = xp.where(scale > 0, scale, xp.ones_like(scale))
    integers = xp.astype(xp.round(w / divisor[:, None]), xp.int8)
    return wrap_array(Tensor, integers, weight.backend), wrap_array(Tensor, scale, weight.backend)


def to_int8(model: M) -> M:
    """Round the weights of all linear layers and embeddings of a model to int8, in place.

    For inference: the model takes a quarter of the memory, and decodes faster on a CPU with a C
    compiler, since that is bound by the bytes of the weights. Its logits change, mostly by a few
    tenths of a percent of their range. A shared weight, such as that of a tied head, stays shared.

    Returns:
        The model.

    >>> from tinytorch import GPT
    >>> from tinytorch.generation.int8 import to_int8
    >>> model = to_int8(GPT(65, 32, 2, 4, max_seq_len=64, tie_weights=True))
    >>> model.head
    Int8Linear(in_features=32, out_features=65, bias=False)
    """
    done: dict[int, tuple[Tensor, Tensor]] = {}
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            if type(child) in KINDS:
                layer: Any = child
                key = id(layer.weight)
                if key not in done:
                    done[key] = quantized(layer.weight)
                module._modules[name] = KINDS[type(child)](layer, *done[key])
    return model


KINDS: dict[type, Any] = {Linear: Int8Linear, Embedding: Int8Embedding}
