"""The number of kernels of a training step on CUDA, which bounds the speed of small models."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import TokenDataset
from tinytorch.runtime.trainer import make_runner
from tinytorch.tinygpt import PRESETS
from tinytorch.tinygpt.presets import build_model, build_trainer

SMALL = {"embed_dim": 32, "num_heads": 2, "context": 32, "batch_size": 4}


@pytest.fixture
def captured(fake_cupy: Any, tf32: str, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the kernels and products that are captured, by name."""
    from tinytorch.backends.cupy import cublas, launch

    counts: Counter[str] = Counter()

    def counted(name: str, function: Any) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            counts[name] += fake_cupy.captured is not None
            return function(*arguments, **keywords)

        return call

    find = launch._function
    monkeypatch.setattr(launch, "_function", lambda name, *rest: counted(name, find(name, *rest)))
    for name in ("gemmEx", "gemmStridedBatchedEx"):
        monkeypatch.setattr(cublas, name, counted("product", getattr(cublas, name)))
    return counts


def captured_step(preset: str, layers: int) -> int:
    """Capture a step of a preset's recipe for a small model; returns the graph's size."""
    settings = replace(PRESETS[preset], num_layers=layers, **SMALL)
    tinytorch.manual_seed(1)
    trainer = build_trainer(settings, build_model(settings, 65).to("cupy"), processes=1)
    trainer.runner = make_runner(cuda_graph=True)
    data = TokenDataset(np.arange(500) % 65, settings.context, backend="cupy")
    for _ in range(3):  # the first two create state and run eagerly
        trainer.train_step([data.random_batch(settings.batch_size)])
    (graph,) = trainer.runner._graphed._graphs.values()  # type: ignore[union-attr]
    return len(graph._graph._work)


@pytest.mark.parametrize(
    ("preset", "count"), [("nanogpt-gpu", 201), ("best-gpu", 321), ("default", 243)]
)
def test_kernels_of_a_step(preset: str, count: int, captured: Counter[str]) -> None:
    """The numbers in docs/gpu.md, with CuPy's own kernels."""
    assert captured_step(preset, PRESETS[preset].num_layers) == count


BLOCK = {
    "dropout_add": 2, "attention": 1, "attention_delta": 1, "attention_gradient_kv": 1,
    "attention_gradient_q": 1, "attention_mask_tiles": 1, "dropout": 2, "gelu": 1,
    "gelu_gradient": 1, "layer_norm": 2, "layer_norm_gradient": 2, "layer_norm_sums": 2,
    "product": 12,
}  # fmt: skip


def test_kernels_of_an_update(captured: Counter[str]) -> None:
    """Two groups of AdamW, with and without weight decay, and the norm of all gradients."""
    captured_step("nanogpt-gpu", 1)
    names = ("adam_update", "clip_factor", "scale_chunks", "square_sums")
    assert [captured[name] for name in names] == [2, 1, 0, 1]


def test_kernels_of_muon(captured: Counter[str]) -> None:
    """Five steps of three products for each of four shapes, at any depth."""
    captured_step("best-gpu", 2)
    assert captured["muon_polynomial"] == 5 * 4
    assert captured["muon_direction"] == captured["muon_step"] == captured["matrix_squares"] == 4


IN_MIXED_PRECISION = {
    "add_dropout": 2, "attention": 1, "attention_delta": 1, "attention_gradient_kv": 1,
    "attention_gradient_q": 1, "attention_mask_tiles": 1, "column_sums": 2, "dropout_to_bf16": 2,
    "gelu_bf16": 1, "gelu_gradient_bf16": 1, "norm_gradient_from_bf16": 2, "norm_to_bf16": 2,
    "product": 12, "to_bf16": 4,
}  # fmt: skip


@pytest.mark.parametrize(("precision", "expected"), [("tf32", BLOCK), ("bf16", IN_MIXED_PRECISION)])
def test_kernels_of_a_block(
    precision: str, expected: dict[str, int], captured: Counter[str],
    matmul_mode: Callable[[str], str],
) -> None:  # fmt: skip
    """nanoGPT's block without biases, forward and backward."""
    matmul_mode(precision)
    sizes, counts = [], []
    for layers in (1, 2):
        sizes.append(captured_step("nanogpt-gpu", layers))
        counts.append(captured.copy())
        captured.clear()
    assert counts[1] - counts[0] == expected
    assert sizes[1] - sizes[0] == sum(expected.values()), "CuPy's own kernels"
