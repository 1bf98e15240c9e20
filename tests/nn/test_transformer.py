"""Transformer layers, against PyTorch's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import load_module, require

from tinytorch import Tensor, nn

against_torch = load_module(Path(__file__).with_name("against_torch.py"))
assert_same, pair = against_torch.assert_same, against_torch.pair


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def hidden_after(T: int) -> np.ndarray:
    """The causal mask: True where a key is hidden."""
    return ~np.tri(T, dtype=bool)


def padding(B: int, T: int) -> np.ndarray:
    """True for the last positions, as many as the number of the text."""
    return np.arange(T) >= T - np.arange(B)[:, None]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_first": True, "norm_first": True, "activation": "gelu"},
        {"activation": "relu", "bias": False, "layer_norm_eps": 1e-3},
    ],
    ids=str,
)
def test_layers_equal_pytorch(settings: dict[str, Any]) -> None:
    ours, theirs = pair("TransformerEncoderLayer", 8, 2, 16, **settings)
    x = normal(4, 4, 8)
    assert_same(ours, theirs, x)
    assert_same(ours, theirs, x, hidden_after(4), padding(4, 4))
    ours, theirs = pair("TransformerDecoderLayer", 8, 2, 16, **settings)
    assert_same(ours, theirs, x, normal(4, 4, 8) + 1)
    assert_same(ours, theirs, x, normal(4, 4, 8) + 1, hidden_after(4), None, None, padding(4, 4))


def test_stacks_of_layers_equal_pytorch() -> None:
    torch = require("torch")
    modules: Any = []
    for library in (nn, torch.nn):
        encoder = library.TransformerEncoder(
            library.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, library.LayerNorm(8)
        )
        decoder = library.TransformerDecoder(
            library.TransformerDecoderLayer(8, 2, 16, batch_first=True), 2
        )
        modules.append((encoder.eval(), decoder.eval()))
    for ours, theirs in zip(*modules, strict=True):
        ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    (encoder, decoder), (their_encoder, their_decoder) = modules
    x = normal(3, 4, 8)
    assert_same(encoder, their_encoder, x, hidden_after(4), padding(3, 4))
    assert_same(decoder, their_decoder, x, normal(3, 5, 8), hidden_after(4))


def test_transformer_equals_pytorch() -> None:
    settings = {"num_encoder_layers": 1, "num_decoder_layers": 2, "dim_feedforward": 16}
    ours, theirs = pair("Transformer", 8, 2, **settings, batch_first=True)
    source, target = normal(3, 5, 8), normal(3, 4, 8)
    assert_same(ours, theirs, source, target)
    assert_same(
        ours, theirs, source, target, None, hidden_after(4), None, padding(3, 5), padding(3, 4),
        padding(3, 5),
    )  # fmt: skip
    np.testing.assert_array_equal(
        nn.Transformer.generate_square_subsequent_mask(5).numpy(),
        theirs.generate_square_subsequent_mask(5).numpy(),
    )
    with pytest.raises(ValueError, match=r"src \(3, 5, 8\) and tgt \(2, 4, 8\)"):
        ours(Tensor(source), Tensor(target[:2]))


def test_the_copies_of_a_layer_begin_equal_and_train_apart() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
    first, second = (layer.linear1.weight for layer in encoder.layers)
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    assert first is not second
    transformer = nn.Transformer(8, 2, 2, 1, 16)
    weights = [layer.linear1.weight.numpy() for layer in transformer.encoder.layers]
    assert not np.array_equal(*weights)


def test_activation_may_be_a_function_or_a_module() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.Tanh())
    assert layer(Tensor(normal(3, 2, 8))).shape == (3, 2, 8)
    with pytest.raises(ValueError, match='activation must be "relu", "gelu" or a function'):
        nn.TransformerEncoderLayer(8, 2, activation="swish")


def test_layers_on_every_backend(backend: str) -> None:
    layer, x = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), normal(4, 3, 8)
    expected = layer(Tensor(x)).numpy()
    y = layer.to(backend)(Tensor(x, backend=backend))
    y.sum().backward()
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-4, atol=1e-5)
