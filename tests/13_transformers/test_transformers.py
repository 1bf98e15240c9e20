"""Lesson 13: GPT equals its PyTorch reference in outputs, gradients and training."""

import json
import math
from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch import (
    GPT,
    MLP,
    AdamW,
    CrossEntropyLoss,
    GPTConfig,
    Muon,
    Tensor,
    Trainer,
    TransformerBlock,
    create_causal_mask,
    manual_seed,
    no_grad,
)
from tinytorch.transformers import ACTIVATIONS

SIZES: dict[str, Any] = {
    "vocab_size": 17, "embed_dim": 24, "num_layers": 2, "num_heads": 3, "max_seq_len": 10,
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "gpt2": {"positions": "learned", "bias": True, "tie_weights": True},
    "ours": {"positions": "rotary", "bias": False, "activation": "squared_relu", "init": "zero"},
    "paper": {"positions": "sinusoidal", "bias": True},
    "learned, no bias": {"positions": "learned", "bias": False, "activation": "squared_relu"},
    "rotary, tied": {"positions": "rotary", "bias": True, "tie_weights": True},
    "sinusoidal, tied": {"positions": "sinusoidal", "bias": False, "tie_weights": True},
}
EACH = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
RNG = np.random.default_rng(0)
IDS, TARGETS = RNG.integers(0, 17, (2, 3, 9))  # (B, T) each


@pytest.fixture
def torch_reference() -> Any:
    return require("torch_reference")


def noisy(**options: Any) -> GPT:
    """A GPT with random values in all parameters, so that no zero hides an error."""
    model = GPT(**SIZES, **options)
    rng = np.random.default_rng(1)
    for name, p in model.named_parameters():
        one = 1.0 if "ln" in name and name.endswith("weight") else 0.0
        p.data = (one + 0.2 * rng.standard_normal(p.shape)).astype(np.float32)
    return model


def forward_and_backward(model: GPT) -> tuple[np.ndarray, float, dict[str, np.ndarray]]:
    ids, targets = (Tensor(a, backend=model.backend) for a in (IDS, TARGETS))
    logits = model(ids)
    loss = CrossEntropyLoss()(logits, targets)
    loss.backward()
    found = {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
    return logits.numpy(), loss.item(), found


@EACH
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-5), ("float64", 1e-10)])
def test_logits_loss_and_gradients_equal_pytorch(
    options: dict[str, Any], dtype: str, tolerance: float, torch_reference: Any
) -> None:
    torch = torch_reference.torch
    model = noisy(**options).to(dtype)
    reference = torch_reference.gpt(model)
    expected = reference(torch.tensor(IDS))
    expected_loss = reference.loss(torch.tensor(IDS), torch.tensor(TARGETS))
    expected_loss.backward()
    logits, loss, found = forward_and_backward(model)
    assert logits.dtype == np.dtype(dtype)
    np.testing.assert_allclose(
        logits, expected.detach().numpy(), rtol=10 * tolerance, atol=10 * tolerance
    )
    assert loss == pytest.approx(expected_loss.item(), rel=tolerance)
    theirs = torch_reference.gradients(reference)
    assert found.keys() == theirs.keys()
    for name, gradient in found.items():
        scale = np.abs(theirs[name]).max()
        assert np.abs(gradient - theirs[name]).max() < tolerance * scale, name


@EACH
def test_ten_steps_of_adamw_equal_pytorch(options: dict[str, Any], torch_reference: Any) -> None:
    torch = torch_reference.torch
    # The gradient of a key bias is rounding error, which a small eps would scale to full steps.
    settings = {"lr": 3e-3, "betas": (0.9, 0.95), "eps": 1e-5, "weight_decay": 0.1}
    model = noisy(**options)
    reference = torch_reference.gpt(model)
    optimizer = torch.optim.AdamW(reference.parameters(), **settings)
    trainer = Trainer(model, AdamW(model.parameters(), **settings), CrossEntropyLoss())
    losses, expected = [], []
    for step in range(10):
        ids, targets = np.random.default_rng(step).integers(0, 17, (2, 4, 10))
        losses.append(trainer.train_step([(Tensor(ids), Tensor(targets))]).item())
        optimizer.zero_grad()
        loss = reference.loss(torch.tensor(ids), torch.tensor(targets))
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert losses == pytest.approx(expected, rel=1e-5)
    for name, p in reference.named_parameters():
        ours = model.state_dict()[name].numpy()
        np.testing.assert_allclose(ours, p.detach().numpy(), atol=3e-5, err_msg=name)


