"""Loading takes little more memory than the weights, and draws no numbers; building draws once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import run_python

import tinytorch
from tinytorch import GPT, Linear, manual_seed
from tinytorch.models import Llama
from tinytorch.ops import random
from tinytorch.pretrained import load_pretrained, save_pretrained

PEAK = """
from pathlib import Path
from tinytorch.pretrained import load_pretrained
def peak():  # resource.getrusage includes the process that started this one
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) * 1024
before = peak()
model, _ = load_pretrained({path!r})
print((peak() - before) / (4 * model.num_parameters()))
"""
MODELS = [
    lambda **s: GPT(4000, 128, 2, 2, max_seq_len=64, **s),
    lambda **s: GPT(4000, 128, 2, 2, max_seq_len=64, init="zero", **s),
    lambda **s: Llama(4000, 128, 2, 4, 2, 256, max_seq_len=64, **s),
]


def test_peak_memory_is_at_most_1_3_times_the_weights(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process's memory there")
    with random.undrawn():
        model = GPT(20_000, 768, 2, 12, tie_weights=True)  # 30 million weights, half in one matrix
    save_pretrained(model, None, tmp_path)
    assert 0.9 < float(run_python(PEAK.format(path=str(tmp_path)))) < 1.3


class Counting:
    """A generator that counts the numbers that it draws."""

    def __init__(self) -> None:
        self.count = 0
        self._generator = np.random.default_rng(0)

    def standard_normal(self, count: int) -> Any:
        self.count += count
        return self._generator.standard_normal(count)

    def uniform(self, low: float, high: float, count: int) -> Any:
        self.count += count
        return self._generator.uniform(low, high, count)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    generator = Counting()
    monkeypatch.setattr(random, "_generator", generator)
    return generator


@pytest.mark.parametrize("build", MODELS)
@pytest.mark.parametrize("tie_weights", [False, True])
def test_building_draws_each_matrix_once(build: Any, tie_weights: bool, counting: Counting) -> None:
    model = build(tie_weights=tie_weights)
    drawn = [p.size for p in model.parameters() if p.ndim == 2 and p.numpy().any()]
    assert counting.count == sum(drawn)
    assert len(drawn) >= 5


@pytest.mark.parametrize("build", [MODELS[0], MODELS[2]])
def test_loading_draws_nothing(build: Any, counting: Counting, tmp_path: Path) -> None:
    save_pretrained(build(), None, tmp_path)
    counting.count = 0
    load_pretrained(tmp_path)
    assert counting.count == 0


def test_undrawn_weights_are_zeros_that_can_be_written(backend: str) -> None:
    manual_seed(1)
    with random.undrawn():
        layer = Linear(3, 2, backend=backend)
        outer = Linear(3, 2, dtype="float64", backend=backend)
    assert not random.is_undrawn()
    assert (outer.weight.dtype, layer.weight.shape) == (outer.backend.xp.float64, (2, 3))
    layer.weight.data = np.ones((2, 3), np.float32)
    assert layer.weight.tolist() == [[1.0] * 3] * 2
    assert outer.weight.tolist() == [[0.0] * 3] * 2
    after = tinytorch.rand(2).tolist()
    manual_seed(1)
    assert tinytorch.rand(2).tolist() == after  # the generator was not touched


def test_dropout_is_drawn_where_weights_are_not() -> None:
    with random.undrawn():
        dropped = tinytorch.Dropout(0.5)(tinytorch.ones(100))
    assert 0 < int((dropped == 0).sum().item()) < 100
