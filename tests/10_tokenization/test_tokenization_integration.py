"""Lesson 10 with all lessons before it: text through tokenizers and loaders into a model.

There are no embeddings yet. A token is a row of zeros with a one at its id, and a `Linear` layer
without bias that gets such a row is a table: scores of what comes next, for each token.
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


def rows(ids: np.ndarray, vocab_size: int, backend: str) -> Tensor:
    """(..., V) zeros with a one at each id, for ids of shape (...)."""
    return Tensor(np.eye(vocab_size, dtype=np.float32)[ids], backend=backend)


def table_of(ids: np.ndarray, vocab_size: int, backend: str) -> tuple[Trainer, float]:
    """A table of what comes next, trained on these ids (N,), and its loss in nats a token."""
    x, y = rows(ids[:-1], vocab_size, backend), Tensor(ids[1:], backend=backend)
    model = Linear(vocab_size, vocab_size, bias=False, backend=backend)
    trainer = Trainer(model, AdamW(model.parameters(), lr=0.3), CrossEntropyLoss())
    for _ in range(60):
        trainer.train_step([(x, y)])
    return trainer, trainer.evaluate([(x, y)])


def conditional_entropy(ids: list[int]) -> float:
    """The smallest loss a table can have: that of the true frequencies, in nats a token."""
    before, pairs = Counter(ids[:-1]), Counter(pairwise(ids))
    return -sum(n * math.log(n / before[a]) for (a, _), n in pairs.items()) / (len(ids) - 1)


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_text_goes_through_a_loader_and_comes_back(backend: str, kind: str) -> None:
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


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_a_table_learns_what_follows_what(backend: str, kind: str) -> None:
    """Its loss ends at the entropy of the text, and what it writes is made of pairs of the text."""
    tokenizer = trained(kind)
    ids, V = tokenizer.encode_array(SONNET), tokenizer.vocab_size
    trainer, loss = table_of(ids, V, backend)
    lowest = conditional_entropy(ids.tolist())
    assert lowest < loss < lowest + 0.05
    written = [int(ids[0])]
    with no_grad():
        for _ in range(10):
            scores = trainer.model(rows(np.array(written[-1]), V, backend)).numpy()
            written.append(int(scores.argmax()))
    assert set(pairwise(written)) <= set(pairwise(ids.tolist()))
    assert tokenizer.decode(written).startswith(tokenizer.decode(written[:1]))
    assert "".join(tokenizer.decode_stream(written)) == tokenizer.decode(written)


def test_larger_tokens_make_text_easier_to_predict(backend: str) -> None:
    """Losses per token cannot be compared; per character they can, and merges help a table."""
    per_character = {}
    for kind in ("char", "bpe"):
        tokenizer = trained(kind)
        ids = tokenizer.encode_array(SONNET)
        _, loss = table_of(ids, tokenizer.vocab_size, backend)
        per_character[kind] = loss * (len(ids) - 1) / len(SONNET)
    assert per_character["bpe"] < 0.9 * per_character["char"]


def test_two_tokens_before_are_enough_to_overfit(backend: str) -> None:
    """One batch, to a loss near zero, with gradients that reach every parameter."""
    tokenizer = trained("bpe")
    ids, V = tokenizer.encode_array(SONNET)[:18], tokenizer.vocab_size
    pairs = rows(np.stack([ids[:-2], ids[1:-1]], axis=1), V, backend)  # (B, 2, V)
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


def test_documents_with_a_sign_between_them(backend: str, tmp_path: Path) -> None:
    """After the sign comes the first word of a document, in a model as in the saved tokenizer."""
    tokenizer = trained("bpe")
    assert isinstance(tokenizer, BPETokenizer)
    documents = ["Shall I fade?", "Shall winds fade?", "Shall I shake the summer?"]
    text = END + END.join(documents * 3) + END
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = BPETokenizer.load(tmp_path / "tokenizer.json")
    ids = loaded.encode_array(text, allow_special=True)
    assert ids.tolist() == tokenizer.encode(text, allow_special=True)
    assert loaded.decode(ids) == text
    sign = loaded.special_tokens[END]
    assert ids.tolist().count(sign) == 10
    assert sign not in loaded.encode(text)
    V = loaded.vocab_size
    x, y = rows(ids[:-1], V, backend), Tensor(ids[1:], backend=backend)
    model = Linear(V, V, bias=False, backend=backend)
    trainer = Trainer(model, AdamW(model.parameters(), lr=0.3), CrossEntropyLoss())
    for _ in range(10):
        trainer.train_epoch(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
    with no_grad():
        after_sign = int(model(rows(np.array(sign), V, backend)).numpy().argmax())
    assert "Shall".startswith(loaded.decode([after_sign]))


def test_any_text_at_all_can_be_trained_on(backend: str) -> None:
    """Bytes of what the tokenizer never saw are ids like others, also where blocks cut them."""
    tokenizer = trained("bpe")
    text = "naïve café, 中文 and \N{WATERMELON}!"
    ids, V = tokenizer.encode_array(text), tokenizer.vocab_size
    assert tokenizer.decode(ids) == text
    data = TokenDataset(ids, block_size=1, backend=backend)
    pieces = [int(data[i][0].numpy()[0]) for i in range(len(data))] + [int(ids[-1])]
    assert "\ufffd" in tokenizer.decode(pieces[:3])  # half of an ï
    for end in range(len(pieces) + 1):  # a model may stop at any place
        assert "".join(tokenizer.decode_stream(pieces[:end])) == tokenizer.decode(pieces[:end])
    _, loss = table_of(ids, V, backend)
    assert loss < conditional_entropy(ids.tolist()) + 0.05