def test_the_reference_has_every_activation(torch_reference: Any) -> None:
    assert torch_reference.ACTIVATIONS.keys() == ACTIVATIONS.keys()
    with pytest.raises(KeyError, match="relu"):
        torch_reference.GPTReference(GPTConfig(**SIZES, activation="relu"))


@EACH
def test_training_steps_are_equal_on_the_strict_backend(
    options: dict[str, Any], strict: str
) -> None:
    states = []
    for backend in ("numpy", strict):
        manual_seed(7)
        model = GPT(**SIZES, **options, dropout=0.1, backend=backend).to("float64")
        matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
        rest = [p for p in model.parameters() if not any(p is m for m in matrices)]
        optimizers = [Muon(matrices, 0.02), AdamW(rest, 0.01)]
        trainer = Trainer(model, optimizers, CrossEntropyLoss(), grad_clip_norm=0.5)
        batch = tuple(Tensor(a, backend=backend) for a in (IDS, TARGETS))
        losses = [trainer.train_step([batch, batch]).numpy() for _ in range(2)]
        state = {n: t.numpy() for n, t in model.state_dict().items()}
        states.append({**state, "losses": np.stack(losses)})
    for name, expected in states[0].items():
        np.testing.assert_allclose(states[1][name], expected, rtol=1e-7, atol=1e-9, err_msg=name)


# Shapes and masks


@EACH
def test_a_token_does_not_depend_on_later_ones(options: dict[str, Any]) -> None:
    model = noisy(**options)
    before = model(Tensor(IDS)).numpy()
    for place in range(9):
        changed = IDS.copy()
        changed[:, place] = (changed[:, place] + 1) % 17
        after = model(Tensor(changed)).numpy()
        np.testing.assert_allclose(after[:, :place], before[:, :place], rtol=1e-4, atol=1e-5)
        assert (np.abs(after - before).max(axis=-1)[:, place:] > 1e-3).all()


def test_ids_without_a_batch_axis() -> None:
    model = noisy()
    assert model(Tensor(IDS)).shape == (3, 9, 17)
    assert model(Tensor(IDS[0])).shape == (9, 17)
    np.testing.assert_allclose(
        model(Tensor(IDS[0])).numpy(), model(Tensor(IDS)).numpy()[0], rtol=1e-4, atol=1e-5
    )


def test_more_than_max_seq_len_tokens_raise() -> None:
    model = noisy()
    assert model(Tensor(np.zeros((1, 10), int))).shape == (1, 10, 17)
    with pytest.raises(ValueError, match="11 tokens exceed max_seq_len=10"):
        model(Tensor(np.zeros((1, 11), int)))
    caches = model.new_caches()
    with no_grad():
        model(Tensor(np.zeros((1, 8), int)), caches)
    with pytest.raises(ValueError, match="11 tokens exceed max_seq_len=10"):
        model(Tensor(np.zeros((1, 3), int)), caches)


def test_attention_weights_are_causal_and_sum_to_one() -> None:
    found = noisy(positions="rotary").attention_weights(Tensor(IDS))
    assert [w.shape for w in found] == [(3, 3, 9, 9)] * 2
    for weights in found:
        np.testing.assert_allclose(weights.numpy().sum(axis=-1), 1, rtol=1e-5)
        assert (np.triu(weights.numpy(), 1) == 0).all()


