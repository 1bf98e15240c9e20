"""Lesson 09: modules for images equal PyTorch's: outputs, gradients, statistics, state and repr."""

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import load_module, require

import tinytorch
from tinytorch import Tensor, nn
from tinytorch.modules.hooks import STATEFUL

against_torch = load_module(Path(__file__).parents[1] / "nn" / "against_torch.py")
assert_same, pair = against_torch.assert_same, against_torch.pair
rng = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return rng.standard_normal(shape).astype(np.float32)


IMAGES, SEQUENCES = normal(2, 4, 9, 8), normal(2, 4, 9)
MODULES: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = [
    ("Conv2d", (4, 6, 3), {}, IMAGES),
    ("Conv2d", (4, 6, (3, 2), (2, 1), (1, 2), (2, 1), 2), {}, IMAGES),
    ("Conv2d", (4, 6, 3), {"padding": "same", "dilation": 2, "bias": False}, IMAGES),
    ("Conv2d", (4, 6, (2, 4)), {"padding": "same"}, IMAGES),
    ("Conv2d", (4, 6, 3), {"padding": "valid", "stride": 2}, IMAGES),
    ("Conv2d", (4, 4, 3), {"groups": 4, "padding": 1}, IMAGES[0]),
    *[
        ("Conv2d", (4, 6, (4, 3)), {"padding_mode": mode, "padding": padding}, IMAGES)
        for mode, padding in itertools.product(
            ("zeros", "reflect", "replicate", "circular"), ((2, 1), "same", "valid")
        )
    ],
    ("Conv1d", (4, 6, 3), {}, SEQUENCES),
    ("Conv1d", (4, 6, 3, 2, 1, 2, 2), {}, SEQUENCES),
    ("Conv1d", (4, 6, 4), {"padding": "same", "bias": False}, SEQUENCES[0]),
    ("Conv1d", (4, 6, 3), {"padding": 2, "padding_mode": "circular"}, SEQUENCES),
    ("Conv1d", (4, 6, (3,)), {"stride": (2,), "padding": [1]}, SEQUENCES),
    ("ConvTranspose2d", (4, 6, 3), {}, IMAGES),
    ("ConvTranspose2d", (4, 6, 3, 2, 1, 1), {}, IMAGES),
    ("ConvTranspose2d", (4, 6, (3, 2), (2, 3), 1, (1, 2), 2, False, (1, 2)), {}, IMAGES),
    ("ConvTranspose2d", (4, 6, 2, 2), {}, IMAGES[0]),
    ("MaxPool2d", (2,), {}, IMAGES),
    ("MaxPool2d", ((3, 2), 2, 1), {"ceil_mode": True, "dilation": 2}, IMAGES),
    ("AvgPool2d", (2,), {}, IMAGES),
    ("AvgPool2d", ((3, 2), (2, 1), 1, True, False), {}, IMAGES),
    ("AvgPool2d", (3,), {"divisor_override": 4}, IMAGES),
    ("AdaptiveAvgPool2d", (1,), {}, IMAGES),
    ("AdaptiveAvgPool2d", ((4, None),), {}, IMAGES),
    ("BatchNorm2d", (4,), {}, IMAGES),
    ("BatchNorm2d", (4, 1e-3), {"affine": False}, IMAGES),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, IMAGES),
    ("BatchNorm2d", (4,), {"bias": False}, IMAGES),
    ("BatchNorm1d", (4,), {}, SEQUENCES),
    ("GroupNorm", (2, 4), {}, IMAGES),
    ("GroupNorm", (4, 4, 1e-3, False), {}, IMAGES),
    ("Flatten", (), {}, IMAGES),
    ("Flatten", (0, 2), {}, IMAGES),
]


@pytest.mark.parametrize(("name", "arguments", "settings", "x"), MODULES)
@pytest.mark.filterwarnings("ignore:Using padding='same'")  # of PyTorch
def test_module_equals_pytorchs(name: str, arguments: Any, settings: Any, x: Any) -> None:
    ours, theirs = pair(name, *arguments, **settings)
    assert repr(ours) == repr(theirs)
    assert_same(ours, theirs, x)
    assert repr(copy.deepcopy(ours)) == repr(theirs)
    for key, value in vars(theirs).items():
        if not key.startswith("_") and key != "training" and hasattr(ours, key):
            assert getattr(ours, key) == value


@pytest.mark.parametrize("module", ["Conv1d", "Conv2d", "ConvTranspose2d"])
def test_initial_weights_have_the_distribution_of_pytorch(module: str) -> None:
    torch = require("torch")
    sizes = []
    for library in (tinytorch, torch):
        library.manual_seed(0)
        layer = getattr(library.nn, module)(32, 64, 5, groups=2)
        largest = layer.weight.abs().max().item(), layer.bias.abs().max().item()
        sizes.append((*largest, layer.weight.std().item()))
        assert isinstance(layer.weight, library.nn.Parameter)
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=0.1)


