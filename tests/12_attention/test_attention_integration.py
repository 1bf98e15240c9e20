"""Lesson 12 with the earlier lessons: tokenizer, embeddings, attention, loss and optimizer."""

import numpy as np
import pytest

from tinytorch.attention import (
    KVCache,
    MultiHeadAttention,
    create_causal_mask,
    scaled_dot_product_attention,
)
from tinytorch.autograd import no_grad
from tinytorch.dataloader import TokenDataset
from tinytorch.embeddings import EmbeddingLayer, RotaryEmbedding
from tinytorch.layers import Linear
from tinytorch.losses import CrossEntropyLoss
from tinytorch.modules.module import Module
from tinytorch.optimizers import AdamW
from tinytorch.tensor import Tensor
from tinytorch.tokenization import CharTokenizer

TEXT = "one two three two one three " * 20


class Reader(Module):
    """Embedding, attention and head: the smallest model that uses the context."""

    def __init__(self, vocab_size: int, backend: str, positions: str | None = None) -> None:
        rotary = None if positions else RotaryEmbedding(8, 16, backend=backend)
        self.embedding = EmbeddingLayer(vocab_size, 16, 16, positions, backend=backend)
        self.attention = MultiHeadAttention(16, 2, rotary=rotary, backend=backend)
        self.head = Linear(16, vocab_size, backend=backend)

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        past = cache.length if cache else 0
        mask = create_causal_mask(ids.shape[1], past, backend=ids.backend)
        x = self.embedding(ids, past)
        x = x + self.attention(x, mask, cache)
        logits: Tensor = self.head(x)
        return logits


@pytest.mark.slow_on("cupy")
@pytest.mark.parametrize("positions", [None, "learned", "sinusoidal"])
def test_a_model_with_attention_learns_words(backend: str, positions: str | None) -> None:
    """The last letter alone gives a loss above 0.7: it does not predict what follows a space."""
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(TEXT)
    data = TokenDataset(tokenizer.encode_array(TEXT), block_size=12, backend=backend)
    model = Reader(tokenizer.vocab_size, backend, positions)
    optimizer, loss_of = AdamW(model.parameters(), lr=0.02), CrossEntropyLoss()
    rng, losses = np.random.default_rng(0), []
    for _ in range(80):
        x, y = data.random_batch(8, rng)
        loss = loss_of(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach().numpy()))
    assert losses[0] > 1.8
    assert np.mean(losses[-5:]) < 0.6


def test_a_token_does_not_depend_on_later_ones(backend: str) -> None:
    model, ids = Reader(9, backend), np.arange(10)[None] % 9
    changed = ids.copy()
    changed[0, 6:] = 3
    with no_grad():
        one, other = (model(Tensor(i, backend=backend)).numpy() for i in (ids, changed))
    np.testing.assert_array_equal(one[:, :6], other[:, :6])
    assert np.abs(one[:, 6:] - other[:, 6:]).max() > 0.01


@pytest.mark.parametrize("positions", [None, "learned", "sinusoidal"])
def test_a_text_in_pieces_with_a_cache_gives_the_same_logits(
    backend: str, positions: str | None
) -> None:
    model, ids = Reader(9, backend, positions), np.arange(24).reshape(2, 12) % 9
    cache = KVCache(16)
    with no_grad():
        whole = model(Tensor(ids, backend=backend)).numpy()
        pieces = [
            model(Tensor(ids[:, i:j], backend=backend), cache).numpy()
            for i, j in [(0, 5), (5, 6), (6, 9), (9, 12)]
        ]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, rtol=1e-4, atol=1e-5)


def test_padding_does_not_change_the_output(backend: str) -> None:
    """Two texts of different lengths in one batch, the shorter one padded."""
    rng = np.random.default_rng(1)
    q, k, v = (rng.standard_normal((2, 2, 5, 4)).astype(np.float32) for _ in range(3))
    real = np.array([[True] * 5, [True] * 3 + [False] * 2])[:, None, None, :]  # (B, 1, 1, S)
    mask = create_causal_mask(5).numpy() & real  # (B, 1, T, S)

    def attend(last: slice, masked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tensors = (Tensor(a[:, :, last], backend=backend) for a in (q, k, v))
        output, weights = scaled_dot_product_attention(*tensors, Tensor(masked, backend=backend))
        return output.numpy(), weights.numpy()

    output, weights = attend(slice(None), mask)
    assert np.all(weights[1, :, :, 3:] == 0)
    alone, _ = attend(slice(3), mask[:, :, :3, :3])
    np.testing.assert_allclose(output[1, :, :3], alone[1], rtol=1e-5, atol=1e-6)


def test_every_parameter_gets_a_gradient(backend: str) -> None:
    model = Reader(9, backend)
    ids = Tensor(np.arange(10)[None] % 9, backend=backend)
    CrossEntropyLoss()(model(ids), ids).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert np.abs(parameter.grad.numpy()).max() > 0, name
