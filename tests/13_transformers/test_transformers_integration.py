"""Lesson 13 with the earlier lessons: from text to a trained GPT that generates text."""

from typing import Any

import numpy as np
import pytest

from tinytorch.autograd import no_grad
from tinytorch.dataloader import DataLoader, TokenDataset
from tinytorch.generation.generate import generate, stream
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import AdamW
from tinytorch.tensor import Tensor
from tinytorch.tokenization import BPETokenizer, CharTokenizer, Tokenizer
from tinytorch.training import CosineSchedule, Trainer
from tinytorch.transformers import GPT

TEXT = "one two three two one three " * 30


def tokenizer_of(kind: str) -> Tokenizer:
    if kind == "char":
        characters = CharTokenizer()
        characters.build_vocab(TEXT)
        return characters
    pieces = BPETokenizer(262)
    pieces.train(TEXT)
    return pieces


def small_gpt(vocab_size: int, backend: str, **options: Any) -> GPT:
    return GPT(vocab_size, 16, 2, 2, max_seq_len=16, backend=backend, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("char", {"positions": "learned", "tie_weights": True}),
        ("char", {"positions": "rotary", "bias": False, "init": "zero"}),
        ("bpe", {"positions": "sinusoidal", "activation": "squared_relu"}),
    ],
)
def test_a_trained_gpt_generates_words_of_its_text(
    backend: str, kind: str, options: dict[str, Any]
) -> None:
    """Tokenizer, loader, GPT, trainer and generation together."""
    tokenizer = tokenizer_of(kind)
    data = TokenDataset(tokenizer.encode_array(TEXT), block_size=14, backend=backend)
    model = small_gpt(tokenizer.vocab_size, backend, **options)
    trainer = Trainer(
        model,
        AdamW(model.parameters(), lr=0.02),
        CrossEntropyLoss(),
        CosineSchedule(0.02, 0.002, 100, warmup_steps=5),
        1.0,
    )
    rng = np.random.default_rng(0)
    losses = [float(trainer.train_step([data.random_batch(8, rng)]).numpy()) for _ in range(100)]
    assert losses[0] > 1.5
    assert np.mean(losses[-5:]) < 0.5
    assert trainer.evaluate(DataLoader(data, batch_size=64)) < 0.5
    written = tokenizer.decode(generate(model, tokenizer.encode("one "), 40, seed=0).numpy())
    words = written.split(" ")[:-1]  # the last word may be incomplete
    assert sum(word in ("one", "two", "three") for word in words) > 0.7 * len(words)


def test_the_initial_loss_is_at_chance_level(backend: str) -> None:
    model = small_gpt(50, backend)
    ids = Tensor(np.random.default_rng(0).integers(0, 50, (4, 16)), backend=backend)
    loss = CrossEntropyLoss()(model(ids), ids).detach().numpy()
    assert abs(float(loss) - np.log(50)) < 0.1


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_generation_with_a_cache_equals_generation_without(backend: str, positions: str) -> None:
    """For a batch of two, one token at a time, beyond the context length."""
    model = small_gpt(11, backend, positions=positions)
    for p in model.parameters():
        if p.ndim == 2:
            p.data = np.random.default_rng(p.size).standard_normal(p.shape).astype(np.float32) * 0.4
    prompt = np.array([[1, 2, 3], [4, 5, 6]])
    cached, uncached = (
        generate(model, prompt, 30, seed=2, use_cache=cache).numpy() for cache in (True, False)
    )
    np.testing.assert_array_equal(cached, uncached)
    streamed = np.stack(list(stream(model, prompt, 30, seed=2)), axis=1)
    np.testing.assert_array_equal(cached[:, 3:], streamed)


def test_saved_weights_generate_the_same_text(backend: str) -> None:
    one, other = (small_gpt(11, backend, positions="rotary") for _ in range(2))
    for p in one.parameters():
        p.data = np.random.default_rng(p.size).standard_normal(p.shape).astype(np.float32) * 0.4
    texts = [generate(m, [1], 20, seed=0).numpy().tolist() for m in (one, other)]
    assert texts[0] != texts[1]
    other.load_state_dict(one.state_dict())
    assert generate(other, [1], 20, seed=0).numpy().tolist() == texts[0]


def test_every_parameter_gets_a_gradient(backend: str) -> None:
    model = small_gpt(11, backend, dropout=0.1)
    ids = Tensor(np.arange(32).reshape(2, 16) % 11, backend=backend)
    CrossEntropyLoss()(model(ids), ids).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert np.isfinite(parameter.grad.numpy()).all(), name
        assert np.abs(parameter.grad.numpy()).max() > 0, name


def test_a_token_does_not_depend_on_later_ones(backend: str) -> None:
    model, ids = small_gpt(11, backend), np.arange(12)[None] % 11
    changed = ids.copy()
    changed[0, 7:] = 2
    with no_grad():
        one, other = (model.eval()(Tensor(i, backend=backend)).numpy() for i in (ids, changed))
    np.testing.assert_array_equal(one[:, :7], other[:, :7])
