"""Lesson 11: token embeddings and learned, sinusoidal and rotary positional encodings."""

from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch import (
    Embedding,
    EmbeddingLayer,
    PositionalEncoding,
    RotaryEmbedding,
    SinusoidalEncoding,
    Tensor,
    create_sinusoidal_embeddings,
    zeros,
)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (0,), (2, 0)])
def test_embedding_appends_an_axis(shape: tuple[int, ...], backend: str) -> None:
    table = Embedding(5, 6, backend=backend)
    ids = np.random.default_rng(0).integers(0, 5, shape)
    vectors = table(Tensor(ids, backend=backend))
    assert vectors.shape == (*shape, 6)
    np.testing.assert_array_equal(vectors.numpy(), table.weight.numpy()[ids])


def test_gradients_of_repeated_tokens_add_up_as_in_pytorch() -> None:
    torch = require("torch")
    table, ids = Embedding(5, 3), np.array([[1, 1, 4], [0, 1, 4]])
    factor = np.random.default_rng(0).standard_normal((2, 3, 3)).astype(np.float32)
    (table(Tensor(ids)) * Tensor(factor)).sum().backward()
    reference = torch.nn.Embedding.from_pretrained(torch.tensor(table.weight.numpy()), freeze=False)
    (reference(torch.tensor(ids)) * torch.tensor(factor)).sum().backward()
    assert table.weight.grad is not None
    np.testing.assert_allclose(table.weight.grad.numpy(), reference.weight.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("wrong", [5, -1])
def test_a_token_outside_of_the_vocabulary_raises(wrong: int) -> None:
    with pytest.raises(
        IndexError, match=rf"token id {wrong} is outside of the vocabulary \[0, 5\)"
    ):
        Embedding(5, 6)(Tensor([0, wrong]))


def test_floating_ids_raise() -> None:
    with pytest.raises(TypeError, match="token ids must be integers, not float"):
        Embedding(5, 6)(Tensor([1.0]))


def test_the_sinusoidal_table_follows_the_formula_of_the_paper(backend: str) -> None:
    table = create_sinusoidal_embeddings(50, 8, backend)
    expected = [
        [f(pos / 10000 ** (2 * i / 8)) for i in range(4) for f in (np.sin, np.cos)]
        for pos in range(50)
    ]
    np.testing.assert_allclose(table.numpy(), expected, atol=1e-7)
    assert table.numpy().dtype == np.float32


@pytest.mark.parametrize("encoding", [PositionalEncoding, SinusoidalEncoding])
def test_encodings_count_positions_from_start(encoding: Any, backend: str) -> None:
    positions = encoding(7, 4, backend=backend)
    table = positions(zeros(1, 7, 4, backend=backend)).numpy()[0]
    assert len({tuple(row) for row in table.tolist()}) == 7
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    for start in (0, 2, 4):
        moved = positions(Tensor(x, backend=backend), start)
        np.testing.assert_array_equal(moved.numpy(), x + table[start : start + 3])
    with pytest.raises(ValueError, match="8 positions exceed max_seq_len=7"):
        positions(zeros(1, 3, 4, backend=backend), start=5)


def test_parameters_and_saved_state_of_encodings() -> None:
    assert [p.shape for p in PositionalEncoding(7, 4).parameters()] == [(7, 4)]
    for fixed in (SinusoidalEncoding(7, 4), RotaryEmbedding(4, 7)):
        assert list(fixed.parameters()) == []
        assert fixed.state_dict() == {}


# Rotary encoding


def test_rotary_scores_depend_only_on_the_distance(backend: str) -> None:
    rng = np.random.default_rng(0)
    rotary = RotaryEmbedding(8, 32, backend=backend).to("float64")
    q, k = (np.tile(rng.standard_normal(8), (1, 1, 32, 1)) for _ in range(2))
    rotated_q, rotated_k = (rotary(Tensor(x, backend=backend)).numpy()[0, 0] for x in (q, k))
    scores = rotated_q @ rotated_k.T  # (32, 32), equal along each diagonal
    for distance in range(-31, 32):
        np.testing.assert_allclose(np.ptp(np.diagonal(scores, distance)), 0, atol=1e-5)
    assert np.ptp(scores[0]) > 0.1


def test_rotary_rotates_each_pair_by_its_own_angle() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 6))
    y = RotaryEmbedding(6, 9, base=100.0).to("float64")(Tensor(x)).numpy()
    pairs, turned = x[..., :3] + 1j * x[..., 3:], y[..., :3] + 1j * y[..., 3:]
    angles = np.arange(9)[:, None] * 100.0 ** (-np.arange(3) / 3)
    np.testing.assert_allclose(turned, pairs * np.exp(1j * angles), atol=1e-6)


def test_rotary_counts_positions_from_start(backend: str) -> None:
    rotary = RotaryEmbedding(4, 9, backend=backend)
    x = Tensor(np.random.default_rng(0).standard_normal((2, 2, 9, 4)), backend=backend)
    whole, part = rotary(x).numpy(), rotary(x[:, :, 3:7], start=3).numpy()
    np.testing.assert_array_equal(part, whole[:, :, 3:7])
    with pytest.raises(ValueError, match="10 positions"):
        rotary(x, start=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: create_sinusoidal_embeddings(4, 5), "embed_dim=5 must be even"),
        (lambda: RotaryEmbedding(5, 4), "head_dim=5 must be even"),
        (lambda: EmbeddingLayer(5, 4, pos_encoding="rotary"), "pos_encoding must be one of"),
    ],
)
def test_invalid_arguments_raise(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# The layer


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("pos_encoding", ["learned", "sinusoidal", None])
def test_embedding_layer(pos_encoding: str | None, scale: bool, backend: str) -> None:
    layer = EmbeddingLayer(5, 16, 7, pos_encoding, scale, backend=backend)
    ids = np.array([[1, 4, 0], [2, 2, 2]])
    expected = layer.tokens.weight.numpy()[ids] * (4 if scale else 1)
    if pos_encoding == "learned":
        expected = expected + layer.positions.weight.numpy()[2:5]
    elif pos_encoding == "sinusoidal":
        expected = expected + create_sinusoidal_embeddings(7, 16).numpy()[2:5]
    y = layer(Tensor(ids, backend=backend), start=2)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", [
    lambda: EmbeddingLayer(5, 4, 8), lambda: EmbeddingLayer(5, 4, 8, "sinusoidal"),
    lambda: RotaryEmbedding(4, 8), lambda: PositionalEncoding(8, 4),
], ids=["learned", "sinusoidal", "rotary", "alone"])  # fmt: skip
def test_a_negative_position_raises(make: Any) -> None:
    layer = make()
    ids = Tensor([[1, 2]])
    x = ids if isinstance(layer, EmbeddingLayer) else Tensor(np.zeros((1, 2, 4), np.float32))
    for start in (-1, -2):
        with pytest.raises(ValueError, match=f"must be at least 0, got start={start}"):
            layer(x, start=start)


@pytest.mark.parametrize("shape", [(1, 2, 3, 6), (3, 8), (3, 3), (4,)], ids=str)
def test_rotary_positions_of_another_head_size_raise(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes a tensor \(\.\.\., T, 4\), got shape"):
        RotaryEmbedding(4, 8)(Tensor(np.zeros(shape, np.float32)))
