"""Compare a module with PyTorch's of the same name, from the same weights."""

from typing import Any

import numpy as np
from helpers import require

from tinytorch import Tensor, nn

TOLERANCE: dict[str, Any] = {"rtol": 1e-4, "atol": 2e-5}


def pair(name: str, *arguments: Any, **settings: Any) -> tuple[Any, Any]:
    """Our module `nn.name` and PyTorch's, with the same weights and in evaluation mode."""
    torch = require("torch")
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*arguments, **settings).eval()
    ours = getattr(nn, name)(*arguments, **settings).eval()
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert [p.shape for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    ours.load_state_dict({key: value.numpy() for key, value in state.items()})
    return ours, theirs


def assert_same(ours: Any, theirs: Any, *inputs: Any, **keywords: Any) -> None:
    """Compare outputs, and the gradients of floating inputs and of parameters.

    Args:
        ours: our module or function.
        theirs: PyTorch's.
        inputs: NumPy arrays, None or plain values, or tuples of arrays.
        keywords: likewise.
    """
    torch = require("torch")
    mine, other = (
        Leaves(lambda a: Tensor(a, a.dtype.kind == "f" and a.ndim > 1)),
        Leaves(
            lambda a: torch.from_numpy(a.copy()).requires_grad_(a.dtype.kind == "f" and a.ndim > 1)
        ),
    )
    results = _flat(ours(*map(mine, inputs), **{k: mine(v) for k, v in keywords.items()}))
    expected = _flat(theirs(*map(other, inputs), **{k: other(v) for k, v in keywords.items()}))
    assert len(results) == len(expected)
    loss: Any = 0.0
    their_loss: Any = 0.0
    rng = np.random.default_rng(5)
    for result, wanted in zip(results, expected, strict=True):
        assert result.shape == tuple(wanted.shape)
        np.testing.assert_allclose(result.numpy(), wanted.detach().numpy(), **TOLERANCE)
        factor = rng.standard_normal(result.shape).astype(np.float32)
        loss = loss + (result * Tensor(factor, backend=result.backend)).sum()
        their_loss = their_loss + (wanted * torch.from_numpy(factor)).sum()
    loss.backward()
    their_loss.backward()
    modules = [m for m in (ours, theirs) if hasattr(m, "named_parameters")]
    named = [dict(module.named_parameters()) for module in modules]
    found = [*mine.leaves, *(named[0].values() if named else ())]
    wanted = [*other.leaves, *(named[1].values() if named else ())]
    for x, y in zip(found, wanted, strict=True):
        if y.grad is not None:
            assert x.grad is not None
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), **TOLERANCE)


class Leaves:
    """Convert arrays to tensors, and keep those that require a gradient."""

    def __init__(self, convert: Any) -> None:
        self.convert, self.leaves = convert, list[Any]()
        self._seen: dict[int, Any] = {}  # an array that is passed twice becomes one tensor

    def __call__(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self, value))
        if not isinstance(value, np.ndarray):
            return value
        if id(value) not in self._seen:
            tensor = self._seen[id(value)] = self.convert(value)
            if tensor.requires_grad:
                self.leaves.append(tensor)
        return self._seen[id(value)]


def _flat(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [x for item in value for x in _flat(item)]
    return [] if value is None else [value]
