"""torch.nn.utils.parametrize: LoRA on linear layers, with both libraries."""

import copy
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import Tensor, nn

torch = require("torch")


def lora(nn: Any) -> list[Any]:
    """A linear layer with a low-rank change of its weight that is trained and switched off."""
    library, tensor = (torch, torch.tensor) if nn is torch.nn else (tinytorch, Tensor)
    parametrize = nn.utils.parametrize

    class LoRA(nn.Module):  # type: ignore[misc]
        def __init__(self, rows: int, columns: int) -> None:
            super().__init__()
            self.A = nn.Parameter(tensor([[0.5] * columns]))
            self.B = nn.Parameter(library.zeros(rows, 1))
            self.scale, self.enabled = 2.0, True

        def forward(self, original: Any) -> Any:
            if self.enabled:
                change = library.matmul(self.B, self.A).view(original.shape)
                return original + change * self.scale
            return original

    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    for i, p in enumerate(model.parameters()):
        values = np.sin(np.arange(p.numel()) + i).reshape(tuple(p.shape)).astype("float32")
        p.data.copy_(tensor(values))
    for layer in (model[0], model[2]):
        parametrize.register_parametrization(layer, "weight", LoRA(*layer.weight.shape))
    for name, p in model.named_parameters():
        p.requires_grad = "parametrizations" not in name or "original" not in name
    optimizer = library.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    x = tensor([[1.0, 2.0], [-1.0, 0.5]])
    found: list[Any] = []
    for _ in range(3):
        loss = ((model(x) - 1) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    found.append(model[0].weight.tolist())
    model[0].parametrizations["weight"][0].enabled = False
    found += [model[0].weight.tolist(), model[0].parametrizations.weight.original.tolist()]
    found += [[n for n, _ in model.named_parameters()], list(model.state_dict())]
    found += [type(model[0]).__name__, repr(model[0]).replace("in_features=2, out_features=3", "")]
    found += [parametrize.is_parametrized(model[0]), parametrize.is_parametrized(model[1])]
    found += [parametrize.is_parametrized(model[0], "bias"), isinstance(model[0], nn.Linear)]
    parametrize.remove_parametrizations(model[0], "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(model[2], "weight")
    found += [type(model[2]).__name__, sorted(n for n, _ in model.named_parameters())]
    return [*found, model(x).tolist()]


def numbers(value: Any) -> list[float]:
    if isinstance(value, list):
        return [n for v in value for n in numbers(v)]
    return [value] if isinstance(value, float) else []


def test_a_parametrized_model_trains_as_in_pytorch() -> None:
    found, expected = lora(nn), lora(torch.nn)
    np.testing.assert_allclose(numbers(found), numbers(expected), rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(found, expected, strict=True):
        if not numbers(ours):
            assert ours == theirs


def test_errors_of_parametrizations() -> None:
    layer = nn.Linear(2, 3)
    with pytest.raises(ValueError, match="no parameter or buffer 'w' to parametrize"):
        nn.utils.parametrize.register_parametrization(layer, "w", nn.Identity())
    with pytest.raises(ValueError, match=r"must return a tensor of shape \(3, 2\), not \(6,\)"):
        nn.utils.parametrize.register_parametrization(layer, "weight", nn.Flatten(0))
    nn.utils.parametrize.register_parametrization(layer, "weight", nn.Identity())
    with pytest.raises(RuntimeError, match="Identity has no right_inverse"):
        layer.weight = tinytorch.zeros(3, 2)
    with pytest.raises(ValueError, match="'bias' of ParametrizedLinear is not parametrized"):
        nn.utils.parametrize.remove_parametrizations(layer, "bias")


def test_several_parametrizations_and_copies() -> None:
    class Add(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + 1

        def right_inverse(self, x: Any) -> Any:
            return x - 1

    layer = nn.Linear(2, 3)
    before = layer.weight.numpy().copy()
    for name in ("weight", "weight", "bias"):
        nn.utils.parametrize.register_parametrization(layer, name, Add())
    copied = copy.deepcopy(layer)
    np.testing.assert_allclose(copied.weight.numpy(), before + 2)
    nn.utils.parametrize.remove_parametrizations(copied, "bias")
    copied.weight = tinytorch.ones(3, 2)
    assert copied.parametrizations.weight.original.tolist() == [[-1.0] * 2] * 3
    assert names(copied) == ["bias", "parametrizations.weight.original"]
    assert "parametrizations.bias.original" in names(layer)
    np.testing.assert_allclose(layer.weight.numpy(), before + 2)


def names(module: nn.Module) -> list[str]:
    return sorted(name for name, _ in module.named_parameters())
