"""Lesson 10 with all earlier lessons: text through tokenizers and data loaders into a model.

There are no embeddings yet, so tokens are one-hot vectors. A `Linear` layer without bias applied
to them is a bigram model: a table with the scores of all next tokens for each token.
"""

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tinytorch.activations import ReLU
from tinytorch.autograd import no_grad
from tinytorch.dataloader import DataLoader, TensorDataset, TokenDataset
from tinytorch.layers import Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import AdamW
from tinytorch.tensor import Tensor
from tinytorch.tokenization import BPETokenizer, CharTokenizer, Tokenizer
from tinytorch.training import Trainer

SONNET = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date;
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
"""
END = "<|endoftext|>"


def trained(kind: str, text: str = SONNET) -> Tokenizer:
    if kind == "char":
        characters = CharTokenizer()
        characters.build_vocab(text)
        return characters
    pieces = BPETokenizer(256 + 40, special_tokens=[END])
    pieces.train(text)
    return pieces


def one_hot(ids: np.ndarray, vocab_size: int, backend: str) -> Tensor:
    """One-hot vectors (..., V) of ids (...)."""
    return Tensor(np.eye(vocab_size, dtype=np.float32)[ids], backend=backend)


def bigram_model(ids: np.ndarray, vocab_size: int, backend: str) -> tuple[Trainer, float]:
    """A bigram model trained on ids (N,), and its loss in nats per token."""
    x, y = one_hot(ids[:-1], vocab_size, backend), Tensor(ids[1:], backend=backend)
    model = Linear(vocab_size, vocab_size, bias=False, backend=backend)
    trainer = Trainer(model, AdamW(model.parameters(), lr=0.3), CrossEntropyLoss())
    for _ in range(60):
        trainer.train_step([(x, y)])
    return trainer, trainer.evaluate([(x, y)])


def conditional_entropy(ids: list[int]) -> float:
    """The lowest loss of a bigram model, that of the true frequencies, in nats per token."""
    before, pairs = Counter(ids[:-1]), Counter(pairwise(ids))
    return -sum(n * math.log(n / before[a]) for (a, _), n in pairs.items()) / (len(ids) - 1)


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_batches_of_a_loader_decode_to_the_text(backend: str, kind: str) -> None:
    tokenizer = trained(kind)
    T = 8
    data = TokenDataset(tokenizer.encode_array(SONNET), block_size=T, stride=T, backend=backend)
    seen = ""
    for x, y in DataLoader(data, batch_size=4):
        assert x.shape == y.shape
        assert x.shape[1] == T
        for inputs, targets in zip(x.numpy(), y.numpy(), strict=True):
            assert tokenizer.decode(inputs[1:]) == tokenizer.decode(targets[:-1])
            seen += tokenizer.decode(inputs)
    assert SONNET.startswith(seen)
    assert len(tokenizer.encode(SONNET[len(seen) :])) <= T


@pytest.mark.slow_on("cupy")
@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_a_bigram_model_reaches_the_conditional_entropy(backend: str, kind: str) -> None:
    """Its loss converges to the entropy, and it generates only pairs that occur in the text."""
    tokenizer = trained(kind)
    ids, V = tokenizer.encode_array(SONNET), tokenizer.vocab_size
    trainer, loss = bigram_model(ids, V, backend)
    lowest = conditional_entropy(ids.tolist())
    assert lowest < loss < lowest + 0.05
    written = [int(ids[0])]
    with no_grad():
        for _ in range(10):
            scores = trainer.model(one_hot(np.array(written[-1]), V, backend)).numpy()
            written.append(int(scores.argmax()))
    assert set(pairwise(written)) <= set(pairwise(ids.tolist()))
    assert tokenizer.decode(written).startswith(tokenizer.decode(written[:1]))
    assert "".join(tokenizer.decode_stream(written)) == tokenizer.decode(written)


@pytest.mark.slow_on("cupy")
def test_byte_pairs_lower_the_loss_per_character(backend: str) -> None:
    """Losses per character are comparable between tokenizers, losses per token are not."""
    per_character = {}
    for kind in ("char", "bpe"):
        tokenizer = trained(kind)
        ids = tokenizer.encode_array(SONNET)
        _, loss = bigram_model(ids, tokenizer.vocab_size, backend)
        per_character[kind] = loss * (len(ids) - 1) / len(SONNET)
    assert per_character["bpe"] < 0.9 * per_character["char"]


def test_two_tokens_of_context_suffice_to_overfit(backend: str) -> None:
    """One batch reaches a loss near zero, and every parameter gets a gradient."""
    tokenizer = trained("bpe")
    ids, V = tokenizer.encode_array(SONNET)[:18], tokenizer.vocab_size
    pairs = one_hot(np.stack([ids[:-2], ids[1:-1]], axis=1), V, backend)  # (B, 2, V)
    x, y = pairs.reshape(len(ids) - 2, 2 * V), Tensor(ids[2:], backend=backend)
    model = Sequential(Linear(2 * V, 32, backend=backend), ReLU(), Linear(32, V, backend=backend))
    loss = CrossEntropyLoss()
    loss(model(x), y).backward()
    for p in model.parameters():
        assert p.grad is not None
        assert np.abs(p.grad.numpy()).max() > 0
    trainer = Trainer(model, AdamW(model.parameters(), lr=0.02), loss)
    for _ in range(80):
        trainer.train_step([(x, y)])
    assert trainer.evaluate([(x, y)]) < 0.01
    with no_grad():
        best = model(x).numpy().argmax(axis=-1)
    assert tokenizer.decode(best) == tokenizer.decode(ids[2:])


def test_a_model_learns_what_follows_a_special_token(backend: str, tmp_path: Path) -> None:
    """After the separator comes a document's first word; the saved tokenizer encodes it too."""
    tokenizer = trained("bpe")
    assert isinstance(tokenizer, BPETokenizer)
    documents = ["Shall I fade?", "Shall winds fade?", "Shall I shake the summer?"]
    text = END + END.join(documents * 3) + END
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = BPETokenizer.load(tmp_path / "tokenizer.json")
    ids = loaded.encode_array(text, allow_special=True)
    assert ids.tolist() == tokenizer.encode(text, allow_special=True)
    assert loaded.decode(ids) == text
    separator = loaded.special_tokens[END]
    assert ids.tolist().count(separator) == 10
    assert separator not in loaded.encode(text)
    V = loaded.vocab_size
    x, y = one_hot(ids[:-1], V, backend), Tensor(ids[1:], backend=backend)
    model = Linear(V, V, bias=False, backend=backend)
    trainer = Trainer(model, AdamW(model.parameters(), lr=0.3), CrossEntropyLoss())
    for _ in range(10):
        trainer.train_epoch(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
    with no_grad():
        after_separator = int(model(one_hot(np.array(separator), V, backend)).numpy().argmax())
    assert "Shall".startswith(loaded.decode([after_separator]))


def test_a_model_trains_on_characters_the_tokenizer_never_saw(backend: str) -> None:
    """Their bytes are ordinary tokens, also where a block splits a character."""
    tokenizer = trained("bpe")
    text = "naïve café, 中文 and \N{WATERMELON}!"
    ids, V = tokenizer.encode_array(text), tokenizer.vocab_size
    assert tokenizer.decode(ids) == text
    data = TokenDataset(ids, block_size=1, backend=backend)
    pieces = [int(data[i][0].numpy()[0]) for i in range(len(data))] + [int(ids[-1])]
    assert "\ufffd" in tokenizer.decode(pieces[:3])  # half of an ï
    for end in range(len(pieces) + 1):  # a model may stop anywhere
        assert "".join(tokenizer.decode_stream(pieces[:end])) == tokenizer.decode(pieces[:end])
    _, loss = bigram_model(ids, V, backend)
    assert loss < conditional_entropy(ids.tolist()) + 0.05
