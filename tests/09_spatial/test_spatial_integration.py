"""Lesson 09 with lessons 01 to 08: layers for images on every backend, and digits that it reads."""

from typing import Any

import numpy as np
import pytest

from tinytorch.activations import relu
from tinytorch.autograd import no_grad
from tinytorch.layers import Linear
from tinytorch.losses import cross_entropy
from tinytorch.modules.containers import Sequential
from tinytorch.ops.convolution import convolve_with_loops
from tinytorch.ops.random import manual_seed
from tinytorch.spatial import AvgPool2d, BatchNorm2d, Conv2d, Flatten, MaxPool2d
from tinytorch.tensor import Tensor

RNG = np.random.default_rng(9)

GLYPHS = """
.##. ..#. .##. ###.
#..# .##. #..# ...#
#..# ..#. ..#. .##.
#..# ..#. .#.. ...#
.##. .### #### ###.
"""


def glyphs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images (count, 1, 9, 9) of 0, 1, 2 and 3 at random places."""
    rows = [line.split() for line in GLYPHS.split("\n") if line]
    shapes = [np.array([[c == "#" for c in row[k]] for row in rows], float) for k in range(4)]
    rng = np.random.default_rng(seed)
    images, labels = 0.2 * rng.standard_normal((count, 1, 9, 9)), np.arange(count) % 4
    for image, label in zip(images[:, 0], labels, strict=True):
        top, left = rng.integers(0, 5, 2)
        image[top : top + 5, left : left + 4] += shapes[label]
    return images.astype(np.float32), labels


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_the_same_with_loops(stride: int, backend: str) -> None:
    x, layer = RNG.standard_normal((2, 3, 7, 6)), Conv2d(3, 4, (2, 3), stride, bias=False)
    layer = layer.to(backend).double()
    expected = convolve_with_loops(x, layer.weight.numpy(), stride)
    y = layer.forward(Tensor(x, backend=backend))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [3, (2, 3), 1])
def test_padding_and_a_shift_of_the_image_shift_the_map(size: Any, backend: str) -> None:
    image = np.zeros((1, 1, 10, 10))
    image[0, 0, 3:6, 3:6] = RNG.standard_normal((3, 3))
    layer = Conv2d(1, 2, size, padding=1).to(backend).double()
    y, moved = (
        layer.forward(Tensor(x, backend=backend)).numpy()
        for x in (image, np.roll(image, (1, 2), axis=(2, 3)))
    )
    np.testing.assert_allclose(np.roll(y, (1, 2), axis=(2, 3))[..., 3:-2, 3:-2],
                               moved[..., 3:-2, 3:-2], atol=1e-12)  # fmt: skip


def test_pooling_chooses_and_averages(backend: str) -> None:
    x = RNG.standard_normal((2, 3, 4, 6))
    blocks = x.reshape(2, 3, 2, 2, 3, 2)
    tensor = Tensor(x, backend=backend)
    np.testing.assert_array_equal(MaxPool2d(2).forward(tensor).numpy(), blocks.max((3, 5)))
    np.testing.assert_allclose(AvgPool2d(2).forward(tensor).numpy(), blocks.mean((3, 5)))
    assert AvgPool2d(2, padding=1).forward(tensor).shape == (2, 3, 3, 4)
    assert MaxPool2d(3, 2, ceil_mode=True).forward(tensor).shape == (2, 3, 2, 3)


def test_batch_norm_learns_its_statistics_and_uses_them_in_evaluation(backend: str) -> None:
    norm = BatchNorm2d(2, momentum=0.5).to(backend)
    data = np.array([3.0, -2.0])[:, None, None] + RNG.standard_normal((8, 2, 5, 5)) * 2
    x = Tensor(data.astype(np.float32), backend=backend)
    for _ in range(20):
        y = norm.forward(x)
    np.testing.assert_allclose(y.numpy().mean((0, 2, 3)), 0, atol=1e-5)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    np.testing.assert_allclose(norm.running_mean.numpy(), data.mean((0, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(norm.running_var.numpy(), data.var((0, 2, 3), ddof=1), rtol=1e-4)
    norm.eval()
    alone = norm.forward(x[:1]).numpy()
    np.testing.assert_allclose(alone, norm.forward(x).numpy()[:1], atol=1e-6)


def test_gradients_of_a_small_network_equal_small_changes(backend: str) -> None:
    manual_seed(1)
    layers = [Conv2d(2, 3, 3, padding=1), BatchNorm2d(3), MaxPool2d(2), Conv2d(3, 2, 2), Flatten()]
    network = Sequential(*layers).to(backend).double()
    x, h = RNG.standard_normal((3, 2, 6, 6)), 1e-6

    def loss() -> Tensor:
        y = network.forward(Tensor(x, backend=backend))
        return (y * y).sum()

    loss().backward()
    for p in network.parameters():
        assert p.grad is not None
        values, gradient = p.numpy().copy(), p.grad.numpy()
        for place in list(np.ndindex(*values.shape))[::7]:
            ends = []
            for step in (h, -h):
                moved = values.copy()
                moved[place] += step
                with no_grad():
                    p.data = Tensor(moved, backend=backend)
                    ends.append(loss().item())
            p.data = Tensor(values, backend=backend)
            assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2 / h, rel=1e-4, abs=1e-5)


@pytest.mark.slow_on("cupy")
def test_a_convolutional_network_reads_digits(backend: str) -> None:
    manual_seed(0)
    first, norm, last = Conv2d(1, 6, 3), BatchNorm2d(6), Linear(6 * 9, 4)
    network = Sequential(first, norm).to(backend)
    last = last.to(backend)
    pool, flatten = MaxPool2d(2), Flatten()
    parameters = [*network.parameters(), *last.parameters()]
    images, labels = glyphs(512, seed=0)
    x, targets = Tensor(images, backend=backend), Tensor(labels, backend=backend)
    losses = []
    for _ in range(150):
        logits = last.forward(flatten.forward(pool.forward(relu(network.forward(x)))))
        loss = cross_entropy(logits, targets)
        loss.backward()
        with no_grad():  # by hand: lesson 09 does not need lesson 07
            for p in parameters:
                p.data = p - 0.2 * p.grad
                p.grad = None
        losses.append(loss.item())
    network.eval()
    images, labels = glyphs(200, seed=1)
    with no_grad():
        maps = pool.forward(relu(network.forward(Tensor(images, backend=backend))))
        logits = last.forward(flatten.forward(maps))
    assert losses[-1] < 0.2 < 1.0 < losses[0]
    assert (logits.numpy().argmax(axis=1) == labels).mean() > 0.9