def test_block_and_mlp_preserve_the_shape(backend: str) -> None:
    x = Tensor(np.ones((2, 5, 12), np.float32), backend=backend)
    assert MLP(12, backend=backend).fc.weight.shape == (48, 12)
    assert MLP(12, 20, backend=backend)(x).shape == x.shape
    mask = create_causal_mask(5, backend=backend)
    block = TransformerBlock(12, 3, mlp_ratio=2, backend=backend)
    assert block(x, mask).shape == x.shape
    assert block.mlp.fc.weight.shape == (24, 12)


def test_dropout_is_active_only_in_training_mode() -> None:
    model, ids = GPT(**SIZES, dropout=0.3), Tensor(IDS)
    assert (model(ids).numpy() != model(ids).numpy()).any()
    model.eval()
    assert model(ids).tolist() == model(ids).tolist()


# Initialisation and configuration


def test_gpt2_initialisation() -> None:
    model = GPT(50, 96, 8, 4, 64)
    for name, p in model.named_parameters():
        values = p.numpy()
        if p.ndim == 2:
            std = 0.02 / math.sqrt(16) if name.endswith("proj.weight") else 0.02
            assert values.std() == pytest.approx(std, rel=0.05), name
            assert abs(values.mean()) < 0.1 * std, name
        else:
            assert (values == (1 if name.endswith("weight") else 0)).all(), name


def test_zero_initialisation_gives_zero_logits() -> None:
    model = GPT(**SIZES, init="zero", positions="rotary")
    logits, loss, _ = forward_and_backward(model)
    assert (logits == 0).all()
    assert loss == pytest.approx(math.log(17), rel=1e-6)
    for name, p in model.named_parameters():
        if name.endswith(("qkv.weight", "fc.weight")):
            assert p.numpy().std() == pytest.approx(1 / math.sqrt(24), rel=0.1), name


def test_tied_weights_are_one_parameter_with_the_sum_of_both_gradients() -> None:
    tied, untied = noisy(tie_weights=True), noisy()
    assert tied.head.weight is tied.embedding.tokens.weight
    state = tied.state_dict()
    untied.load_state_dict(state)
    _, _, shared = forward_and_backward(tied)
    _, _, separate = forward_and_backward(untied)
    assert set(separate) - set(shared) == {"head.weight"}
    expected = separate["embedding.tokens.weight"] + separate["head.weight"]
    np.testing.assert_allclose(shared["embedding.tokens.weight"], expected, rtol=1e-4, atol=1e-6)


def test_num_parameters() -> None:
    V, C, L, T = 17, 24, 2, 10
    norm, block = 2 * C, 12 * C * C + 9 * C + 2 * (2 * C)
    assert GPT(**SIZES).num_parameters() == 2 * V * C + T * C + L * block + norm
    assert GPT(**SIZES, tie_weights=True).num_parameters() == V * C + T * C + L * block + norm
    bare = GPT(**SIZES, bias=False, positions="rotary").num_parameters()
    assert bare == 2 * V * C + L * (12 * C * C + 2 * C) + C


@EACH
def test_a_model_can_be_rebuilt_from_its_config(options: dict[str, Any]) -> None:
    model = GPT(**SIZES, **options)
    config = GPTConfig(**json.loads(json.dumps(model.config.to_dict())))
    assert config == model.config
    again = GPT.from_config(config)
    again.load_state_dict(model.state_dict())
    assert again(Tensor(IDS)).tolist() == model(Tensor(IDS)).tolist()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"positions": "none"}, "positions must be one of learned, sinusoidal, rotary, not 'none'"),
        (
            {"activation": "relu"},
            "activation must be one of gelu, gelu_erf, squared_relu, not 'relu'",
        ),
        ({"init": "ones"}, "init must be one of gpt2, zero, not 'ones'"),
        ({"num_heads": 5}, "num_heads=5 does not divide embed_dim=24"),
        ({"num_heads": 8, "positions": "rotary"}, "head_dim=3 must be even"),
        ({"num_heads": 0, "positions": "rotary"}, "num_heads=0 does not divide"),
        ({"dropout": 1.5}, "Dropout: p must be in"),
    ],
)
def test_invalid_arguments_raise(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GPT(**{**SIZES, **wrong})
