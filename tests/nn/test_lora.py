"""Low-rank adaptation: what it computes, trains and merges, and what it refuses."""

from typing import Any

import numpy as np
import pytest

from tinytorch import GPT, CrossEntropyLoss, Linear, Tensor, no_grad
from tinytorch.models import Llama
from tinytorch.nn.lora import LoRALinear, add_lora, merge_lora
from tinytorch.optimizers import AdamW

IDS = Tensor([[1, 2, 3, 4]])


def llama(**settings: Any) -> Llama:
    return Llama(9, 8, 2, 2, 1, 16, max_seq_len=8, **settings)


def drawn(parameters: list[Any]) -> None:
    """Give all parameters values, those that are zero at first too."""
    rng = np.random.default_rng(0)
    for parameter in parameters:
        parameter.data = rng.standard_normal(parameter.shape).astype("float32")


def test_a_layer_adds_the_scaled_product_and_merges_it() -> None:
    linear, x = Linear(6, 4), Tensor(np.random.default_rng(1).standard_normal((2, 3, 6)))
    layer = LoRALinear(linear, rank=2, alpha=3.0)
    assert np.array_equal(layer(x).numpy(), linear(x).numpy())  # B is zero
    drawn([layer.a, layer.b])
    change = x.numpy() @ layer.a.numpy().T @ layer.b.numpy().T * 1.5
    expected = linear(x).numpy() + change
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.merged()(x).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_only_the_changes_are_trained_and_resumed_and_merging_keeps_the_logits() -> None:
    model = llama()
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    parameters = add_lora(model, rank=2)
    assert [p for p in model.parameters() if p.requires_grad] == parameters
    optimizer = AdamW(parameters, lr=0.1)
    for _ in range(2):
        loss = CrossEntropyLoss()(model(IDS)[:, :-1], IDS[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    expected = model(IDS).numpy()
    again = llama()
    add_lora(again, rank=2)
    again.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(again(IDS).numpy(), expected)
    merge_lora(model)
    assert {name for name, p in model.named_parameters()} == set(before)
    changed = {n for n, p in model.named_parameters() if not np.array_equal(p.numpy(), before[n])}
    assert changed == {n for n in before if n.endswith(("qkv.weight", "proj.weight"))}
    np.testing.assert_allclose(model(IDS).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (llama(), {"names": ["x", "y"]}, "no linear layer named x or y"),
        (llama(), {"names": "norm"}, "no linear layer named norm"),
        (llama(tie_weights=True), {"names": ["head"]}, "head shares its weight"),
        (llama(), {"rank": 0}, "rank must be at least 1"),
        (llama(), {"alpha": float("nan")}, "alpha must be at least 0"),
    ],
)
def test_what_cannot_be_adapted_is_refused_and_left_as_it_was(
    model: Llama, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        add_lora(model, **settings)
    assert all(p.requires_grad for p in model.parameters())
    assert not any(isinstance(module, LoRALinear) for module in model.modules())


def test_an_adapted_model_is_not_adapted_again() -> None:
    model = GPT(9, 8, 1, 2, max_seq_len=8)
    parameters = add_lora(model, names="qkv")
    assert len(parameters) == 2
    with pytest.raises(ValueError, match=r"blocks.0.attention.qkv is adapted already: merge_lora"):
        add_lora(model)
    assert all(p.requires_grad for p in parameters)
    with no_grad():
        drawn(parameters)
    merge_lora(model)
    assert len(add_lora(model)) == 6  # qkv and proj of attention, proj of the MLP
