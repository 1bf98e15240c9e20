"""Run a function under PyTorch and TinyTorch, and compare values, dtypes, gradients and errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch


def tensor_of(library: Any, values: Any) -> Any:
    """A tensor of integers or booleans in either library."""
    return tinytorch.Tensor(values) if library is tinytorch else library.tensor(values)


def copy_to_host(result: Any) -> None:
    """Copy one or several tensors to the host, which raises the errors of a GPU's kernels."""
    for x in result if isinstance(result, list | tuple) else [result]:
        x.numpy()


def compare(function: Callable[..., Any], arrays: list[Any], backend: str) -> None:
    """Compare values, dtypes and gradients, or that both libraries raise an error."""
    import torch

    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    ours = [tinytorch.Tensor(a, a.dtype.kind == "f", backend=backend) for a in arrays]
    try:
        expected = function(torch, *theirs)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        with pytest.raises((RuntimeError, IndexError, ValueError, TypeError)) as raised:
            copy_to_host(function(tinytorch, *ours))
        if isinstance(error, IndexError):
            assert isinstance(raised.value, IndexError)
        return
    result = function(tinytorch, *ours)
    pairs = (
        list(zip(result, expected, strict=True)) if type(expected) is tuple or
        isinstance(expected, list) else [(result, expected)]
    )  # fmt: skip
    total, loss = None, None
    for mine, other in pairs:
        assert mine.shape == tuple(other.shape)
        assert str(mine.dtype).rsplit(".", 1)[-1] == str(other.dtype).rsplit(".", 1)[-1]
        np.testing.assert_allclose(mine.numpy(), other.detach().numpy(), rtol=1e-5, atol=1e-6)
        assert mine.requires_grad == other.requires_grad
        if other.requires_grad:
            weights = np.cos(np.arange(other.numel(), dtype=np.float64)).reshape(other.shape)
            loss = (other * torch.tensor(weights)).sum() + (0 if loss is None else loss)
            weights = tinytorch.Tensor(weights, backend=backend)
            total = (mine * weights).sum() + (0 if total is None else total)
    if total is None or loss is None:
        return
    total.backward()
    loss.backward()
    for x, y in zip(ours, theirs, strict=True):
        assert (x.grad is None) == (y.grad is None) or not x.numel()
        if x.grad is not None and y.grad is not None:
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-4, atol=1e-5)
