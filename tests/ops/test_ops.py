"""Tests of every op in `op_table`: gradients, kernels, PyTorch parity and all backends."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import OURS, no_host_reads, require
from op_checks import REFERENCE, check_gradient, draw, outputs, run, tensors, weights
from op_table import OP_INFOS, Sample

import tinytorch
import tinytorch.runtime.fused_blocks  # noqa: F401  declares its composites
from tinytorch import Tensor, backends
from tinytorch.ops.op import COMPOSITES, OPS, Op

CASES = [
    pytest.param(name, sample, id=f"{name}-{sample.name.replace(' ', '_')}")
    for name, info in OP_INFOS.items()
    for sample in info.samples
]
DIFFERENTIABLE = [case for case in CASES if OPS[case.values[0]].reference.gradient]
UPDATES = [case for case in CASES if not OPS[case.values[0]].reference.gradient]
WITH_KERNEL = [case for case in CASES if case.values[0] in backends.get("numpy").kernels]
WITH_TORCH_FUNCTION = [case for case in CASES if OP_INFOS[case.values[0]].torch_function]


def test_every_op_has_an_op_info() -> None:
    assert set(OP_INFOS) == set(OPS)


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Names, kinds and defaults; a kernel may annotate them with its own library's arrays."""
    signature = inspect.signature(function)
    return [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]


def assert_equal(arrays: list[Any], expected: list[Any], dtype: str) -> None:
    """Check that both have None at the same places, and arrays equal up to rounding in `dtype`."""
    tolerance = (
        {"rtol": 3e-4, "atol": 3e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-11}
    )
    for ours, theirs in zip(arrays, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == theirs.dtype
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, **tolerance)


def test_numpy_kernels_have_the_signature_of_their_op() -> None:
    for name, kernel in backends.get("numpy").kernels.items():
        if name in COMPOSITES:  # they take tensors, not arrays
            takes = [*inspect.signature(COMPOSITES[name].function).parameters]
            assert [*inspect.signature(kernel.forward).parameters] == ["xp", *takes]
            continue
        assert parameters(kernel.forward) == parameters(OPS[name].forward), name
        assert (kernel.gradient is None) == (OPS[name].reference.gradient is None), name


@pytest.mark.parametrize(("name", "sample"), DIFFERENTIABLE)
@pytest.mark.parametrize("backend", [REFERENCE, "numpy"], ids=["reference", "kernel"])
def test_gradient_equals_finite_differences(name: str, sample: Sample, backend: Any) -> None:
    check_gradient(OPS[name], draw(sample), sample.settings, backend)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "sample"), WITH_KERNEL)
def test_kernel_equals_reference(name: str, sample: Sample, dtype: str) -> None:
    inputs = draw(sample, dtype)
    before = [np.copy(a) if isinstance(a, np.ndarray) else a for a in inputs]
    values, gradients = run(OPS[name], inputs, sample.settings, "numpy")
    expected, expected_gradients = run(OPS[name], inputs, sample.settings, REFERENCE)
    assert {a.dtype for a in (*values, *gradients) if a is not None} == {np.dtype(dtype)}
    assert_equal([*values, *gradients], [*expected, *expected_gradients], dtype)
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("name", "sample"), [c for c in WITH_KERNEL if c in DIFFERENTIABLE])
def test_kernel_does_not_modify_its_inputs(name: str, sample: Sample) -> None:
    given = tensors(draw(sample), "numpy")
    before = [t.numpy().copy() if isinstance(t, Tensor) else t for t in given]
    results = outputs(OPS[name](*given, **sample.settings))
    factor = Tensor(np.ones(results[0].shape))
    results[0].backward(factor)
    np.testing.assert_array_equal(factor.numpy(), 1)
    for tensor, old in zip(given, before, strict=True):
        if isinstance(tensor, Tensor):
            np.testing.assert_array_equal(tensor.numpy(), old)


@pytest.mark.parametrize(("name", "sample"), DIFFERENTIABLE)
@pytest.mark.parametrize("backend", ["reference", "numpy", "strict"])
def test_gradients_of_leaves_are_writable_and_shared_with_nothing(
    name: str, sample: Sample, backend: str
) -> None:
    given = tensors(draw(sample), backend)
    leaves = [t for t in given if isinstance(t, Tensor) and t.requires_grad]

    def backward() -> list[Any]:
        """Run the op once; return its outputs and the gradients that were passed to backward."""
        results = outputs(OPS[name](*given, **sample.settings))
        factors = weights([r.shape for r in results], np.float64)
        starts = [Tensor(f, dtype=results[0].dtype, backend=backend) for f in factors]
        for result, start in zip(results, starts, strict=True):
            result.backward(start, retain_graph=True)
        return [*results, *starts]

    others = backward()
    with_grad = [t for t in leaves if t.grad is not None]
    once = [t.grad.numpy().copy() for t in with_grad]
    backward()
    for leaf, expected in zip(with_grad, once, strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), 2 * expected, rtol=1e-12, atol=1e-12)
    tensors_alive = [t for t in (*given, *others) if isinstance(t, Tensor)]
    before = [t.numpy().copy() for t in tensors_alive]
    for number, leaf in enumerate(with_grad):
        leaf.grad.fill_(number)
    for number, leaf in enumerate(with_grad):
        np.testing.assert_array_equal(leaf.grad.numpy(), number)
    for tensor, values in zip(tensors_alive, before, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), values)


