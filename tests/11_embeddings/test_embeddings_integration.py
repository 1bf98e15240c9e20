"""Lesson 11 with the earlier lessons, and each of its exercises on every backend."""

from typing import Any

import numpy as np
import pytest

from tinytorch.autograd import no_grad
from tinytorch.dataloader import DataLoader, TensorDataset, TokenDataset
from tinytorch.embeddings import (
    Embedding,
    EmbeddingLayer,
    PositionalEncoding,
    RotaryEmbedding,
    SinusoidalEncoding,
    create_sinusoidal_embeddings,
)
from tinytorch.functions.creation import zeros
from tinytorch.layers import Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import SGD, AdamW
from tinytorch.tensor import Tensor
from tinytorch.tokenization import BPETokenizer, CharTokenizer, Tokenizer
from tinytorch.training import Trainer

TEXT = "one two three two one three " * 20


def tokenizer_of(kind: str) -> Tokenizer:
    if kind == "char":
        characters = CharTokenizer()
        characters.build_vocab(TEXT)
        return characters
    pieces = BPETokenizer(262)
    pieces.train(TEXT)
    return pieces


@pytest.mark.slow_on("cupy")
@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_embeddings_learn_to_predict_the_next_token(backend: str, kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    ids = tokenizer.encode_array(TEXT)
    data = TokenDataset(ids, block_size=8, backend=backend)
    V = tokenizer.vocab_size
    model = Sequential(Embedding(V, 8, backend=backend), Linear(8, V, backend=backend))
    trainer = Trainer(model, AdamW(model.parameters(), lr=0.05), CrossEntropyLoss())
    rng = np.random.default_rng(0)
    losses = [float(trainer.train_step([data.random_batch(8, rng)]).numpy()) for _ in range(80)]
    assert losses[0] > np.log(V) * 0.7
    assert np.mean(losses[-5:]) < losses[0] / 2
    with no_grad():
        after_w = model(Tensor([[int(tokenizer.encode("w")[0])]], backend=backend)).numpy()[0, 0]
    if kind == "char":
        assert tokenizer.decode([int(after_w.argmax())]) == "o"


def test_all_occurrences_of_a_token_contribute_to_its_update(backend: str) -> None:
    """One step of SGD, computed by hand: token 1 occurs twice, token 2 never."""
    layer = Embedding(3, 2, backend=backend)
    before = layer.weight.numpy().copy()
    ids = Tensor(np.array([[1, 0, 1]]), backend=backend)
    layer(ids).sum().backward()
    SGD(layer.parameters(), lr=0.5).step()
    moved = layer.weight.numpy() - before
    np.testing.assert_allclose(moved, [[-0.5, -0.5], [-1, -1], [0, 0]], atol=1e-6)


@pytest.mark.slow_on("cupy")
@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_positional_encodings_distinguish_equal_tokens(backend: str, positions: str) -> None:
    """Classify first and second half of a text of equal tokens, which needs positions."""
    ids = Tensor(np.zeros((16, 8), dtype=np.int64), backend=backend)
    first = Tensor(np.tile(np.arange(8) < 4, (16, 1)).astype(np.int64), backend=backend)
    loader = DataLoader(TensorDataset(ids, first), batch_size=8)
    found = {}
    for kind in (positions, None):
        model = Sequential(
            EmbeddingLayer(2, 16, 8, kind, backend=backend), Linear(16, 2, backend=backend)
        )
        trainer = Trainer(model, AdamW(model.parameters(), lr=0.05), CrossEntropyLoss())
        for _ in range(40):
            trainer.train_epoch(loader)
        found[kind] = trainer.evaluate(loader)
    assert found[positions] < 0.1
    assert found[None] > 0.69  # ln 2: chance level


def test_a_text_in_two_parts_gives_the_same_vectors_with_start(backend: str) -> None:
    """The end of a text, encoded alone from its start, equals the end of the whole."""
    ids = np.array([[3, 1, 4, 1, 5, 0]])
    for kind in ("learned", "sinusoidal"):
        layer = EmbeddingLayer(6, 8, 10, kind, backend=backend)
        whole = layer(Tensor(ids, backend=backend)).numpy()
        end = layer(Tensor(ids[:, 4:], backend=backend), 4).numpy()
        np.testing.assert_allclose(whole[:, 4:], end)
    rotary = RotaryEmbedding(8, 10, backend=backend)
    x = Tensor(np.random.default_rng(0).standard_normal((1, 2, 6, 8)), backend=backend)
    np.testing.assert_allclose(rotary(x).numpy()[:, :, 4:], rotary(x[:, :, 4:], 4).numpy())


def test_saved_state_reproduces_the_vectors(backend: str) -> None:
    one, other = (EmbeddingLayer(6, 8, 10, backend=backend) for _ in range(2))
    ids = Tensor(np.array([[3, 1, 4]]), backend=backend)
    assert np.abs(one(ids).numpy() - other(ids).numpy()).max() > 0.1
    other.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(one(ids).numpy(), other(ids).numpy())


# Each exercise by itself, on every backend


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (0,), (2, 0)])
def test_embedding_appends_an_axis(shape: tuple[int, ...], backend: str) -> None:
    table = Embedding(5, 6, backend=backend)
    ids = np.random.default_rng(0).integers(0, 5, shape)
    vectors = table(Tensor(ids, backend=backend))
    assert vectors.shape == (*shape, 6)
    np.testing.assert_array_equal(vectors.numpy(), table.weight.numpy()[ids])


@pytest.mark.parametrize("wrong", [5, -1])
def test_a_token_outside_of_the_vocabulary_raises(wrong: int) -> None:
    with pytest.raises(IndexError):
        Embedding(5, 6)(Tensor([0, wrong]))


def test_floating_ids_raise() -> None:
    with pytest.raises(TypeError, match="integers"):
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
    with pytest.raises(ValueError, match="8"):
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
    with pytest.raises(ValueError, match="10"):
        rotary(x, start=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: create_sinusoidal_embeddings(4, 5), "5"),
        (lambda: RotaryEmbedding(5, 4), "head_dim=5 must be even"),
        (lambda: EmbeddingLayer(5, 4, pos_encoding="rotary"), "rotary"),
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
        with pytest.raises(ValueError, match=f"{start}"):
            layer(x, start=start)


@pytest.mark.parametrize("shape", [(1, 2, 3, 6), (3, 8), (3, 3), (4,)], ids=str)
def test_rotary_positions_of_another_head_size_raise(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes a tensor \(\.\.\., T, 4\), got shape"):
        RotaryEmbedding(4, 8)(Tensor(np.zeros(shape, np.float32)))
