"""A small GPT on letters, with weights large enough that its parts matter, and its checkpoint."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tinytorch.inspection import Session
from tinytorch.inspection.server import Server
from tinytorch.serialization import checkpoint
from tinytorch.tokenization import CharTokenizer
from tinytorch.transformers import GPT

LETTERS = "\n abcdefghij"


@pytest.fixture
def model() -> GPT:
    model = GPT(len(LETTERS), 8, num_layers=2, num_heads=2, max_seq_len=16, positions="rotary")
    rng = np.random.default_rng(3)
    for parameter in model.parameters():
        parameter.data = parameter.numpy() + rng.normal(0, 0.5, parameter.shape)
    return model.eval()


@pytest.fixture
def run(model: GPT, tmp_path: Path) -> Path:
    """The folder of a run with the model's checkpoint."""
    arrays = {f"model/{name}": value.numpy() for name, value in model.state_dict().items()}
    tokenizer = CharTokenizer(LETTERS).to_dict()
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, arrays, {"model": model.config.to_dict(), "tokenizer": tokenizer})
    return tmp_path


@pytest.fixture
def session(run: Path) -> Session:
    return Session(run)


@pytest.fixture
def running(session: Session) -> Iterator[Server]:
    """The server of the page, while it runs."""
    with Server(session) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()
