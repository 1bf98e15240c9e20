"""Low-rank adaptation: training two thin matrices beside each large one, which stays as it is."""

from collections import Counter
from collections.abc import Collection

from ..arguments import check_integer, check_number
from ..layers import Linear
from ..modules.module import Module
from ..modules.parameter import Parameter
from ..ops import random
from ..tensor import Tensor


class LoRALinear(Module):
    """A linear layer with a trainable change of rank r: y = linear(x) + alpha/r x A^T B^T.

    B is zero at first, so that the layer computes what it did.

    Args:
        linear: the layer; its parameters are frozen.
        rank: r.
        alpha: scale of the change.

    Source: E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021), section 4.1.

    >>> from tinytorch import Linear, ones
    >>> layer = LoRALinear(Linear(8, 4), rank=2)
    >>> sum(p.size for p in layer.parameters() if p.requires_grad)
    24
    """

    def __init__(self, linear: Linear, rank: int = 8, alpha: float = 16.0) -> None:
        rank = check_integer("LoRALinear: rank", rank, 1)
        self.linear = linear
        self.scale = check_number("LoRALinear: alpha", alpha) / rank
        for parameter in linear.parameters():
            parameter.requires_grad = False
        place = {"dtype": linear.weight.dtype, "backend": linear.weight.backend}
        std = linear.in_features**-0.5
        self.a = Parameter(random.normal((rank, linear.in_features), std), **place)
        self.b = Parameter(random.normal((linear.out_features, rank), 0.0), **place)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        small = x @ self.a.T  # (..., r)
        change: Tensor = small @ (self.scale * self.b.T)
        return self.linear(x) + change

    def merged(self) -> Linear:
        """The linear layer with the change in its weight, which runs as fast as before."""
        change = self.scale * (self.b @ self.a)
        self.linear.weight.data = (self.linear.weight + change).detach()
        return self.linear


def add_lora(
    model: Module, rank: int = 8, alpha: float = 16.0, names: Collection[str] = ("qkv", "proj")
) -> list[Parameter]:
    """Freeze a model, and adapt its linear layers of some names.

    Args:
        model: the model; it is changed.
        rank: rank of the changes.
        alpha: their scale.
        names: names of attributes; by default the projections of attention, and that of GPT's MLP.

    Returns:
        The parameters to train.

    Raises:
        ValueError: no linear layer has one of the names, or one is adapted already or shares its
            weight; the model is unchanged.
    """
    check_integer("add_lora: rank", rank, 1)
    check_number("add_lora: alpha", alpha)
    found = _layers(model, [names] if isinstance(names, str) else names)
    for parameter in model.parameters():
        parameter.requires_grad = False
    added = []
    for module, name, layer in found:
        adapted = LoRALinear(layer, rank, alpha)
        setattr(module, name, adapted)
        added += [adapted.a, adapted.b]
    return added


def merge_lora(model: Module) -> None:
    """Put the changes into the weights of the model's own layers, and unfreeze all weights."""
    for _, module in [*model.named_modules()]:
        for name, layer in [*vars(module).items()]:
            if isinstance(layer, LoRALinear):
                setattr(module, name, layer.merged())
    for parameter in model.parameters():
        parameter.requires_grad = True


def _layers(model: Module, names: Collection[str]) -> list[tuple[Module, str, Linear]]:
    """The linear layers of some names, with the modules whose attributes they are."""
    found = []
    owners = Counter(id(vars(module).get("weight")) for module in model.modules())
    for path, module in model.named_modules():
        for name in names:
            layer, place = vars(module).get(name), f"{path}.{name}".removeprefix(".")
            if isinstance(layer, LoRALinear):
                raise ValueError(f"{place} is adapted already: merge_lora puts it into its weight")
            if isinstance(layer, Linear):
                if owners[id(layer.weight)] > 1:
                    raise ValueError(
                        f"{place} shares its weight with another layer, which merging would change"
                    )
                found.append((module, name, layer))
    if not found:
        raise ValueError(f"the model has no linear layer named {' or '.join(names)}")
    return found
