"""pytest-benchmark cases for ops, training steps, generation and byte-pair encoding.

Run with `pytest tests/benchmarks --benchmark-only`; `--benchmark-save` and `--benchmark-compare`
compare runs.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch import BPETokenizer, Tensor, TokenDataset
from tinytorch.activations import gelu, softmax
from tinytorch.attention import attention, create_causal_mask, scaled_dot_product_attention
from tinytorch.embeddings import RotaryEmbedding, embedding
from tinytorch.generation.generate import stream
from tinytorch.layers import layer_norm, linear
from tinytorch.losses import cross_entropy
from tinytorch.tinygpt import PRESETS
from tinytorch.tinygpt.presets import build_model, build_trainer

VOCABULARY = 65
B, T, C, HEADS = 12, 64, 128, 4  # nanoGPT's CPU recipe

# Op -> function and shapes of its random inputs
OPS: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "linear": (linear, [(B, T, C), (4 * C, C)]),
    "gelu": (gelu, [(B, T, 4 * C)]),
    "layer_norm": (layer_norm, [(B, T, C), (C,)]),
    "attention": (
        lambda q, k, v: attention(q, k, v, create_causal_mask(T)),
        [(B, HEADS, T, C // HEADS)] * 3,
    ),
    "attention with weights": (
        lambda q, k, v: scaled_dot_product_attention(q, k, v, create_causal_mask(T))[0],
        [(B, HEADS, T, C // HEADS)] * 3,
    ),
    "rotary": (
        RotaryEmbedding(C // HEADS, T),
        [(B, HEADS, T, C // HEADS)],
    ),
    "softmax": (softmax, [(B, HEADS, T, T)]),
    "cross_entropy": (
        lambda x: cross_entropy(x, Tensor(np.arange(B * T).reshape(B, T) % VOCABULARY)),
        [(B, T, VOCABULARY)],
    ),
    "embedding": (
        lambda w: embedding(w, Tensor(np.arange(B * T).reshape(B, T) % VOCABULARY)),
        [(VOCABULARY, C)],
    ),
}


def inputs(name: str) -> tuple[Callable[..., Tensor], list[Tensor]]:
    function, shapes = OPS[name]
    rng = np.random.default_rng(0)
    return function, [
        Tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)
        for shape in shapes
    ]


@pytest.mark.parametrize("name", OPS)
def test_op_forward(name: str, benchmark: Any) -> None:
    function, tensors = inputs(name)
    benchmark.pedantic(function, tensors, rounds=20, iterations=5, warmup_rounds=2)


@pytest.mark.parametrize("name", OPS)
def test_op_backward(name: str, benchmark: Any) -> None:
    function, tensors = inputs(name)

    def forward() -> tuple[tuple[Tensor, Tensor], dict[str, Any]]:
        for tensor in tensors:
            tensor.zero_grad()
        y = function(*tensors)
        return (y, Tensor(np.ones(y.shape, np.float32))), {}

    benchmark.pedantic(Tensor.backward, setup=forward, rounds=50, warmup_rounds=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "best", "demo", "nanogpt-cpu"])
def test_training_step(name: str, benchmark: Any) -> None:
    preset = PRESETS[name]
    trainer = build_trainer(preset, build_model(preset, VOCABULARY))
    text = np.random.default_rng(0).integers(0, VOCABULARY, 10_000)
    blocks = TokenDataset(text, preset.context)
    batch: Any = blocks.random_batch(preset.batch_size)
    benchmark.pedantic(trainer.train_step, ([batch],), rounds=10, warmup_rounds=2)


@pytest.mark.parametrize("batch", [1, 32])
def test_generate_100_tokens(batch: int, benchmark: Any) -> None:
    model = build_model(PRESETS["default"], VOCABULARY).eval()
    prompt = np.zeros((batch, 1), dtype=np.int64)
    benchmark.pedantic(lambda: list(stream(model, prompt, 100, seed=0)), rounds=3, warmup_rounds=1)


def test_encode_byte_pairs(benchmark: Any) -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghij"), n)) for n in rng.integers(2, 9, 2000)]
    text = " ".join(rng.choice(words, 20_000))
    tokenizer = BPETokenizer(500)
    tokenizer.train(text[:20_000])
    benchmark.pedantic(tokenizer.encode, (text,), rounds=3)
