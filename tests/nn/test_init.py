"""torch.nn.init: distributions, shapes and errors as in PyTorch."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import Parameter, manual_seed, nn, zeros

torch = require("torch")

# Name -> arguments: the mean, standard deviation and bounds are compared.
RANDOM: dict[str, dict[str, Any]] = {
    "uniform_": {"a": -2, "b": 5},
    "normal_": {"mean": 3, "std": 0.5},
    "trunc_normal_": {"std": 2.0, "a": -1.0, "b": 3.0},
    "xavier_uniform_": {"gain": 2},
    "xavier_normal_": {},
    "kaiming_uniform_": {"a": math.sqrt(5)},
    "kaiming_normal_": {"mode": "fan_out", "nonlinearity": "relu"},
    "sparse_": {"sparsity": 0.3},
    "orthogonal_": {"gain": 2},
}
SHAPE = (200, 300)


@pytest.mark.parametrize("name", RANDOM)
def test_random_weights_have_pytorch_s_distribution(name: str, backend: str) -> None:
    manual_seed(1)
    torch.manual_seed(1)
    weight = Parameter(zeros(*SHAPE), backend=backend)
    assert getattr(nn.init, name)(weight, **RANDOM[name]) is weight
    assert weight.numpy().dtype == np.float32
    ours = weight.numpy().astype("float64")
    theirs = getattr(torch.nn.init, name)(torch.zeros(SHAPE), **RANDOM[name]).double().numpy()
    std = float(theirs.std())
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.03 * std)
    assert ours.std() == pytest.approx(std, rel=0.02)
    if ("normal" not in name and name not in ("sparse_", "orthogonal_")) or "trunc" in name:
        assert ours.min() == pytest.approx(theirs.min(), abs=0.02 * std)
        assert ours.max() == pytest.approx(theirs.max(), abs=0.02 * std)
    assert (ours == 0).mean() == pytest.approx((theirs == 0).mean(), abs=1e-3)


@pytest.mark.parametrize("name", [*RANDOM])
def test_a_generator_makes_weights_repeatable(name: str) -> None:
    drawn = [
        getattr(nn.init, name)(
            zeros(4, 3), **RANDOM[name], generator=tinytorch.Generator().manual_seed(seed)
        ).tolist()
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 2, 3)])
def test_orthogonal_weights(shape: tuple[int, ...]) -> None:
    w = nn.init.orthogonal_(zeros(*shape)).numpy().reshape(shape[0], -1)
    product = w @ w.T if len(w) <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-5)


FIXED: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "constant_": ((2, 3), {"val": 0.3}),
    "ones_": ((4,), {}),
    "zeros_": ((), {}),
    "eye_": ((3, 5), {}),
    "dirac_": ((4, 2, 3, 3), {"groups": 2}),
}


@pytest.mark.parametrize("name", FIXED)
def test_fixed_weights_are_pytorch_s(name: str) -> None:
    shape, settings = FIXED[name]
    ours = getattr(nn.init, name)(tinytorch.ones(*shape) * 7, **settings)
    theirs = getattr(torch.nn.init, name)(torch.ones(shape) * 7, **settings)
    assert ours.tolist() == theirs.tolist()


GAINS = [("relu",), ("tanh",), ("linear",), ("conv2d",), ("selu",), ("leaky_relu", 0.2)]


@pytest.mark.parametrize("arguments", GAINS)
def test_gains(arguments: tuple[Any, ...]) -> None:
    assert nn.init.calculate_gain(*arguments) == torch.nn.init.calculate_gain(*arguments)


ERRORS: dict[str, Callable[[Any, Any], Any]] = {
    "bias": lambda lib, init: init.xavier_uniform_(lib.zeros(3)),
    "kaiming bias": lambda lib, init: init.kaiming_normal_(lib.zeros(3)),
    "mode": lambda lib, init: init.kaiming_normal_(lib.zeros(3, 2), mode="in"),
    "nonlinearity": lambda lib, init: init.calculate_gain("gelu"),
    "eye": lambda lib, init: init.eye_(lib.zeros(3)),
    "dirac": lambda lib, init: init.dirac_(lib.zeros(3, 3)),
    "orthogonal": lambda lib, init: init.orthogonal_(lib.zeros(3)),
    "sparse": lambda lib, init: init.sparse_(lib.zeros(3), 0.1),
}


@pytest.mark.parametrize("call", ERRORS.values(), ids=ERRORS)
def test_errors(call: Callable[[Any, Any], Any]) -> None:
    for lib, init in ((torch, torch.nn.init), (tinytorch, nn.init)):
        with pytest.raises(ValueError):  # noqa: PT011
            call(lib, init)
