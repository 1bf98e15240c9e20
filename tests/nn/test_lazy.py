"""LazyLinear is initialised by its first input."""

import copy

import pytest

import tinytorch
from tinytorch import nn, optim


def test_first_call_makes_a_linear_layer() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2, bias=False))
    assert repr(model[0]) == "LazyLinear(in_features=0, out_features=4, bias=True)"
    assert repr(model[0].weight) == "<UninitializedParameter>"
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    before = list(model.parameters())
    loss = model(tinytorch.ones(3, 5)).sum()
    assert [p.shape for p in model.parameters()] == [(4, 5), (4,), (2, 4)]
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))
    assert type(model[0]) is nn.Linear
    assert type(model[0].weight) is nn.Parameter
    assert repr(model[0]) == "Linear(in_features=5, out_features=4, bias=True)"
    assert 0 < model[0].weight.abs().max() <= 5**-0.5
    old = model[2].weight.clone()
    loss.backward()
    optimizer.step()
    assert not tinytorch.equal(model[2].weight, old)
    with pytest.raises(ValueError, match="needs a last axis of 5"):
        model(tinytorch.ones(3, 6))


def test_copies_are_initialised_separately() -> None:
    layer = nn.LazyLinear(2)
    other = copy.deepcopy(layer)
    assert layer(tinytorch.ones(3)).shape == other(tinytorch.ones(4)).shape == (2,)
    assert other.weight.shape == (2, 4)
