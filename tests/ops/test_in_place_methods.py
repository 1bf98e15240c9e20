"""In-place methods give the same as PyTorch's: values, dtypes, gradients and errors."""

from typing import Any

import numpy as np
import pytest
from helpers import require
from torch_compare import compare

import tinytorch
from tinytorch import Tensor, manual_seed, no_grad, zeros
from tinytorch.methods import Methods

torch = require("torch")

M = np.linspace(0.1, 0.9, 12).reshape(3, 4).astype(np.float32)
V = np.arange(1.0, 5.0).astype(np.float32)
Q = np.arange(9.0).reshape(3, 3).astype(np.float32)
MASK = M > 0.5
IDS = np.array([2, 0])

CASES: dict[str, tuple[Any, ...]] = {
    "add_": (lambda x, y: x.add_(y), M, V),
    "add_ alpha": (lambda x, y: x.add_(y, alpha=-0.5), M, M),
    "add_ number": (lambda x: x.add_(2, alpha=3), M),
    "sub_ alpha": (lambda x, y: x.sub_(y, alpha=2), M, V),
    "mul_": (lambda x, y: x.mul_(y).mul_(2), M, V),
    "div_": (lambda x, y: x.div_(y), M, V),
    "pow_": (lambda x: x.pow_(2), M),
    "larger operand": (lambda x, y: x.add_(y), V, M),
    "floats into integers": (lambda x: x.add_(0.5), np.arange(3)),
    "division of integers": (lambda x: x.div_(2), np.arange(3)),
    "integers": (lambda x: x.add_(2).mul_(3), np.arange(3)),
    "addcmul_": (lambda x, y, z: x.addcmul_(y, z, value=0.5), M, V, M),
    "addcdiv_": (lambda x, y, z: x.addcdiv_(y, z, value=-0.5), M, V, M),
    "lerp_": (lambda x, y: x.lerp_(y, 0.3), M, M[::-1]),
    "exp_": (lambda x: x.exp_(), M),
    "log_": (lambda x: x.log_(), M),
    "sqrt_": (lambda x: x.sqrt_(), M),
    "abs_": (lambda x: x.abs_(), M - 0.55),
    "sin_": (lambda x: x.sin_(), M),
    "clamp_": (lambda x: x.clamp_(0.2, 0.7), M),
    "clamp_ min": (lambda x: x.clamp_(min=0.35), M),
    "masked_fill_": (lambda x, m: x.masked_fill_(m, -1), M, MASK),
    "masked_scatter_": (lambda x, m, y: x.masked_scatter_(m, y), M, MASK, M * 2),
    "scatter_": (lambda x, i, y: x.scatter_(0, i, y), M, IDS[:, None], M[:2, :1] + 7),
    "scatter_ number": (lambda x, i: x.scatter_(1, i, 1), np.zeros((2, 3)), IDS[:, None]),
    "scatter_add_": (lambda x, i, y: x.scatter_add_(0, i, y), M, IDS[:, None], M[:2, :1]),
    "index_add_": (lambda x, i, y: x.index_add_(0, i, y), M, IDS, M[:2]),
    "index_copy_": (lambda x, i, y: x.index_copy_(0, i, y), M, IDS, M[:2]),
    "index_fill_": (lambda x, i: x.index_fill_(1, i, 9.0), M, IDS),
    "index_put_": (lambda x, i, y: x.index_put_((i,), y), M, IDS, M[:2]),
    "copy_": (lambda x, y: x.copy_(y), M, V),
    "copy_ of integers": (lambda x, y: x.copy_(y), M, np.arange(4)),
    "fill_": (lambda x: x.fill_(3), M),
    "zero_": (lambda x: x.zero_(), M),
    "fill_diagonal_": (lambda x: x.fill_diagonal_(5), Q),
    "tril_": (lambda x: x.tril_(), Q),
    "triu_": (lambda x: x.triu_(1), Q),
    "cumsum_": (lambda x: x.cumsum_(0), M),
    "t_": (lambda x: x.t_(), M),
    "transpose_": (lambda x: x.transpose_(0, 1), M),
    "squeeze_": (lambda x: x.squeeze_(0), M[:1]),
    "unsqueeze_": (lambda x: x.unsqueeze_(1), M),
}


