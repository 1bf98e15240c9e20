"""Distributions have PyTorch's densities, entropies, divergences and gradients."""

import numpy as np
import pytest
from helpers import require

import tinytorch

torch = require("torch")

VALUES = np.asarray([[0.2, 1.5, -0.7], [2.0, 0.1, 0.4]], dtype=np.float32)
OTHERS = np.asarray([[1.2, 0.5, 0.7], [-2.0, 0.3, 0.4]], dtype=np.float32)


def categorical(lib, x):
    return lib.distributions.Categorical(logits=x), lib.tensor([2, 0])


def categorical_of_probabilities(lib, x):
    return lib.distributions.Categorical(x.exp()), lib.tensor([[2, 0], [1, 1]])


def bernoulli(lib, x):
    return lib.distributions.Bernoulli(logits=x), lib.tensor([[1.0, 0, 1], [0, 1, 1]])


def bernoulli_of_probabilities(lib, x):
    return lib.distributions.Bernoulli(x.sigmoid()), lib.tensor([1.0, 0, 1])


def normal(lib, x):
    return lib.distributions.Normal(x, x.exp()), lib.tensor([0.5, 1.0, -1.0])


def normal_of_numbers(lib, x):
    return lib.distributions.Normal(x, 0.5), x * 2


KINDS = [
    categorical,
    categorical_of_probabilities,
    bernoulli,
    bernoulli_of_probabilities,
    normal,
    normal_of_numbers,
]


@pytest.mark.parametrize("make", KINDS)
def test_results_and_gradients_are_those_of_pytorch(make) -> None:
    results = []
    for lib in (tinytorch, torch):
        x = lib.tensor(VALUES.copy(), requires_grad=True)
        y = lib.tensor(OTHERS.copy(), requires_grad=True)
        (p, value), (q, _) = make(lib, x), make(lib, y)
        found = [p.log_prob(value), p.entropy(), lib.distributions.kl_divergence(p, q)]
        sum(((r * (r + 1)).sum() for r in found), lib.zeros(())).backward()
        assert p.sample((5, 4)).shape == (5, 4, *p.batch_shape)
        assert not p.sample().requires_grad
        results.append([*[r.detach().numpy() for r in found], x.grad.numpy(), y.grad.numpy()])
    for actual, expected in zip(*results, strict=True):
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-6)


def test_samples_have_the_probabilities() -> None:
    tinytorch.manual_seed(0)
    d = tinytorch.distributions
    probs = tinytorch.tensor([[0.1, 0.9], [0.6, 0.4]])
    drawn = d.Categorical(probs).sample((4000,)).float().mean(0)
    np.testing.assert_allclose(drawn.numpy(), [0.9, 0.4], atol=0.03)
    counts = d.Multinomial(4000, probs).sample()
    assert counts.sum(-1).tolist() == [4000, 4000]
    np.testing.assert_allclose(counts.numpy() / 4000, probs.numpy(), atol=0.03)
    drawn = d.Bernoulli(tinytorch.tensor([0.2, 1.0])).sample((4000,)).mean(0)
    np.testing.assert_allclose(drawn.numpy(), [0.2, 1.0], atol=0.03)
    mean = tinytorch.tensor([1.0, -2.0], requires_grad=True)
    drawn = d.Normal(mean, 0.5).rsample((4000,))
    np.testing.assert_allclose(drawn.detach().std(0).numpy(), [0.5, 0.5], atol=0.03)
    drawn.mean(0).sum().backward()
    np.testing.assert_allclose(mean.grad.numpy(), [1, 1], rtol=1e-4)


def test_wrong_arguments_raise() -> None:
    d, x = tinytorch.distributions, tinytorch.ones(2)
    with pytest.raises(ValueError, match="either probs or logits"):
        d.Categorical(x, x)
    with pytest.raises(ValueError, match="negative"):
        d.Categorical(-x)
    with pytest.raises(ValueError, match="positive"):
        d.Normal(x, 0.0)
    with pytest.raises(NotImplementedError, match="rsample"):
        d.Categorical(x).rsample()
    with pytest.raises(NotImplementedError, match="Normal and Categorical"):
        d.kl_divergence(d.Normal(x, x), d.Categorical(x))
    with pytest.raises(AttributeError, match=r"torch\.distributions\.Gamma"):
        _ = d.Gamma
