"""How an op is run and checked, by a sample of `op_table`, on any backend."""

from typing import Any

import numpy as np
from op_table import Inputs, Sample

from tinytorch import Tensor, backends
from tinytorch.ops.op import Op

REFERENCE = backends.get("reference")


def draw(sample: Sample, dtype: str = "float64") -> Inputs:
    """The sample's arguments with their floating arrays in `dtype` and their strides kept."""
    return tuple(
        a.astype(dtype, order="K") if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
        for a in sample.draw(np.random.default_rng(7))
    )


def tensors(inputs: Inputs, backend: Any) -> list[Any]:
    """Arrays as tensors on `backend`, floating ones with a gradient; other things as they are."""
    made = []
    for value in inputs:
        if isinstance(value, np.ndarray):
            strided = Tensor(value, value.dtype.kind == "f", backend=backend)
            made.append(strided)
        else:
            made.append(value)
    return made


def outputs(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def weights(shapes: list[tuple[int, ...]], dtype: Any) -> list[np.ndarray]:
    """Random numbers by which outputs are multiplied to make a scalar of them."""
    rng = np.random.default_rng(11)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def run(op: Op, inputs: Inputs, settings: Any, backend: Any) -> tuple[list[Any], list[Any]]:
    """The op's values, and the gradients of a random weighting of them, as NumPy arrays."""
    given = tensors(inputs, backend)
    results = outputs(op(*given, **settings))
    values = [backends.get(backend).to_numpy(r.data) for r in results]
    if op.reference.gradient is None:
        return values, []
    factors = weights([r.shape for r in results], values[0].dtype)
    loss: Any = 0.0
    for result, factor in zip(results, factors, strict=True):
        loss = (result * Tensor(factor, backend=backend)).sum() + loss
    loss.backward()
    leaves = [t for t in given if isinstance(t, Tensor) and t.requires_grad]
    return values, [
        None if t.grad is None else backends.get(backend).to_numpy(t.grad.data) for t in leaves
    ]


def loss_at(op: Op, inputs: Inputs, settings: Any, backend: Any) -> float:
    results = outputs(op(*tensors(inputs, backend), **settings))
    factors = weights([r.shape for r in results], results[0].numpy().dtype)
    return sum(float((r.numpy() * f).sum()) for r, f in zip(results, factors, strict=True))


def check_gradient(op: Op, inputs: Inputs, settings: Any, backend: Any) -> None:
    """Compare the gradient with finite differences along random directions, in float64."""
    _, gradients = run(op, inputs, settings, backend)
    floating = [
        i for i, a in enumerate(inputs) if isinstance(a, np.ndarray) and a.dtype.kind == "f"
    ]
    rng, step = np.random.default_rng(13), 1e-5
    for place, gradient in zip(floating, gradients, strict=True):
        if gradient is None:  # no gradient is claimed, so nothing is checked
            continue
        for _ in range(3):
            direction = rng.standard_normal(inputs[place].shape)
            direction /= np.linalg.norm(direction) or 1.0

            def moved(by: float, place: int = place, along: Any = direction) -> float:
                changed = list(inputs)
                changed[place] = np.asarray(inputs[place] + by * along)
                return loss_at(op, tuple(changed), settings, backend)

            numeric = (moved(step) - moved(-step)) / (2 * step)
            np.testing.assert_allclose(np.vdot(gradient, direction), numeric, rtol=1e-5, atol=1e-6)