@pytest.mark.parametrize(("name", "sample"), WITH_TORCH_FUNCTION)
def test_values_and_gradients_equal_pytorch(name: str, sample: Sample) -> None:
    torch = require("torch")
    inputs = draw(sample)
    torch_inputs = [
        torch.from_numpy(np.array(a, order="C")).requires_grad_(a.dtype.kind == "f")
        if isinstance(a, np.ndarray)
        else a
        for a in inputs
    ]
    torch_function = OP_INFOS[name].torch_function
    assert torch_function is not None
    theirs = outputs(torch_function(torch, *torch_inputs, **sample.settings))
    factors = weights([tuple(t.shape) for t in theirs], np.float64)
    loss = sum((t * torch.from_numpy(f)).sum() for t, f in zip(theirs, factors, strict=True))
    leaves = [t for t in torch_inputs if isinstance(t, torch.Tensor) and t.requires_grad]
    expected = torch.autograd.grad(loss, leaves, allow_unused=True)
    values, gradients = run(OPS[name], inputs, sample.settings, "numpy")
    for ours, other in zip(values, theirs, strict=True):
        assert ours.shape == tuple(other.shape)
        np.testing.assert_allclose(ours, other.detach().numpy(), rtol=1e-9, atol=1e-9)
    for ours, other in zip(gradients, expected, strict=True):
        if other is not None:
            np.testing.assert_allclose(ours, other.numpy(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "sample"), CASES)
def test_every_backend_equals_the_reference(
    name: str, sample: Sample, dtype: str, backend: str
) -> None:
    inputs = draw(sample, dtype)
    values, gradients = run(OPS[name], inputs, sample.settings, backend)
    expected, expected_gradients = run(OPS[name], inputs, sample.settings, REFERENCE)
    signs_differ = not all(map(_same_signs, values, expected))
    if name == "svd" and backend not in OURS and signs_differ:
        pytest.skip("this library chose other signs for singular vectors, which are free")
    assert_equal([*values, *gradients], [*expected, *expected_gradients], dtype)


def _same_signs(x: np.ndarray, y: np.ndarray) -> bool:
    return not np.allclose(np.abs(x), np.abs(y)) or bool((np.sign(x) == np.sign(y)).all())


@pytest.mark.parametrize(
    ("name", "sample"), [c for c in DIFFERENTIABLE if c.values[1].name != "empty"]
)
def test_cupy_kernel_does_not_synchronize_or_modify_its_inputs(
    name: str, sample: Sample, cupy_fp32: str
) -> None:
    given = tensors(draw(sample), cupy_fp32)
    before = [t.numpy().copy() if isinstance(t, Tensor) else t for t in given]
    with no_host_reads():
        results = outputs(OPS[name](*given, **sample.settings))
        factor = Tensor(np.ones(results[0].shape), backend=cupy_fp32)
        results[0].backward(factor)
    np.testing.assert_array_equal(factor.numpy(), 1)
    for tensor, old in zip(given, before, strict=True):
        if isinstance(tensor, Tensor):
            np.testing.assert_array_equal(tensor.numpy(), old)


def test_cupy_kernels_have_the_signature_of_their_op(cupy: str) -> None:
    for name, kernel in backends.get(cupy).kernels.items():
        if name in COMPOSITES:  # they take tensors, not arrays
            takes = [*inspect.signature(COMPOSITES[name].function).parameters]
            assert [*inspect.signature(kernel.forward).parameters] == ["xp", *takes]
            continue
        if name not in ("gelu", "squared_relu"):  # generated by a shared function
            assert parameters(kernel.forward) == parameters(OPS[name].forward), name
        assert (kernel.gradient is None) == (OPS[name].reference.gradient is None), name


def test_check_gradient_detects_a_wrong_gradient() -> None:
    def cube(xp: Any, x: Any) -> Any:
        return x * x * x, (x,)

    op = Op(cube)
    op.gradient(lambda xp, g, x: g * 3 * x * x)
    sample = OP_INFOS["sin"].samples[0]
    check_gradient(op, draw(sample), {}, REFERENCE)
    op.gradient(lambda xp, g, x: g * 3 * x)
    with pytest.raises(AssertionError):
        check_gradient(op, draw(sample), {}, REFERENCE)


def test_the_comparison_detects_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = backends.get("numpy").kernels
    wrong = kernels["gelu"]._replace(gradient=lambda xp, g, rows, share: g * 0.999)
    monkeypatch.setitem(kernels, "gelu", wrong)  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        test_kernel_equals_reference("gelu", OP_INFOS["gelu"].samples[0], "float64")
