"""Random graphs of ops have PyTorch's values and gradients, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch as tt
from tinytorch import Tensor
from tinytorch.layers import layer_norm, linear

Rng = np.random.Generator
STEPS = 14  # ops in a graph


class Pair:
    """A tensor of this package and PyTorch's, with the same value."""

    def __init__(self, ours: Any, theirs: Any) -> None:
        self.ours, self.theirs = ours, theirs

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.theirs.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)


Op = Callable[[Any, Rng, "Pair", "Pair"], Any]  # (torch, rng, x, y) -> Pair, or None


def unary(ours: Callable[..., Any], theirs: Callable[..., Any]) -> Op:
    return lambda torch, rng, x, y: Pair(ours(x.ours), theirs(torch, x.theirs))


def binary(function: Callable[..., Any], theirs: Any = None) -> Op:
    """Two operands that broadcast: the second one is reduced to a size of 1 on some axes."""

    def apply(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
        if x.shape != y.shape:
            axes = tuple(range(x.ndim))
            y = Pair(x.ours.mean(axes[:1], True), x.theirs.mean(axes[:1], True)) if axes else x
        operands = [(x.ours, y.ours), (x.theirs, y.theirs)]
        if rng.random() < 0.5:
            operands = [pair[::-1] for pair in operands]
        other = theirs(torch) if theirs else function
        return Pair(function(*operands[0]), other(*operands[1]))

    return apply


def reduction(name: str) -> Op:
    def apply(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
        if x.ndim == 0:
            return None
        axes = tuple(rng.permutation(x.ndim)[: rng.integers(1, x.ndim + 1)].tolist())
        keepdims = bool(rng.random() < 0.5)
        theirs = {"max": "amax", "min": "amin"}.get(name, name)
        settings = {"correction": 0} if name in ("var", "std") else {}
        return Pair(
            getattr(x.ours, name)(axis=axes, keepdims=keepdims, **settings),
            getattr(x.theirs, theirs)(dim=axes, keepdim=keepdims, **settings),
        )

    return apply


def _softmax(ours: Callable[..., Any], theirs: str) -> Op:
    def apply(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
        if x.ndim == 0:
            return None
        axis = int(rng.integers(-x.ndim, x.ndim))
        return Pair(ours(x.ours, axis=axis), getattr(x.theirs, theirs)(axis))

    return apply


def _matmul(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
    if x.ndim < 2:
        return None
    if rng.random() < 0.5 and y.ndim >= 2 and y.shape[-1] == x.shape[-1] and y.ndim == x.ndim == 2:
        return Pair(x.ours @ y.ours.mT / x.shape[-1], x.theirs @ y.theirs.mT / x.shape[-1])
    return Pair(x.ours.mT @ x.ours / x.shape[-2], x.theirs.mT @ x.theirs / x.shape[-2])


def _linear(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
    if x.ndim < 2:
        return None
    weight = x.ours[(0,) * (x.ndim - 2)], x.theirs[(0,) * (x.ndim - 2)]  # (out, in)
    return Pair(linear(x.ours, weight[0]), torch.nn.functional.linear(x.theirs, weight[1]))


def _layer_norm(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
    if x.ndim == 0:
        return None
    gain = np.linspace(0.5, 1.5, x.shape[-1])
    ours = layer_norm(x.ours, Tensor(gain, backend=x.ours.backend), eps=0.1)
    theirs = torch.nn.functional.layer_norm(x.theirs, x.shape[-1:], torch.tensor(gain), None, 0.1)
    return Pair(ours, theirs)


def _permute(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
    axes = rng.permutation(x.ndim).tolist()
    return Pair(x.ours.permute(*axes), x.theirs.permute(axes)) if x.ndim else None


def _index(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
    if x.ndim == 0 or 0 in x.shape:
        return None
    size = x.shape[0]
    ids = rng.integers(-size, size, int(rng.integers(1, 5)))
    key = [0, -1, slice(None, None, 2), slice(0, 1), None, ids][rng.integers(6)]
    if isinstance(key, np.ndarray):
        return Pair(x.ours[key], x.theirs[torch.tensor(key)])
    return Pair(x.ours[key], x.theirs[key])


def _expand(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
    return Pair(x.ours.expand(2, *x.shape), x.theirs.expand(2, *x.shape)) if x.ndim < 3 else None


def _join(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
    if x.ndim in (0, 4):
        return None
    axis = int(rng.integers(-x.ndim, x.ndim))
    if rng.random() < 0.5:
        return Pair(
            tt.concat([x.ours, x.ours * 2], axis), torch.cat([x.theirs, x.theirs * 2], axis)
        )
    return Pair(tt.stack([x.ours, x.ours * 2], axis), torch.stack([x.theirs, x.theirs * 2], axis))


def _split(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
    if x.ndim == 0 or x.shape[0] < 2:
        return None
    ours, theirs = x.ours.split(1)[0], x.theirs.split(1)[0]
    return Pair(ours, theirs)


def _cumsum(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
    return Pair(x.ours.cumsum(-1), x.theirs.cumsum(-1)) if x.ndim else None


def _where(torch: Any, rng: Rng, x: Pair, y: Pair) -> Any:
    return Pair(
        tt.where(x.ours > 0.1, x.ours * 2, 0.5 - x.ours),
        torch.where(x.theirs > 0.1, x.theirs * 2, 0.5 - x.theirs),
    )


OPS: dict[str, Op] = {
    "add": binary(lambda x, y: x + y),
    "subtract": binary(lambda x, y: x - y),
    "multiply": binary(lambda x, y: x * y),
    "divide": binary(lambda x, y: x / (y * y + 1)),
    "power": binary(lambda x, y: (x * x + 0.5) ** (y / (1 + y * y))),
    "maximum": binary(tt.maximum, lambda torch: torch.maximum),
    "minimum": binary(tt.minimum, lambda torch: torch.minimum),
    "power 3": unary(lambda x: x**3, lambda torch, x: x**3),
    "2 to the power": unary(lambda x: 2 ** (x / 8), lambda torch, x: 2 ** (x / 8)),
    "negative": unary(lambda x: -x, lambda torch, x: -x),
    "exp": unary(lambda x: (x / 4).exp(), lambda torch, x: (x / 4).exp()),
    "log": unary(lambda x: (x * x + 1).log(), lambda torch, x: (x * x + 1).log()),
    "sqrt": unary(lambda x: (x * x + 1).sqrt(), lambda torch, x: (x * x + 1).sqrt()),
    "sin": unary(lambda x: x.sin(), lambda torch, x: x.sin()),
    "cos": unary(lambda x: x.cos(), lambda torch, x: x.cos()),
    "abs": unary(abs, lambda torch, x: x.abs()),
    "clip": unary(lambda x: x.clip(-0.5, 2), lambda torch, x: x.clip(-0.5, 2)),
    "clone": unary(lambda x: x.clone(), lambda torch, x: x.clone()),
    "relu": unary(tt.relu, lambda torch, x: x.relu()),
    "squared relu": unary(tt.SquaredReLU(), lambda torch, x: x.relu() ** 2),
    "sigmoid": unary(tt.Sigmoid(), lambda torch, x: x.sigmoid()),
    "tanh": unary(tt.Tanh(), lambda torch, x: x.tanh()),
    "gelu": unary(
        tt.gelu, lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh")
    ),
    "softplus": unary(tt.softplus, lambda torch, x: torch.nn.functional.softplus(x, threshold=99)),
    "where": _where,
    "detach": unary(lambda x: x.detach() * x, lambda torch, x: x.detach() * x),
    "sum": reduction("sum"),
    "mean": reduction("mean"),
    "var": reduction("var"),
    "std": reduction("std"),
    "max": reduction("max"),
    "min": reduction("min"),
    "logsumexp": reduction("logsumexp"),
    "cumsum": _cumsum,
    "softmax": _softmax(tt.softmax, "softmax"),
    "log_softmax": _softmax(tt.log_softmax, "log_softmax"),
    "matmul": _matmul,
    "linear": _linear,
    "layer_norm": _layer_norm,
    "permute": _permute,
    "reshape": unary(lambda x: x.reshape(-1), lambda torch, x: x.reshape(-1)),
    "unsqueeze": unary(lambda x: x.unsqueeze(0), lambda torch, x: x.unsqueeze(0)),
    "squeeze": unary(lambda x: x.squeeze(), lambda torch, x: x.squeeze()),
    "index": _index,
    "expand": _expand,
    "join": _join,
    "split": _split,
}  # fmt: skip
MAX_SIZE = 400  # a larger result is not used further


def grow(torch: Any, rng: Rng, backend: str) -> tuple[list[Pair], list[Pair], list[str]]:
    """Leaves, all tensors of a random graph that starts with them, and the names of its ops."""
    shapes = [(3, 4), (4,), (2, 3, 4), (), (3, 4), (1, 4)]
    leaves = []
    for i in rng.permutation(len(shapes))[:4]:
        array = np.asarray(rng.standard_normal(shapes[i]))
        leaves.append(
            Pair(Tensor(array, True, backend=backend), torch.tensor(array, requires_grad=True))
        )
    tensors, names = list(leaves), []
    while len(names) < STEPS:
        name = str(rng.choice(list(OPS)))
        x, y = (tensors[rng.integers(len(tensors))] for _ in range(2))
        result = OPS[name](torch, rng, x, y)
        if result is None or np.prod(result.shape) > MAX_SIZE or result.ndim > 4:
            continue
        if result.theirs.detach().abs().max() > 1e3:  # rounding would be large too
            continue
        tensors.append(result)
        names.append(name)
    return leaves, tensors, names


def check(seed: int, backend: str) -> None:
    """Compare all tensors of a random graph, and the gradients of its leaves."""
    torch, rng = require("torch"), np.random.default_rng(seed)
    leaves, tensors, names = grow(torch, rng, backend)
    ours: Any = 0.0
    theirs: Any = 0.0
    for i, pair in enumerate(tensors):
        assert pair.ours.shape == pair.shape, names
        np.testing.assert_allclose(
            pair.ours.numpy(),
            pair.theirs.detach().numpy(),
            rtol=1e-8,
            atol=1e-9,
            err_msg=str(names),
        )
        ours = ours + (pair.ours * (1 + i)).sum() / len(tensors)
        theirs = theirs + (pair.theirs * (1 + i)).sum() / len(tensors)
    ours.backward()
    theirs.backward()
    for leaf in leaves:
        expected = leaf.theirs.grad.numpy()
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(
            leaf.ours.grad.numpy() / scale, expected / scale, rtol=1e-7, atol=1e-8,
            err_msg=str(names),
        )  # fmt: skip


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_random_graphs_on_numpy(first: int) -> None:
    for seed in range(first, first + 20):
        check(seed, "numpy")


@pytest.mark.parametrize("first", range(0, 40, 20))
def test_random_graphs_without_kernels(first: int, strict: str) -> None:
    for seed in range(first, first + 20):
        check(seed, "strict")


def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinytorch.ops.elementwise import abs, abs_gradient  # an op without a kernel

    wrong = abs.reference._replace(gradient=lambda xp, g, x: 1.001 * abs_gradient(xp, g, x))
    monkeypatch.setattr(abs, "reference", wrong)
    with pytest.raises(AssertionError):
        test_random_graphs_on_numpy(0)
