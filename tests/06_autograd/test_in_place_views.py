"""In-place writes with a gradient to reshaped and permuted views change the tensor they show."""

import numpy as np
import pytest
from helpers import require

import tinytorch

torch = require("torch")


def masked(lib, scores, mask):
    rows = scores.reshape(-1, scores.shape[-1])
    rows[~mask] = -1e6
    return rows.reshape(scores.shape).softmax(-1)


def filled(lib, scores, mask):
    scores.view(6, 4).masked_fill_(mask, 0.5)
    return scores


def transposed(lib, scores, mask):
    columns = scores.permute(2, 0, -2)
    columns[0] = columns[1] * 2
    columns += 1
    return scores * columns.permute(1, 2, 0)


def chained(lib, scores, mask):
    part = scores.transpose(1, 2)[:, 1:].unsqueeze(0)
    part.mul_(3)
    return scores


@pytest.mark.parametrize("update", [masked, filled, transposed, chained])
def test_view_and_its_owner_are_updated_as_in_pytorch(update) -> None:
    values = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    keep = values.reshape(6, 4) > 0
    results = []
    for lib in (tinytorch, torch):
        x = lib.tensor(values.copy(), requires_grad=True)
        y = update(lib, x * 2, lib.from_numpy(keep))
        (y * lib.from_numpy(values)).sum().backward()
        results.append((y.detach().numpy(), x.grad.numpy()))
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_view_of_a_leaf_cannot_be_updated() -> None:
    x = tinytorch.ones(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        x.view(-1).mul_(2)


def test_single_value_of_more_axes_can_be_assigned_to_an_element() -> None:
    for grad in (False, True):
        value = tinytorch.ones(1, 1, requires_grad=grad)
        x = tinytorch.zeros(4)
        x[2] = value * 3
        assert x.tolist() == [0, 0, 3, 0]
    x.sum().backward()
    assert value.grad.tolist() == [[3.0]]


def test_values_with_a_gradient_are_written_through_a_view_of_a_constant() -> None:
    values = tinytorch.ones(2, 4, requires_grad=True)
    x = tinytorch.zeros(2, 12)
    x.view(2, 3, 4)[:, 0] = values * 3
    (x * x).sum().backward()
    assert x[:, :4].tolist() == [[3.0] * 4] * 2
    assert values.grad.tolist() == [[18.0] * 4] * 2
