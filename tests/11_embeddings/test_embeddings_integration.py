"""Lesson 11 with the earlier lessons: tokenizer, embeddings, layers, loss and optimizer."""

import numpy as np
import pytest

from tinytorch.autograd import no_grad
from tinytorch.dataloader import DataLoader, TensorDataset, TokenDataset
from tinytorch.embeddings import Embedding, EmbeddingLayer, RotaryEmbedding
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
