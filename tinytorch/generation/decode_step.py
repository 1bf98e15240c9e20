"""A GPT whose steps for one new token are computed by the backend, if it computes the same."""

from operator import is_
from typing import Any

import numpy as np

from ..attention import KVCache
from ..autograd import is_grad_enabled, wrap_array
from ..backends import Backend
from ..backends.decode_step import BlockWeights, GPTWeights, LinearWeights, NormWeights, Step
from ..layers import LayerNorm, Linear
from ..nn.module import Module
from ..tensor import Tensor

ACTIVATIONS = {"GELU": "gelu", "SquaredReLU": "squared_relu"}
TABLES = {"PositionalEncoding": "weight", "SinusoidalEncoding": "table"}
# The classes by name, since transformers imports generation, which imports this.
PARTS = {
    "activations": {*ACTIVATIONS},
    "attention": {"MultiHeadAttention"},
    "embeddings": {*TABLES, "Embedding", "EmbeddingLayer", "RotaryEmbedding"},
    "layers": {"Dropout", "LayerNorm", "Linear"},
    "nn.module": {"ModuleList"},
    "transformers": {"GPT", "MLP", "TransformerBlock"},
}


def with_fast_steps(model: Any) -> Any:
    """The model itself, or one that takes its place while text is generated, and is faster.

    Where the backend has a step for a whole GPT, and the model is an unchanged `GPT`, that step
    is tried on the first token that follows others. If its logits are those of the model's own
    step it computes the tokens from there on, else the model goes on by itself: what is
    generated is what the model's own code says, even where a student has rewritten that code.

    >>> model = with_fast_steps(model)
    >>> logits = model(ids, caches)
    """
    usable = _is_part(model, "GPT") and model.backend.decoder is not None
    return _FastGPT(model) if usable else model


class _FastGPT:
    """A GPT in generation: all but its call is that of the model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._step: _FastStep | None = None
        self._untried = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, ids: Tensor, caches: list[KVCache] | None = None) -> Tensor:
        """As the model's: ids (B, T) -> logits (B, T, V)."""
        if not caches or ids.shape[1:] != (1,) or not caches[0].length or is_grad_enabled():
            return self._model(ids, caches)  # type: ignore[no-any-return]
        if self._step is not None and self._step.is_current():
            return self._step(ids, caches)
        if self._step is not None:
            self._step, self._untried = None, True
        logits: Tensor = self._model(ids, caches)
        if self._untried:
            self._step, self._untried = self._try(ids, caches, logits.numpy()), False
        return logits

    def _try(self, ids: Tensor, caches: list[KVCache], own: Any) -> "_FastStep | None":
        """The backend's step, if it computes the same logits for the token just read."""
        try:
            step = _FastStep(self._model)
            copies = [(cache._keys.copy(), cache._values.copy()) for cache in caches]  # type: ignore[union-attr]
            logits = step.step(ids._array[:, 0], copies, caches[0].length - 1)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError):
            return None  # a part of the package has been rewritten, and is not as it was
        near = 1e-4 * float(np.abs(own).max())
        same = np.allclose(logits[:, None], own, rtol=1e-4, atol=near, equal_nan=True)
        return step if same else None


class _FastStep:
    """A backend's step with the arrays of a model."""

    def __init__(self, model: Any) -> None:
        self.backend: Backend = model.backend
        assert self.backend.decoder is not None
        self.step: Step = self.backend.decoder(gpt_weights(model))
        self.tensors = [tensor for _, tensor in model._named_tensors()]
        self.arrays = [tensor._array for tensor in self.tensors]

    def is_current(self) -> bool:
        """Whether the model still holds these arrays; writes into them are seen."""
        return all(map(is_, [tensor._array for tensor in self.tensors], self.arrays))

    def __call__(self, ids: Tensor, caches: list[KVCache]) -> Tensor:
        """ids (B, 1) -> logits (B, 1, V)."""
        position = caches[0].length
        kept = [(cache._keys, cache._values) for cache in caches]
        logits = self.step(ids._array[:, 0], kept, position)  # (B, V)
        for cache in caches:
            cache.length = position + 1
        result: Tensor = wrap_array(Tensor, logits[:, None], self.backend)
        return result


def gpt_weights(model: Any) -> GPTWeights:
    """The arrays of a GPT.

    Raises:
        ValueError: a part of it is not one of the package's own, or would drop.
    """
    for name, module in model.named_modules():
        if not _is_plain(module):
            raise ValueError(f"{name} is not a plain part of a GPT")
    first, embedding = model.blocks[0], model.embedding
    rotary, positions = first.attention.rotary, embedding.positions
    return GPTWeights(
        tokens=embedding.tokens.weight._array,
        scale=embedding.scale,
        positions=positions and getattr(positions, TABLES[type(positions).__name__])._array,
        rotary=rotary and (rotary.cos._array, rotary.sin._array),
        blocks=[_block(block) for block in model.blocks],
        norm=_norm(model.ln_f),
        head=_linear(model.head),
        num_heads=first.attention.num_heads,
        activation=ACTIVATIONS[type(first.mlp.activation).__name__],
    )


def _is_plain(module: Module) -> bool:
    """Whether the module is a part of a GPT, of the package's own class, and drops nothing."""
    name = type(module).__name__
    drops = name == "Dropout" and module.training and getattr(module, "p", 0) > 0
    return _is_part(module, name) and "forward" not in vars(module) and not drops


def _is_part(module: Any, name: str) -> bool:
    """Whether the object is of the package's own class `name`: one in a notebook is another."""
    package, _, home = type(module).__module__.partition(".")
    known = package == __name__.partition(".")[0] and name in PARTS.get(home, ())
    return known and type(module).__qualname__ == name


def _block(block: Any) -> BlockWeights:
    return BlockWeights(
        _norm(block.ln1), _linear(block.attention.qkv), _linear(block.attention.proj),
        _norm(block.ln2), _linear(block.mlp.fc), _linear(block.mlp.proj),
    )  # fmt: skip


def _norm(norm: LayerNorm) -> NormWeights:
    return NormWeights(norm.weight._array, _bias(norm), norm.eps)


def _linear(linear: Linear) -> LinearWeights:
    return LinearWeights(linear.weight._array, _bias(linear))


def _bias(layer: Linear | LayerNorm) -> Any:
    return None if layer.bias is None else layer.bias._array
