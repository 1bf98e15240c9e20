"""Lesson 09: NumPy's kernels in blocks of every size, with threads, and for odd values."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
from op_checks import REFERENCE, draw, run
from op_table import OP_INFOS

import tinytorch
from tinytorch import Tensor, Trainer, nn
from tinytorch.backends.numpy import lifted, winograd
from tinytorch.nn import functional as F  # noqa: N812
from tinytorch.ops.op import OPS

CONVOLUTIONS = [
    pytest.param(name, sample, id=f"{name}-{sample.name}")
    for name in ("convolution", "transposed_convolution")
    for sample in OP_INFOS[name].samples
]


@pytest.mark.parametrize(("name", "sample"), CONVOLUTIONS)
@pytest.mark.parametrize(("block", "threads"), [*itertools.product((1, 2**30), (False, True))])
def test_convolutions_in_blocks_and_threads(
    name: str, sample: Any, block: int, threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifted, "LIFTED_BYTES", block)
    monkeypatch.setattr(lifted, "MIN_PARALLEL_MULTIPLICATIONS", 0 if threads else 2**60)
    found = run(OPS[name], draw(sample), sample.settings, "numpy")
    expected = run(OPS[name], draw(sample), sample.settings, REFERENCE)
    for ours, theirs in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("columns", [1, 60, 2**20])
@pytest.mark.parametrize(
    ("height", "width", "kernel_width", "padding", "dilation"),
    [
        (8, 8, 3, 1, 1), (7, 5, 3, (1, 0), 1), (13, 6, 1, 0, 1), (9, 6, 5, (0, 2), 1),
        (6, 9, 3, (1, 3), (1, 2)), (4, 3, 2, (1, 4), 1), (5, 1, 3, (1, 1), 1),
    ],
)  # fmt: skip
def test_winograd_equals_the_reference(
    height: int, width: int, kernel_width: int, padding: Any, dilation: Any, columns: int,
    threads: bool, dtype: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)
    monkeypatch.setattr(winograd, "MIN_POSITIONS", 1)
    monkeypatch.setattr(winograd, "BLOCK_COLUMNS", columns)
    monkeypatch.setattr(lifted, "MIN_PARALLEL_MULTIPLICATIONS", 0 if threads else 2**60)
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 3, height, width)),
        rng.standard_normal((4, 3, 3, kernel_width)),
        rng.standard_normal(4),
    )
    found = []
    for backend in ("numpy", "reference"):
        kind = dtype if backend == "numpy" else "f8"
        given = [Tensor(a.astype(kind), requires_grad=True, backend=backend) for a in arrays]
        y = F.conv2d(*given, padding=padding, dilation=dilation)
        (y * y).sum().backward()
        found.append([y.detach().numpy(), *(t.grad.numpy() for t in given if t.grad is not None)])
    for ours, theirs in zip(*found, strict=True):
        tolerance = (1e-11 if dtype == "f8" else 1e-5) * np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e38])
def test_large_values_do_not_spread_to_other_lines(value: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 64, 12, 8)).astype(np.float32)
    w = rng.standard_normal((64, 64, 3, 3)).astype(np.float32)
    expected = F.conv2d(Tensor(x), Tensor(w), padding=1).numpy()
    x[1, 2, 4, 5] = value
    given, weight = Tensor(x, requires_grad=True), Tensor(w, requires_grad=True)
    y = F.conv2d(given, weight, padding=1)
    y.backward(Tensor(x[:, :64]))
    assert given.grad is not None
    assert weight.grad is not None
    np.testing.assert_allclose(y.detach().numpy()[1, :, 6:], expected[1, :, 6:], atol=5e-4)
    np.testing.assert_allclose(y.detach().numpy()[0], expected[0], atol=5e-4)
    assert np.isfinite(given.grad.numpy()[1, :, 6:]).all()
    others = [c for c in range(64) if c != 2]
    assert np.isfinite(weight.grad.numpy()[np.ix_(others, others)]).all()


def test_gradients_have_the_same_bits_in_every_run() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((16, 32, 16, 16), "f4"), rng.standard_normal((32, 32, 3, 3), "f4")
    found = []
    for _ in range(3):
        weight = Tensor(w, requires_grad=True)
        F.conv2d(Tensor(x), weight, padding=1).sum().backward()
        assert weight.grad is not None
        found.append(weight.grad.numpy())
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("kernel", [(2,), (3, 2, 1)])
def test_maxima_of_infinities_and_nan_equal_the_reference(value: float, kernel: Any) -> None:
    x = np.round(np.random.default_rng(0).standard_normal((3, 2, 8, 9)), 1)
    x[:, :, 2:5, 3:5] = value
    results = []
    for backend in ("numpy", "reference"):
        given = Tensor(x, requires_grad=True, backend=backend)
        y = F.max_pool2d(given, *kernel)
        y.backward(Tensor(np.arange(1.0, y.size + 1).reshape(y.shape), backend=backend))
        assert given.grad is not None
        results.append((y.numpy(), given.grad.numpy()))
    np.testing.assert_array_equal(*(y for y, _ in results))
    np.testing.assert_array_equal(*(g for _, g in results))


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e5])
@pytest.mark.parametrize("shape", [(8, 3, 7, 9), (64, 3)])
def test_batch_norm_of_a_large_mean_is_accurate(mean: float, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(mean, 1, shape).astype(np.float32)
    exact = F.batch_norm(
        Tensor(x.astype(np.float64), backend="numpy"), None, None, training=True
    ).numpy()
    found = F.batch_norm(Tensor(x, backend="numpy"), None, None, training=True).numpy()
    np.testing.assert_allclose(found, exact, atol=2e-6 + 1e-7 * mean)


def test_batch_norm_of_equal_values_is_its_bias() -> None:
    x = Tensor(np.full((4, 2, 5, 5), 1 / 3, np.float32), requires_grad=True)
    bias = Tensor(np.float32([1, 2]))
    y = F.batch_norm(x, None, None, None, bias, training=True)
    np.testing.assert_allclose(y.detach().numpy()[:, 0], 1, atol=1e-4)
    y.sum().backward()
    assert x.grad is not None
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize(("name", "sample"), CONVOLUTIONS)
def test_columns_on_cuda_are_computed_for_some_images_at_a_time(
    name: str, sample: Any, cupy_fp32: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinytorch.backends.cupy import convolution

    monkeypatch.setattr(convolution, "COLUMN_BYTES", 1)
    found = run(OPS[name], draw(sample), sample.settings, cupy_fp32)
    expected = run(OPS[name], draw(sample), sample.settings, REFERENCE)
    for ours, theirs in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


def test_a_captured_step_equals_an_eager_one(cupy_fp32: str) -> None:
    """The network is captured as a CUDA graph; that of batch norm runs eagerly."""
    x = np.random.default_rng(0).standard_normal((4, 2, 8, 8)).astype(np.float32)
    y = np.array([0, 1, 2, 1])
    for norm in (nn.GroupNorm(2, 4), nn.BatchNorm2d(4)):
        found = []
        for graphed in (False, True):
            tinytorch.manual_seed(0)
            model = nn.Sequential(
                nn.Conv2d(2, 4, 3, padding="same"), copy.deepcopy(norm), nn.ReLU(),
                nn.MaxPool2d(2), nn.ConvTranspose2d(4, 4, 2, 2), nn.AvgPool2d(3, 2, 1),
                nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 3),
            ).to(cupy_fp32)  # fmt: skip
            optimizer = tinytorch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), cuda_graph=graphed)
            batch = Tensor(x, backend=cupy_fp32), Tensor(y, backend=cupy_fp32)
            losses = [trainer.train_step([batch]).item() for _ in range(4)]
            found.append((losses, [p.numpy().tolist() for p in model.state_dict().values()]))
        assert found[0] == found[1]
        assert found[0][0][-1] < found[0][0][0]