@pytest.mark.parametrize(
    "output_size", [(17, 15), (18, 16), (18, 15), [18, 16], (16, 15), (19, 16)]
)
def test_output_size_of_a_transposed_convolution(output_size: Any) -> None:
    ours, theirs = pair("ConvTranspose2d", 4, 6, 3, 2, 1)
    torch = require("torch")
    try:
        expected = theirs(torch.tensor(IMAGES), output_size=output_size)
    except ValueError:
        with pytest.raises(ValueError, match=r"between \(17, 15\) and \(18, 16\)"):
            ours(Tensor(IMAGES), output_size=output_size)
    else:
        y = ours(Tensor(IMAGES), output_size=output_size)
        np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
@pytest.mark.parametrize("settings", [{}, {"affine": False}, {"track_running_stats": False}])
def test_batch_norm_tracks_the_batches(momentum: float | None, settings: dict[str, Any]) -> None:
    ours, theirs = pair("BatchNorm2d", 3, momentum=momentum, **settings)
    ours.train()
    theirs.train()
    for size in (4, 2, 1):
        x = 2 * normal(size, 3, 5, 4) + 1
        x[:, 1] *= 30
        assert_same(ours, theirs, x)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    for name, mine in state.items():
        np.testing.assert_allclose(mine.numpy(), expected[name].numpy(), rtol=1e-5, err_msg=name)
        assert str(expected[name].dtype) == f"torch.{mine.dtype}"
    ours.eval()
    theirs.eval()
    assert_same(ours, theirs, normal(2, 3, 5, 4))
    for module in (ours, theirs):
        module.reset_parameters()
    for name, mine in ours.state_dict().items():
        np.testing.assert_array_equal(mine.numpy(), theirs.state_dict()[name].numpy())


def test_running_statistics_are_no_parameters_and_have_no_gradient() -> None:
    norm = nn.BatchNorm2d(3)
    norm(Tensor(normal(4, 3, 2, 2), requires_grad=True)).sum().backward()
    assert [name for name, _ in norm.named_parameters()] == ["weight", "bias"]
    assert all(not buffer.requires_grad for buffer in norm.buffers())
    assert isinstance(norm, tuple(STATEFUL))


class LeNet:
    """LeNet-5 of either library."""

    @staticmethod
    def build(nn: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 10),
        )  # fmt: skip


def test_a_network_trains_as_pytorchs(tmp_path: Path) -> None:
    torch = require("torch")
    torch.manual_seed(0)
    theirs, ours = LeNet.build(torch.nn), LeNet.build(nn)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    losses: list[list[float]] = [[], []]
    x, y = normal(16, 1, 28, 28), rng.integers(0, 10, 16)
    for library, model, found in zip((tinytorch, torch), (ours, theirs), losses, strict=True):
        optimizer = library.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(6):
            loss = library.nn.functional.cross_entropy(model(library.tensor(x)), library.tensor(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3, atol=1e-4)
    assert losses[0][-1] < losses[0][0]
    tinytorch.save(ours.state_dict(), tmp_path / "lenet")
    again = LeNet.build(nn)
    again.load_state_dict(tinytorch.load(tmp_path / "lenet"))
    for model in (ours, again):
        model.eval()
    with tinytorch.no_grad():
        np.testing.assert_array_equal(ours(Tensor(x)).numpy(), again(Tensor(x)).numpy())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "divisible by groups=2"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "'valid', 'same' or numbers, not 'full'"),
        (lambda: nn.Conv2d(3, 4, 3, padding="same", stride=2), "needs a stride of 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"), "'reflect'"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), "an integer or 2 integers"),
        (lambda: nn.Conv2d(3, 4, 0), "kernel_size must be at least 1, not 0"),
        (lambda: nn.Conv2d(3, 4, 3, bias=None), "bias must be True or False"),  # type: ignore[arg-type]
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), "must be 'zeros'"),
        (lambda: nn.Conv2d(3, 4, 3)(Tensor(IMAGES)), r"\(N, 3, H, W\).*got shape \(2, 4, 9, 8\)"),
        (lambda: nn.BatchNorm2d(3)(Tensor(SEQUENCES)), r"needs x \(N, 3, H, W\), got shape"),
        (lambda: nn.BatchNorm2d(3)(Tensor(IMAGES)), r"got shape \(2, 4, 9, 8\)"),
        (lambda: nn.BatchNorm2d(4)(Tensor(IMAGES[:1, :, :1, :1])), "more than 1 value"),
        (lambda: nn.GroupNorm(3, 4), "4 channels"),
    ],
)
def test_errors_name_the_argument(build: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError, RuntimeError), match=message):
        build()
