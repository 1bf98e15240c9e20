"""Run and check an op with a sample of `op_table`, on any backend."""

from typing import Any

import numpy as np
from op_table import Inputs, Sample

from tinytorch import Tensor, backends
from tinytorch.ops.op import Op

REFERENCE = backends.get("reference")


def draw(sample: Sample, dtype: str = "float64") -> Inputs:
    """Draw the sample's inputs, with floating arrays cast to `dtype`; strides are preserved."""
    return tuple(
        a.astype(dtype, order="K") if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
        for a in sample.draw(np.random.default_rng(7))
    )


def tensors(inputs: Inputs, backend: Any) -> list[Any]:
    """Convert arrays to tensors on `backend`; floating ones require a gradient."""
    return [
        Tensor(value, value.dtype.kind == "f", backend=backend)
        if isinstance(value, np.ndarray)
        else value
        for value in inputs
    ]


def outputs(result: Any) -> tuple[Any, ...]:
    """The result of an op as a tuple."""
    return result if isinstance(result, tuple) else (result,)


def weights(shapes: list[tuple[int, ...]], dtype: Any) -> list[np.ndarray]:
    """Random weights for the outputs; the weighted sum of the outputs is a scalar loss."""
    rng = np.random.default_rng(11)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def run(op: Op, inputs: Inputs, settings: Any, backend: Any) -> tuple[list[Any], list[Any]]:
    """The op's outputs, and the gradients of a random weighted sum of them, as NumPy arrays."""
    given = tensors(inputs, backend)
    results = outputs(op(*given, **settings))
    values = [backends.get(backend).to_numpy(r._array) for r in results]
    if op.reference.gradient is None:
        return values, []
    factors = weights([r.shape for r in results], values[0].dtype)
    loss: Any = 0.0
    for result, factor in zip(results, factors, strict=True):
        loss = (result * Tensor(factor, backend=backend)).sum() + loss
    loss.backward()
    leaves = [t for t in given if isinstance(t, Tensor) and t.requires_grad]
    return values, [
        None if t.grad is None else backends.get(backend).to_numpy(t.grad._array) for t in leaves
    ]


def loss_at(op: Op, inputs: Inputs, settings: Any, backend: Any) -> float:
    """The random weighted sum of the op's outputs."""
    results = outputs(op(*tensors(inputs, backend), **settings))
    factors = weights([r.shape for r in results], results[0].numpy().dtype)
    return sum(float((r.numpy() * f).sum()) for r, f in zip(results, factors, strict=True))


def check_gradient(op: Op, inputs: Inputs, settings: Any, backend: Any) -> None:
    """Compare the gradient with central differences along random directions, in float64."""
    _, gradients = run(op, inputs, settings, backend)
    floating = [
        i for i, a in enumerate(inputs) if isinstance(a, np.ndarray) and a.dtype.kind == "f"
    ]
    rng, step = np.random.default_rng(13), 1e-5
    for i, gradient in zip(floating, gradients, strict=True):
        if gradient is None:  # the op declares that it has none
            continue
        for _ in range(3):
            direction = rng.standard_normal(inputs[i].shape)
            direction /= np.linalg.norm(direction) or 1.0

            def shifted_loss(by: float, i: int = i, along: Any = direction) -> float:
                shifted = list(inputs)
                shifted[i] = np.asarray(inputs[i] + by * along)
                return loss_at(op, tuple(shifted), settings, backend)

            numeric = (shifted_loss(step) - shifted_loss(-step)) / (2 * step)
            np.testing.assert_allclose(np.vdot(gradient, direction), numeric, rtol=1e-5, atol=1e-6)
