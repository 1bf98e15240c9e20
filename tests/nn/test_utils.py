"""torch.nn.utils: clipping and vectors of parameters as in PyTorch."""

import math
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import Parameter, Tensor, nn

torch = require("torch")

VALUES = [np.array([[3.0, -4.0], [0.5, 1.0]], "float32"), np.array([12.0], "float32")]


def parameters(library: Any) -> list[Any]:
    """Parameters with gradients, and one without."""
    create = torch.nn.Parameter if library is torch else Parameter
    tensor = torch.tensor if library is torch else Tensor
    found = [create(tensor(v)) for v in VALUES]
    for p, v in zip(found, VALUES, strict=True):
        p.grad = tensor(v * 2)
    return [*found, create(tensor([1.0]))]


def both(call: Any) -> tuple[Any, Any]:
    results = []
    for library, utils in ((tinytorch, nn.utils), (torch, torch.nn.utils)):
        given = parameters(library)
        result = call(utils, given)
        value = None if result is None else result.item()
        results.append((value, [p.grad.tolist() for p in given[:2]]))
    return results[0], results[1]


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3, math.inf, "inf"])
@pytest.mark.parametrize("max_norm", [1.0, 1000.0, 0])
def test_clip_grad_norm(norm_type: Any, max_norm: float) -> None:
    ours, theirs = both(lambda utils, p: utils.clip_grad_norm_(p, max_norm, norm_type=norm_type))
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    for found, expected in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_clip_grad_norm_of_an_iterator_of_one_tensor_and_of_nothing() -> None:
    given = parameters(tinytorch)
    assert nn.utils.clip_grad_norm_(iter(given), 1.0).item() == pytest.approx(26.1, abs=0.1)
    assert nn.utils.clip_grad_norm_(given[2], 1.0).item() == 0
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0


def test_a_norm_that_is_not_finite_is_an_error_if_asked() -> None:
    given = parameters(tinytorch)
    given[0].grad.fill_(math.nan)
    with pytest.raises(RuntimeError, match="is nan"):
        nn.utils.clip_grad_norm_(given, 1.0, error_if_nonfinite=True)


def test_clip_grad_value() -> None:
    ours, theirs = both(lambda utils, p: utils.clip_grad_value_(p, 1.5))
    assert ours == theirs


def test_parameters_and_vectors() -> None:
    given = parameters(tinytorch)
    vector = nn.utils.parameters_to_vector(given)
    assert vector.tolist() == [3, -4, 0.5, 1, 12, 1]
    (vector * vector).sum().backward()
    assert given[2].grad.tolist() == [2]
    nn.utils.vector_to_parameters(Tensor([1.0, 2, 3, 4, 5, 6]), iter(given))
    assert [p.tolist() for p in given] == [[[1, 2], [3, 4]], [5], [6]]
    with pytest.raises(ValueError, match="a vector of 2 elements is too short"):
        nn.utils.vector_to_parameters(Tensor([1.0, 2.0]), given)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_sequences(batch_first: bool, side: str, backend: str) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((n, 2)).astype("float32") for n in (2, 4, 1)]
    ours = [Tensor(a, requires_grad=True, backend=backend) for a in arrays]
    padded = nn.utils.rnn.pad_sequence(ours, batch_first, 7.0, side)
    theirs = [torch.tensor(a) for a in arrays]
    expected = torch.nn.utils.rnn.pad_sequence(theirs, batch_first, 7.0, side)
    np.testing.assert_array_equal(padded.numpy(), expected.numpy())
    (padded * padded).sum().backward()
    np.testing.assert_allclose(ours[2].grad.numpy(), 2 * arrays[2])
    if side == "right":
        back = nn.utils.rnn.unpad_sequence(padded, Tensor([2, 4, 1]), batch_first)
        for found, array in zip(back, arrays, strict=True):
            np.testing.assert_array_equal(found.numpy(), array)
