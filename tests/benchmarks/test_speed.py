"""Cases for pytest-benchmark, to compare saved runs: `pytest tests/benchmarks --benchmark-only`."""

from typing import Any

import numpy as np
import pytest

from tinytorch import BPETokenizer, TokenDataset
from tinytorch.generation import stream
from tinytorch.tinygpt import PRESETS
from tinytorch.tinygpt.presets import build_model, build_trainer

VOCABULARY = 65


@pytest.mark.parametrize("name", ["default", "demo", "nanogpt-cpu"])
def test_training_step(name: str, benchmark: Any) -> None:
    preset = PRESETS[name]
    trainer = build_trainer(preset, build_model(preset, VOCABULARY))
    text = np.random.default_rng(0).integers(0, VOCABULARY, 10_000)
    blocks = TokenDataset(text, preset.context)
    batch: Any = blocks.random_batch(preset.batch_size)
    benchmark.pedantic(trainer.train_step, ([batch],), rounds=10, warmup_rounds=2)


@pytest.mark.parametrize("batch", [1, 32])
def test_a_hundred_tokens(batch: int, benchmark: Any) -> None:
    model = build_model(PRESETS["default"], VOCABULARY).eval()
    prompt = np.zeros((batch, 1), dtype=np.int64)
    benchmark.pedantic(lambda: list(stream(model, prompt, 100, seed=0)), rounds=3, warmup_rounds=1)


def test_encoding_byte_pairs(benchmark: Any) -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghij"), n)) for n in rng.integers(2, 9, 2000)]
    text = " ".join(rng.choice(words, 20_000))
    tokenizer = BPETokenizer(500)
    tokenizer.train(text[:20_000])
    benchmark.pedantic(tokenizer.encode, (text,), rounds=3)