@pytest.mark.parametrize("name", CASES)
def test_method_equals_pytorch(name: str, backend: str) -> None:
    function, *arrays = CASES[name]

    def on_a_copy(library: Any, x: Any, *others: Any) -> Any:
        y = x.clone()
        assert function(y, *others) is y
        return y

    compare(on_a_copy, [np.array(a) for a in arrays], backend)


@pytest.mark.parametrize("name", CASES)
def test_method_writes_to_the_memory_of_a_leaf_without_a_graph(name: str) -> None:
    function, *arrays = CASES[name]
    x, *others = [Tensor(a, a.dtype.kind == "f") for a in arrays]
    memory = x.detach()
    other: Any = torch.tensor(arrays[0])
    try:
        function(other, *[torch.tensor(np.array(a)) for a in arrays[1:]])
    except RuntimeError:
        return
    with no_grad():
        function(x, *others)
    assert x.shape == tuple(other.shape)
    np.testing.assert_allclose(x.numpy(), other.numpy(), rtol=1e-5)
    np.testing.assert_allclose(memory.numpy().ravel(), x.numpy().ravel("K"), rtol=1e-5)
    assert x.is_leaf


@pytest.mark.parametrize("name", [n for n in CASES if "ints" not in n and "integ" not in n])
def test_method_of_a_leaf_that_requires_a_gradient_raises(name: str) -> None:
    function, *arrays = CASES[name]
    x, *others = [Tensor(a, a.dtype.kind == "f") for a in arrays]
    with pytest.raises((RuntimeError, ValueError)):
        function(x, *others)


@pytest.mark.parametrize("name", [n for n in vars(Methods) if n.endswith("_") and n[0] != "_"])
def test_every_in_place_method_exists_in_pytorch(name: str) -> None:
    assert hasattr(torch.Tensor, name)


DRAWS: dict[str, tuple[Any, float, float]] = {  # with mean and standard deviation
    "uniform_": (lambda x, g: x.uniform_(-1, 3, generator=g), 1, 4 / 12**0.5),
    "normal_": (lambda x, g: x.normal_(2, 0.5, generator=g), 2, 0.5),
    "exponential_": (lambda x, g: x.exponential_(0.5, generator=g), 2, 2),
    "log_normal_": (lambda x, g: x.log_normal_(0, 0.5, generator=g), 1.133, 0.604),
    "bernoulli_": (lambda x, g: x.bernoulli_(0.3, generator=g), 0.3, 0.458),
    "random_": (lambda x, g: x.random_(1, 7, generator=g), 3.5, 1.708),
}


@pytest.mark.parametrize("name", DRAWS)
def test_random_method_draws_its_distribution(name: str) -> None:
    draw, mean, std = DRAWS[name]
    manual_seed(3)
    x = zeros(100, 100)
    assert draw(x, None) is x
    values = x.numpy().copy()
    assert abs(values.mean() - mean) < 0.05
    assert abs(values.std() - std) < 0.05
    manual_seed(3)
    assert (draw(x, None).numpy() == values).all()  # repeatable
    first = draw(zeros(3), np.random.default_rng(5)).tolist()
    assert draw(zeros(3), np.random.default_rng(5)).tolist() == first


def test_random_methods_check_their_arguments() -> None:
    with pytest.raises(TypeError, match="floating"):
        Tensor([1, 2]).uniform_()
    with pytest.raises(ValueError, match="low"):
        zeros(2).uniform_(3, 1)
    with pytest.raises(ValueError, match="probabilities"):
        zeros(2).bernoulli_(2)
    with pytest.raises(RuntimeError, match="no_grad"):
        tinytorch.Parameter([1.0]).normal_()


def test_copy_copies_a_tensor_of_another_backend() -> None:
    x, y = zeros(2), Tensor([1.0, 2.0], backend="strict")
    assert x.copy_(y).tolist() == [1, 2]
    assert y.copy_(zeros(2)).tolist() == [0, 0]
